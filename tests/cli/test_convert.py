"""`foreact convert SRC [SRC ...] OUT` takes its paths as `cp` does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from data.recordings import record
from foreact.cli.main import run
from foreact.data.source import open_source


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "data", 2)


def test_the_last_path_is_the_folder_to_write(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more, out = record(tmp_path / "more", 1), tmp_path / "out"
    assert run(["convert", str(root), str(more), str(out), "--workers", "1", "--rename", "wrist=hand"]) == 0
    assert capsys.readouterr().out == f"converted 3 episodes to {out}\n"
    source = open_source(out)
    assert len(source.episode_indices) == 3
    assert [camera.name for camera in source.features.cameras] == ["overhead", "hand"]
    sources = [of["path"] for of in json.loads((out / "meta/conversion.json").read_text())["sources"]]
    assert sources == [str(root), str(more)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no path was given: type foreact convert SRC [SRC ...] OUT, the folder to write last"),
        (["{root}"], "only '{root}' was given: type foreact convert SRC [SRC ...] OUT, the folder to write last"),
        (["{root}", "--out", "{tmp}/out"], "unknown option '--out'; see foreact convert --help"),
        (["{root}", "{root}/out"], "the new data set '{root}/out' lies in the source '{root}', which is never changed"),
        (["{tmp}/nowhere", "{root}"], "no data set at '{tmp}/nowhere': there is no such folder"),
        (["{root}", "{tmp}/other"], "'{tmp}/other' is not empty and not a conversion; the last path is the folder"),
        (["{root}", "{root}", "{tmp}/out"], "'{root}' was given twice; name it once"),
        (["{root}", "{tmp}/out", "--workers", "-3"], "--workers is -3; it must be at least 1"),
        (
            ["{root}", "{tmp}/out", "--episodes", "\N{SUPERSCRIPT TWO}"],
            "--episodes '\N{SUPERSCRIPT TWO}' is not of",
        ),
        (["{root}", "/dev/null/out"], "cannot write '/dev/null/out': "),
        (["{root}", "{tmp}/out", "--calibration", "{tmp}/none.yaml"], "no calibration file at '{tmp}/none.yaml'; make"),
        (["{root}", "{tmp}/out", "--coordinates", "{tmp}/none.csv"], "'{root}' has coordinates already (x, y), which"),
    ],
)
def test_a_wrong_call_is_one_clear_line(
    arguments: list[str], message: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "other", 1)
    places = {"root": root, "tmp": tmp_path}
    assert run(["convert", *(word.format(**places) for word in arguments)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: " + message.format(**places))


def test_python_m_foreact_is_the_command() -> None:
    call = [sys.executable, "-m", "foreact", "--version"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60, check=True)
    assert (
        done.stdout
        == subprocess.run(
            [sys.executable, "-m", "foreact.cli.main", "--version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
    )
