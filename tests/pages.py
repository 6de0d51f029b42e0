"""The documentation's pages, and what is run of them."""

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from foreact.cli.main import run

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def page_blocks(page: str) -> list[tuple[str, str]]:
    """Language and body of each fenced block of a page in docs/, in order."""
    return _BLOCK.findall((ROOT / "docs" / page).read_text())


@contextmanager
def typed_in(folder: Path) -> Iterator[Path]:
    """Where the commands of a page are typed: a folder with its own cache; one thread computes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREACT_CACHE", str(folder / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.chdir(folder)
        yield folder


def run_line(line: str) -> None:
    """Run a command of a page in this process, which has imported PyTorch already."""
    command, *arguments = shlex.split(line)
    assert command == "foreact"
    assert run(arguments) == 0, line


def run_block(language: str, body: str, of_line: Callable[[str], None] = run_line) -> None:
    """Run a block: Python here, commands one by one; `text` and other languages are only read."""
    if language == "python":
        exec(compile(body, "a page's block", "exec"), {"__name__": "page"})
    elif language == "sh":
        for line in body.splitlines():
            of_line(line)
