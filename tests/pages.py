"""The documentation's pages, and what is run of them."""

import re
import shlex
from pathlib import Path

from foreact.cli.main import run

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def page_blocks(page: str) -> list[tuple[str, str]]:
    """Language and body of each fenced block of a page in docs/, in order."""
    return _BLOCK.findall((ROOT / "docs" / page).read_text())


def run_line(line: str) -> None:
    """Run a command of a page in this process, which has imported PyTorch already."""
    command, *arguments = shlex.split(line)
    assert command == "foreact"
    assert run(arguments) == 0, line
