"""The documentation's pages, and what is run of them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def page_blocks(page: str) -> list[tuple[str, str]]:
    """Language and body of each fenced block of a page in docs/, in order."""
    return _BLOCK.findall((ROOT / "docs" / page).read_text())
