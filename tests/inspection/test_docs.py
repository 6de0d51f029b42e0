"""The commands of docs/inspect.md run, its table names every question, and its rates are those measured."""

import json
import re
from pathlib import Path

import pytest

from foreact.data.source import open_source
from foreact.inspection.report import inspect
from inspection.made_up import clean
from pages import run_line

PAGE = (Path(__file__).parents[2] / "docs" / "inspect.md").read_text()


@pytest.mark.slow
def test_every_command_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    assert len(lines) == 3
    for line in lines:
        run_line(line)
    assert (tmp_path / "inspection-demos" / "inspection.html").is_file()
    assert inspect(open_source("demos"), frames=0).episodes == 10


def test_page_and_readme_quote_the_measured_rates() -> None:
    root = Path(__file__).parents[2]
    figures = json.loads((root / "benchmarks" / "results" / "inspection_rates.json").read_text())
    found, accused = figures["faults"], figures["clean"]
    readme = (root / "README.md").read_text()
    for text in (" ".join(PAGE.split()), " ".join(readme.split())):
        assert f"{found['found']} of {found['planted']} planted faults" in text
        assert f"{accused['accused']} of {accused['sets']} clean" in text
    assert figures["command"] in PAGE


def test_the_table_names_every_question() -> None:
    table = PAGE[PAGE.index("| question") : PAGE.index("## How it tells")]
    named = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    }
    assert named == {finding.question for finding in inspect(clean(1).settle(), frames=2).findings}
