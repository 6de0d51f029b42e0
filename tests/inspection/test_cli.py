"""`foreact inspect` on a set on disk: what it prints and writes, its exit code, and that the set stays as it was."""

import hashlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foreact.cli.main import run as foreact
from foreact.cli.options import parse
from foreact.cli.train import TrainOptions
from foreact.data.lerobot_source import LeRobotSource
from foreact.data.source import open_source
from foreact.data.video import concatenate_videos
from foreact.inspection.page import write_report
from foreact.inspection.report import inspect
from inspection.made_up import FPS, MadeUpSource, clean, of_size


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
    assert "0 faults, 0 warnings" in printed
    assert re.search(r"^ +state: pan +rad( +-?[\d.]+){4}$", printed, re.MULTILINE), "the table of dimensions"
    assert "\nwarning" not in printed
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


def test_the_clean_up_command_is_one_that_convert_takes_and_leaves_a_clean_set(
    write: Callable[[MadeUpSource], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source = clean(seed=8, n_episodes=9)
    source.shown_frame[2, "wrist"] = lambda number: min(number, 8)
    source.episodes[7] = replace(source.episodes[3], index=7)
    root = write(source)
    report = inspect(open_source(root))
    command = report.finding("cleanup").remedy
    assert foreact([*shlex.split(command)[1:], "--workers", "1"]) == 0
    cleaned = open_source(root.with_name("set-clean"))
    assert len(cleaned.episode_indices) == 7
    assert inspect(cleaned).is_clean
    assert f"--data {cleaned.root}" in report.command


@pytest.mark.parametrize("size", [64, 96, 128])
def test_faults_that_an_encoder_blurs_are_found_and_strict_exits_with_3(
    size: int,
    write: Callable[[MadeUpSource], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Frozen, doubled, swapped and black pictures after H.264 with a key frame every second frame."""
    source = of_size(clean(seed=8, n_episodes=10), size, size)
    source.shown_frame[2, "wrist"] = lambda number: min(number, 8)
    source.shown_frame[3, "top"] = lambda number: min(number, 30)
    source.shown_frame[4, "wrist"] = lambda number: number - (number % 5 == 0 and number > 0)
    source.shown_frame[5, "top"] = lambda number: number - number % 3
    source.shown_camera[6, "wrist"], source.shown_camera[6, "top"] = "top", "wrist"
    source.picture[8, "top"] = lambda number, frame: frame * (number > 5)
    root = write(source)
    monkeypatch.chdir(tmp_path)
    assert foreact(["inspect", str(root)]) == 0
    report = json.loads((tmp_path / "inspection-set" / "inspection.json").read_text())
    found = {
        of["question"]: of["evidence"]["episodes"]
        for of in report["findings"]
        if of["severity"] in "faultwarning" and of["question"] != "brightness"
    }
    assert found == {"frozen": [2, 3], "doubled": [4, 5], "swapped": [6], "black": [8]}
    assert "black or empty frames: top in episode 8" in capsys.readouterr().out
    assert "top, episode 8, frame 0" in (tmp_path / "inspection-set" / "inspection.html").read_text()
    if size == 64:
        assert foreact(["inspect", str(root), "--frames", "0"]) == 0
        assert foreact(["inspect", str(root), "--strict"]) == 3


def test_a_clean_set_is_not_accused_after_the_encoder(write: Callable[[MadeUpSource], Path]) -> None:
    report = inspect(open_source(write(of_size(clean(seed=18, n_episodes=10), 64, 64))))
    assert [(of.question, of.verdict) for of in report.findings if of.severity in ("fault", "warning")] == []


def test_a_damaged_video_becomes_a_finding_with_file_and_episodes_even_where_no_picture_is_decoded(
    clean_set: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(clean_set, tmp_path / "cut")
    video = next((root / "videos" / "observation.images.top").rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:-2000])
    for frames in (None, 0):
        finding = inspect(open_source(root), frames=frames).finding("damaged")
        assert finding.severity == "fault"
        assert finding.evidence["episodes"]
        assert str(video) in finding.verdict


def test_a_video_whose_pictures_are_cut_off_behind_its_index_is_found_by_its_size(
    clean_set: Path, tmp_path: Path
) -> None:
    """With the index in front, as for streaming, a decoder opens what is left."""
    root = shutil.copytree(clean_set, tmp_path / "cut")
    video = next((root / "videos" / "observation.images.top").rglob("*.mp4"))
    with av.open(str(video)) as source, av.open(str(tmp_path / "a.mp4"), "w", options={"movflags": "faststart"}) as to:
        stream = to.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                to.mux(packet)
    video.write_bytes((tmp_path / "a.mp4").read_bytes()[:-3000])
    finding = inspect(open_source(root), frames=2).finding("damaged")
    assert "3000 bytes are missing" in finding.verdict
    video.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "lfs" in inspect(open_source(root), frames=2).finding("damaged").verdict


def test_a_video_that_is_shorter_than_the_table_is_found_by_its_metadata(clean_set: Path, tmp_path: Path) -> None:
    """The file is sound, but its last twenty pictures are missing: nothing before them is decoded."""
    root = shutil.copytree(clean_set, tmp_path / "short")
    video = next((root / "videos" / "observation.images.top").rglob("*.mp4"))
    total = sum(open_source(clean_set).lengths.values())
    concatenate_videos(video, [(Path(shutil.copy(video, tmp_path / "whole.mp4")), total - 20)], int(FPS))
    finding = inspect(open_source(root), frames=5).finding("damaged")
    assert finding.evidence["episodes"] == [11]
    assert "the table's rows need" in finding.verdict


def test_frames_from_the_middle_are_those_of_reading_from_the_start(clean_set: Path) -> None:
    source = open_source(clean_set)
    assert isinstance(source, LeRobotSource)
    frames = list(source.frames(4, "wrist"))
    np.testing.assert_array_equal(list(source.frames_from(4, "wrist", 17)), frames[17:])
    spans = source.video_spans(4)
    assert spans.keys() == {"observation.images.top", "observation.images.wrist"}


def test_uneven_timestamps_in_the_table_are_named_beside_what_cannot_be_read(clean_set: Path, tmp_path: Path) -> None:
    """Jitter within half a frame is read, a gap of half a second is not: both are named by episode."""
    root = shutil.copytree(clean_set, tmp_path / "uneven")
    path = next((root / "data").rglob("*.parquet"))
    table = pq.read_table(path)
    episode = table["episode_index"].to_numpy()
    times = table["timestamp"].to_numpy().astype(np.float64)
    times[episode == 3] += np.random.default_rng(0).uniform(-0.24, 0.24, (episode == 3).sum()) / FPS
    times[(episode == 8) & (table["frame_index"].to_numpy() >= 30)] += 0.5
    column = table.schema.get_field_index("timestamp")
    pq.write_table(table.set_column(column, "timestamp", pa.array(times.astype(np.float32))), path)
    report = inspect(open_source(root), frames=0)
    assert report.finding("timestamps").evidence["episodes_by_kind"]["uneven"] == [3]
    assert report.finding("timestamps").evidence["episodes_by_kind"]["gaps"] == [8]
    assert report.finding("damaged").evidence["episodes"] == [8]


def test_a_rate_that_is_not_that_of_the_metadata_still_gives_a_report(clean_set: Path, tmp_path: Path) -> None:
    root = shutil.copytree(clean_set, tmp_path / "rate")
    path = next((root / "data").rglob("*.parquet"))
    table = pq.read_table(path)
    column = table.schema.get_field_index("timestamp")
    slower = pa.array((table["timestamp"].to_numpy() * 20 / 18.5).astype(np.float32))
    pq.write_table(table.set_column(column, "timestamp", slower), path)
    assert foreact(["inspect", str(root), "--out", str(tmp_path / "out"), "--strict"]) == 3
    report = json.loads((tmp_path / "out" / "inspection.json").read_text())
    assert report["findings"][0]["question"] == "damaged"
    assert "at 18.5 Hz, the metadata say 20" in report["findings"][1]["verdict"]


def test_without_the_package_that_draws_the_page_is_there_and_says_so(
    clean_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as Python does for a package that is not there
    page = write_report(inspect(open_source(clean_set), frames=2), tmp_path / "out").read_text()
    assert "foreact[view]" in page.replace("&#x27;", "'")
    assert "What is each dimension?" in page
    assert not (tmp_path / "out" / "lengths.png").exists()


def test_the_page_has_every_dimension_and_wraps_long_names(tmp_path: Path) -> None:
    source = clean(seed=3, n_episodes=3)
    names = tuple(f"a_very_long_name_of_joint_number_{n}" * 3 for n in range(61))
    source.features = replace(source.features, state_names=names, arm=None)
    for index, of in source.episodes.items():
        assert of.state is not None
        source.episodes[index] = replace(of, state=np.tile(of.state, (1, 13))[:, :61])
    page = write_report(inspect(source.settle(), frames=0), tmp_path / "out").read_text()
    assert page.count("<td>state: a_very_long_name") == 61
    assert page.count("<td>action: ") == 5
    assert "overflow-wrap: anywhere" in page
    assert "<span class='severity'>" in page


def test_a_place_that_cannot_be_written_is_refused_before_the_data_are_read(
    clean_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert foreact(["inspect", str(clean_set), "--out", str(tmp_path / "file")]) == 1
    printed = capsys.readouterr()
    assert "cannot write the inspection" in printed.err
    assert "episodes" not in printed.out


def test_the_report_never_goes_into_the_data_set(clean_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert foreact(["inspect", str(clean_set), "--out", str(clean_set / "report")]) == 1
    assert "lies in the data set" in capsys.readouterr().err


def test_a_bound_on_the_frames_is_kept_and_said(clean_set: Path) -> None:
    source = open_source(clean_set)
    report = inspect(source, frames=3)
    assert "0 of 12 episodes whole, of the others the first picture and a window" in report.looked_at
    assert np.shape(report.contact["top"][0]) == (48, 64, 3)
    assert report.finding("damaged").severity == "note"
    assert report.finding("frozen").verdict.endswith("of them that were looked at")
