"""`foreact diagnose`: what it prints, writes and refuses."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from foreact.cli.main import run as foreact
from foreact.config import RunConfig
from foreact.diagnose.report import read_report
from foreact.train.run import train
from spots import write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("cli") / "spots", lengths=(12,) * 8)


@pytest.fixture
def trained(tiny_run: RunConfig, data: Path, cache_dir: Path, tmp_path: Path) -> Path:
    short = replace(tiny_run, train=replace(tiny_run.train, steps=2, warmup_steps=1, grad_share=True))
    train(short, data=data, out=tmp_path / "run", cache_dir=cache_dir)
    return tmp_path / "run"


def test_a_run_is_examined_on_its_own_data_and_the_exit_code_is_0_whatever_is_found(
    trained: Path, data: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert foreact(["diagnose", str(trained), "--cache-dir", str(cache_dir)]) == 0
    printed = capsys.readouterr().out
    report = read_report(trained / "diagnosis" / "diagnosis.json")
    assert report.data == str(data)
    assert (report.episodes, report.held_out) == (8, 2)
    for finding in report.findings:
        assert finding.verdict in printed
    gradient = report.finding("gradient")
    assert gradient is not None
    assert "gradient at the coordinate" in gradient.verdict
    assert (trained / "diagnosis" / "gradient.png").exists()


@pytest.mark.parametrize("damage", ["weights", "nothing there", "episodes", "checkpoint"])
def test_what_is_wrong_is_said_in_one_line(
    damage: str, trained: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["diagnose", str(trained), "--cache-dir", str(cache_dir)]
    expected = {
        "weights": "was altered or damaged",
        "nothing there": "no checkpoint in",
        "episodes": "--episodes is 0; it must be at least 1",
        "checkpoint": "has no checkpoint '5'; choices: last, best, 2",
    }[damage]
    if damage == "weights":
        weights = next(trained.glob("checkpoints/*/model.safetensors"))
        weights.write_bytes(weights.read_bytes()[:-10])
    elif damage == "nothing there":
        shutil.rmtree(trained / "checkpoints")
    else:
        arguments += [f"--{damage}", "0" if damage == "episodes" else "5"]
    capsys.readouterr()
    assert foreact(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert expected in error


def test_data_of_another_robot_are_refused(
    trained: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: Path
) -> None:
    other = shutil.copytree(data, tmp_path / "other")
    info = other / "meta" / "info.json"
    info.write_text(info.read_text().replace('"a"', '"left"'))
    capsys.readouterr()
    assert foreact(["diagnose", str(trained), "--data", str(other), "--cache-dir", str(cache_dir)]) == 1
    assert "has action_names (left, b), but the policy was trained with (a, b)" in capsys.readouterr().err
