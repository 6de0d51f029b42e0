"""The faithfulness page: each difference says what was measured, or that nothing was."""

import re

from pages import ROOT

ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split(" | ")]
    for line in (ROOT / "docs/faithfulness.md").read_text().partition("## ")[0].splitlines()
    if line.startswith("| ")
]


def test_every_row_is_full_and_says_what_was_measured() -> None:
    head, *rows = ROWS
    assert head[-1] == "measured effect"
    assert len(rows) > 20
    for row in rows:
        assert len(row) == len(head), row[0]
        assert all(row), row[0]


def test_what_a_row_names_as_its_test_exists() -> None:
    named = re.findall(r"`(tests\w*/[\w/.]+)`", (ROOT / "docs/faithfulness.md").read_text())
    assert named
    for name in named:
        assert (ROOT / name).exists(), name
