"""`foreact inspect` on a set on disk: what it prints and writes, its exit code, and that the set stays as it was."""

import hashlib
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreact.cli.main import run as foreact
from foreact.cli.options import parse
from foreact.cli.train import TrainOptions
from foreact.data.source import open_source
from foreact.inspection.report import inspect
from inspection.made_up import MadeUpSource, clean


def content(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_a_clean_set_passes_strictly_and_is_not_changed(
    clean_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(clean_set)
    assert foreact(["inspect", str(clean_set), "--out", str(tmp_path / "out"), "--strict"]) == 0
    printed = capsys.readouterr().out
    assert "12 episodes" in printed
    assert "looked at all numbers and all pictures" in printed
    assert "warning" not in printed
    assert content(clean_set) == before
    report = json.loads((tmp_path / "out" / "inspection.json").read_text())
    assert [of["severity"] for of in report["findings"] if of["question"] == "frozen"] == ["fine"]
    page = (tmp_path / "out" / "inspection.html").read_text()
    assert "://" not in page, "the page needs no network"
    assert page.count("prefers-color-scheme: dark") >= 5, "pictures for dark pages"
    for of in report["findings"]:
        assert of["title"] in page


def test_the_recommended_command_is_one_that_train_takes(clean_set: Path) -> None:
    words = shlex.split(inspect(open_source(clean_set), frames=0).finding("recommendation").evidence["command"])
    assert words[:3] == ["foreact", "train", "compact"]
    options = parse(TrainOptions, words[3:], command="train compact")
    assert words[words.index("--data") + 1] == str(clean_set)
    assert options.policy.n_action_steps <= options.policy.chunk_size <= 40


def test_faults_that_an_encoder_blurs_are_found_and_strict_exits_with_1(
    write: Callable[[MadeUpSource], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Frozen, doubled, swapped and black pictures after H.264, and a video file that is cut short."""
    source = clean(seed=8, n_episodes=10)
    source.shown_frame[2, "wrist"] = lambda number: min(number, 8)
    source.shown_frame[4, "wrist"] = lambda number: number - (number % 5 == 0 and number > 0)
    source.shown_camera[6, "wrist"], source.shown_camera[6, "top"] = "top", "wrist"
    source.picture[8, "top"] = lambda number, frame: frame * (number > 5)
    root = write(source)
    monkeypatch.chdir(tmp_path)
    assert foreact(["inspect", str(root)]) == 0
    assert foreact(["inspect", str(root), "--strict"]) == 1
    report = json.loads((tmp_path / "inspection-set" / "inspection.json").read_text())
    found = {
        of["question"]: of["evidence"]["episodes"] for of in report["findings"] if of["severity"] in "faultwarning"
    }
    assert found == {"frozen": [2], "doubled": [4], "swapped": [6], "black": [8]}
    assert "black frames: top in episode 8" in capsys.readouterr().out


def test_a_damaged_video_becomes_a_finding_with_file_and_episodes(clean_set: Path, tmp_path: Path) -> None:
    import shutil

    root = shutil.copytree(clean_set, tmp_path / "cut")
    video = next((root / "videos" / "observation.images.top").rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:-2000])
    finding = inspect(open_source(root)).finding("damaged")
    assert finding.severity == "fault"
    assert finding.evidence["episodes"]
    assert str(video) in finding.verdict


def test_the_report_never_goes_into_the_data_set(clean_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert foreact(["inspect", str(clean_set), "--out", str(clean_set / "report")]) == 1
    assert "lies in the data set" in capsys.readouterr().err


def test_a_bound_on_the_frames_is_kept_and_said(clean_set: Path) -> None:
    source = open_source(clean_set)
    report = inspect(source, frames=3)
    assert report.looked_at.startswith("all numbers; the first 3 pictures of each camera and episode")
    assert np.shape(report.contact["top"][0]) == (48, 64, 3)
    assert report.finding("damaged").severity == "fine"
