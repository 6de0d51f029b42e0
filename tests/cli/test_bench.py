"""`foreact bench` runs what is there, and says so where it is not; what it measures is not run here."""

from pathlib import Path
from typing import get_args

import pytest

import foreact
from foreact.cli.bench import Size, Stage, _commands
from foreact.cli.main import run
from pages import ROOT


def test_every_stage_is_a_script_that_is_there() -> None:
    for stage in get_args(Stage):
        for _, script, *options in _commands(stage, get_args(Size)):
            source = (ROOT / script).read_text()
            for option in options:
                assert not option.startswith("--") or f" {option[2:].replace('-', '_')}: " in source


def test_without_the_source_it_says_where_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(foreact, "__file__", str(tmp_path / "lib/python/foreact/__init__.py"))
    assert run(["bench"]) == 1
    assert "foreact bench needs the source" in capsys.readouterr().err


def test_a_stage_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["bench", "lunch"])
    assert "scaling" in capsys.readouterr().err
