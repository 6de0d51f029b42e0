"""`foreact bench` runs what is there and goes on after an interruption; what it measures is not run here."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from benchmarks.speed_page import BEGIN, END, lines_of

import foreact
from foreact.cli.bench import BenchOptions, Stage, _call_all, _commands, _page
from foreact.cli.main import run
from foreact.errors import ConfigError
from foreact.threads import cores
from pages import ROOT


@pytest.mark.parametrize("quick", [False, True])
def test_every_stage_is_a_script_that_is_there(quick: bool) -> None:
    commands = [words for stage in get_args(Stage) for words in _commands(stage, BenchOptions(quick=quick))]
    for _, script, *options in (*commands, _page(quick=quick)):
        source = (ROOT / script).read_text()
        for option in options:
            assert not option.startswith("--") or f" {option[2:].replace('-', '_')}: " in source


def test_a_quick_run_touches_no_figure_that_is_kept() -> None:
    commands = [words for stage in get_args(Stage) for words in _commands(stage, BenchOptions(quick=True))]
    words = [word for command in (*commands, _page(quick=True)) for word in command]
    assert not any(word.startswith(("benchmarks/results", "docs")) for word in words)


def test_what_an_interrupted_run_has_measured_is_not_measured_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, stop, progress = tmp_path / "log", tmp_path / "stop", tmp_path / "runs/bench.json"
    stop.touch()
    first = [sys.executable, "-c", f"open({str(log)!r}, 'a').write('first ')"]
    second = [sys.executable, "-c", f"import os, sys; sys.exit(os.path.exists({str(stop)!r}))"]
    with pytest.raises(ConfigError, match="ended with 1"):
        _call_all(tmp_path, [first, second], progress)
    stop.unlink()
    _call_all(tmp_path, [first, second], progress)
    assert log.read_text() == "first "
    assert "--fresh measures again" in capsys.readouterr().out
    assert len(json.loads(progress.read_text())) == 2


def test_the_page_says_what_the_figures_say() -> None:
    page = (ROOT / "docs/speed.md").read_text()
    block = page[page.index(BEGIN) + len(BEGIN) : page.index(END)]
    assert block.strip() == "\n".join(lines_of(ROOT / "benchmarks/results")).strip(), (
        "type python benchmarks/speed_page.py --page docs/speed.md"
    )


def test_a_page_without_figures_says_which_stage_measures_them(tmp_path: Path) -> None:
    lines = [*lines_of(tmp_path)]
    for stage in get_args(Stage):
        assert f"Not measured yet: `foreact bench {stage}`." in lines


def test_a_record_says_what_was_so_and_that_it_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(sys, "argv", [f"{Path.cwd()}/benchmarks/speed.py", "--turns", "3"])
    record = importlib.import_module("record").Record(seed=4)
    record.write(
        tmp_path / "r.json", results={"a": 1}, settings={"turns": 3}, threads={"ours": 1}, busy=["one core of two"]
    )
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["command"].endswith("python benchmarks/speed.py --turns 3")
    assert str(Path.cwd()) not in content["command"]
    assert content["machine"]["busy"][-1] == "one core of two"
    assert "BUSY: one core of two" in capsys.readouterr().err
    assert content["machine"]["threads"] == {"ours": 1}
    assert content["machine"]["load"].keys() == {"before", "after"}
    assert content["versions"]["ours"]["foreact"] == foreact.__version__
    assert content["versions"]["ours"]["python"] == sys.version.split()[0]
    assert (content["seed"], content["settings"], content["results"]) == (4, {"turns": 3}, {"a": 1})


def test_training_with_other_programs_or_with_fewer_threads_than_cores_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    training = importlib.import_module("training_speed")
    alone = training.Turn(side="ours", threads=cores(), million_weights="1", cores_of_others=0.1, rates={})
    fewer, beside = replace(alone, threads=cores() - 1), replace(alone, cores_of_others=0.8)
    assert training.reasons([alone], None) == training.reasons([fewer], 1) == []
    assert training.reasons([alone, fewer], None)[0].startswith("foreact train took")
    assert training.reasons([alone, beside], None) == ["other programs used up to 0.8 cores in a turn"]


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
