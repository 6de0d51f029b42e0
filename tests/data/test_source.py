"""Data sets that are damaged or contradict themselves are refused with the offender's name."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data.lerobot_v2_files import DEPTH_SIZE, FAR, NEAR, SHIFT, codes_of, depth_of, write_video
from data.recordings import FEATURES, FPS, LENGTHS, frames_of, record
from foreact.data.bad_episodes import read_episode
from foreact.data.lerobot_info import parse_info
from foreact.data.sidecar import Sidecar, write_sidecar
from foreact.data.source import EpisodeSource, open_source
from foreact.data.video import encode_video
from foreact.errors import DataError
from foreact.records import Calibration

DATA = "data/chunk-000/file-000.parquet"
ROWS = "meta/episodes/chunk-000/file-000.parquet"
WRIST = "videos/observation.images.wrist/chunk-000/file-000.mp4"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "data")


@pytest.fixture
def root(recorded: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(recorded, tmp_path / "data")


def edit_info(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    change(info)
    (root / "meta/info.json").write_text(json.dumps(info))


def edit_table(path: Path, column: str, change: Callable[[list[Any]], list[Any]]) -> None:
    table = pq.read_table(path)
    position = table.column_names.index(column)
    values = change(table[column].to_pylist())
    pq.write_table(table.set_column(position, column, pa.array(values, table.schema.field(column).type)), path)


def read_all(source: EpisodeSource) -> None:
    for index in source.episode_indices:
        source.episode(index)
        for camera in source.features.cameras:
            for _ in source.frames(index, camera.name):
                pass


def damage(root: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_all(open_source(root))
    assert "\n" not in str(error.value)


def test_a_path_without_a_data_set_says_what_is_there(tmp_path: Path) -> None:
    for name, message in (
        ("gone", "no data set at '.*gone': there is no such folder"),
        ("file", "no data set at '.*file': it is a file; give a folder, or a robomimic file that ends in .hdf5"),
        ("empty", r"expected meta/info.json of a LeRobotDataset, found an empty folder"),
        ("photos", r"found 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg and 2 more"),
    ):
        path = tmp_path / name
        if name == "file":
            path.touch()
        elif name != "gone":
            path.mkdir()
        if name == "photos":
            for number in range(7):
                (path / f"{number}.jpg").touch()
        with pytest.raises(DataError, match=message):
            open_source(path)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("v2.1", r"meta/episodes.jsonl' is missing"),
        ("v9.0", r"says codebase_version v9.0; expected v2.0, v2.1, v3.0: convert the data set with LeRobot"),
        (None, "says codebase_version None"),
    ],
)
def test_other_versions_are_named(root: Path, version: str | None, message: str) -> None:
    edit_info(root, lambda info: info.update(codebase_version=version))
    damage(root, message)


@pytest.mark.parametrize("content", ["", "{", "\x00\x01"])
def test_an_info_file_that_is_not_json_is_refused(root: Path, content: str) -> None:
    (root / "meta/info.json").write_text(content)
    damage(root, r"'.*info.json' cannot be read as JSON \(.*\); copy the data set again")


def test_an_info_file_that_is_no_object_is_refused(root: Path) -> None:
    (root / "meta/info.json").write_text("[]")
    damage(root, "holds a list, expected a JSON object")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info: info.pop("fps"), "has fps = None, expected a number"),
        (lambda info: info.update(fps=0), "has fps = 0, expected a positive rate; write the recorded one there"),
        (lambda info: info.update(total_episodes="4"), "has total_episodes = '4', expected a whole number"),
        (lambda info: info.pop("features"), "has features = None, expected a mapping"),
        (lambda info: info["features"].pop("action"), r"has no feature 'action'; it has: observation.state, .*"),
        (
            lambda info: info.update(video_path=None),
            r"has video feature 'observation.images.overhead' but no video_path",
        ),
        (
            lambda info: info["features"]["observation.images.wrist"].update(info=["av1"]),
            r"feature 'observation.images.wrist' of '.*info.json' has info = \['av1'\], expected a mapping; remove it",
        ),
        (
            lambda info: info["features"]["observation.images.wrist"].update(video_info="av1"),
            "has video_info = 'av1', expected a mapping",
        ),
        (
            lambda info: info["features"]["observation.images.wrist"].update(names=5),
            r"has shape \[32, 32, 3\] with names 5; expected height, width and channels, 3 of them; correct it there",
        ),
        (
            lambda info: info["features"]["observation.images.wrist"].update(shape=32),
            "has shape 32 with names .*; expected height, width and channels",
        ),
        (
            lambda info: info.update(data_path=f"/somewhere/{info['data_path']}"),
            "has data_path = '/somewhere/data/.*', expected a path within the data set's folder; take off what stands",
        ),
        (
            lambda info: info.update(video_path=f"/somewhere/{info['video_path']}"),
            "has video_path = '/somewhere/videos/.*', expected a path within",
        ),
        (
            lambda info: info["features"]["observation.images.wrist"].update(shape=[32, 32]),
            r"feature 'observation.images.wrist' .* has shape \[32, 32\] .* expected height, width and channels, 3",
        ),
        (
            lambda info: info["features"]["observation.images.wrist"].update(info={"is_depth_map": True}),
            r"'observation.images.wrist' .* has shape \[32, 32, 3\] .* channels, 1 of them",
        ),
    ],
)
def test_an_info_file_that_contradicts_itself_is_refused(
    root: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit_info(root, change)
    damage(root, message)


def test_depth_that_belongs_to_no_camera_is_refused(root: Path) -> None:
    axes = ["height", "width", "channels"]
    depth = {"dtype": "video", "shape": [32, 32, 1], "names": axes, "info": {"is_depth_map": True}}
    edit_info(root, lambda info: info["features"].update({"observation.images.head_depth": depth}))
    damage(root, "depth feature 'observation.images.head_depth' .* belongs to no camera; .*'<camera>_depth'.* overhead")


@pytest.mark.parametrize("name", [DATA, ROWS])
def test_a_missing_file_is_named(root: Path, name: str) -> None:
    (root / name).unlink()
    damage(root, "has no parquet files" if name == ROWS else f"lacks 1 of 3 files, first '{name}', so that no episode")


@pytest.mark.parametrize("name", [DATA, ROWS])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_parquet_file_cut_short_is_refused(root: Path, name: str, keep: float) -> None:
    content = (root / name).read_bytes()
    (root / name).write_bytes(content[: int(keep * len(content))])
    damage(root, f"'.*{name}' cannot be read as parquet")


def test_a_video_cut_short_is_refused(root: Path) -> None:
    content = (root / WRIST).read_bytes()
    (root / WRIST).write_bytes(content[: len(content) // 2])
    damage(root, f"'.*{WRIST}' is damaged")


def test_rows_that_are_gone_are_counted(root: Path) -> None:
    table = pq.read_table(root / DATA)
    pq.write_table(table.slice(0, len(table) - 3), root / DATA)
    damage(root, "episode 3 has 12 rows in '.*', its metadata say 15")


def test_episodes_that_are_gone_are_counted(root: Path) -> None:
    pq.write_table(pq.read_table(root / ROWS).slice(0, 3), root / ROWS)
    damage(root, "lists 3 episodes, info.json counts 4; copy the data set again")


def test_a_column_that_is_gone_is_named(root: Path) -> None:
    pq.write_table(pq.read_table(root / DATA).drop_columns("action"), root / DATA)
    damage(root, "has no column 'action' although info.json lists it")


def test_a_column_of_text_is_refused_by_name(root: Path) -> None:
    table = pq.read_table(root / DATA)
    texts = pa.array([str(index) for index in table["episode_index"].to_pylist()])
    position = table.column_names.index("episode_index")
    pq.write_table(table.set_column(position, "episode_index", texts), root / DATA)
    damage(root, f"episode 0: column 'episode_index' of '.*{DATA}' holds string, expected numbers; copy the data set")


def test_vectors_of_another_size_are_refused(root: Path) -> None:
    edit_info(root, lambda info: info["features"]["observation.state"].update(shape=[4], names=None))
    damage(root, f"episode 0: 'observation.state' has 3 dimensions in '.*{DATA}', info.json says 4; correct its shape")


def test_a_video_with_fewer_frames_than_rows_is_refused(root: Path) -> None:
    wrist = [frame for number in range(4) for frame in frames_of(number)["wrist"]]
    encode_video(root / WRIST, wrist[:-2], FPS)
    damage(root, r"episode 3, feature 'observation.images.wrist': '.*' ends after 13 of 15 frames")


def check_wrist(root: Path, number: int, first: int = 0) -> None:
    """Each frame read is the one that was recorded, from a first one on."""
    read = np.array(list(open_source(root).frames(number, "wrist")), int)
    expected = np.array(frames_of(number)["wrist"][first:], int)
    assert read.shape == expected.shape
    assert np.abs(read - expected).mean(axis=(1, 2, 3)).max() < 4  # codec error; frames differ by 10


def test_a_video_may_go_on_after_its_last_episode(root: Path) -> None:
    wrist = [frame for number in range(4) for frame in frames_of(number)["wrist"]]
    encode_video(root / WRIST, [*wrist, wrist[-1], wrist[-2]], FPS)
    read_all(open_source(root))
    check_wrist(root, 3)


def test_a_span_may_be_longer_than_its_rows_but_not_shorter(root: Path) -> None:
    """LeRobot's converter from v2.1 takes a span from the video's length."""
    column = "videos/observation.images.wrist/to_timestamp"
    edit_table(root / ROWS, column, lambda stops: [stops[0] + 0.2, *stops[1:]])
    check_wrist(root, 0)
    check_wrist(root, 1)
    edit_table(root / ROWS, column, lambda stops: [stops[0] - 0.5, *stops[1:]])
    damage(root, r"episode 0, feature 'observation.images.wrist': 9 video frames for 12 rows")


def test_rows_whose_time_begins_later_go_with_later_frames(root: Path) -> None:
    """Somebody has cut the first three rows of episode 0 off the table, not off the video."""
    pq.write_table(pq.read_table(root / DATA).slice(3), root / DATA)
    damage(root, "episode 0 has 9 rows in '.*', its metadata say 12")
    edit_table(root / ROWS, "length", lambda lengths: [9, *lengths[1:]])
    check_wrist(root, 0, first=3)
    check_wrist(root, 1)
    column = "videos/observation.images.wrist/to_timestamp"
    edit_table(root / ROWS, column, lambda stops: [stops[0] - 0.3, *stops[1:]])
    damage(root, "episode 0, feature 'observation.images.wrist': 9 video frames for 9 rows from frame 3 on")


def test_times_may_be_float64_and_frame_index_missing(root: Path) -> None:
    """As in BEHAVIOR's data sets."""
    table = pq.read_table(root / DATA)
    times = pa.array(np.concatenate([np.arange(length) / FPS for length in LENGTHS]), pa.float64())
    table = table.set_column(table.column_names.index("timestamp"), "timestamp", times)
    pq.write_table(table.drop_columns(["frame_index", "index", "task_index"]), root / DATA)
    read_all(open_source(root))
    assert open_source(root).episode(2).action[:, 1].tolist() == list(range(LENGTHS[2]))


def test_depth_video_is_read_in_metres(root: Path) -> None:
    """Coded as LeRobot does, in a camera that is not called observation.images.*, its axes declared the other way."""
    lengths = np.cumsum([0, *LENGTHS])
    metres = [depth_of(0, step) for length in LENGTHS for step in range(length)]
    write_video(root / WRIST.replace("images.wrist", "depth.wrist"), [codes_of(depth) for depth in metres])
    rows = pq.read_table(root / ROWS)
    for name, values in {
        "chunk_index": [0] * 4,
        "file_index": [0] * 4,
        "from_timestamp": lengths[:-1] / FPS,
        "to_timestamp": lengths[1:] / FPS,
    }.items():
        rows = rows.append_column(f"videos/observation.depth.wrist/{name}", pa.array(values))
    pq.write_table(rows, root / ROWS)
    coded = {"is_depth_map": True, "video.depth_min": NEAR, "video.depth_max": FAR, "video.shift": SHIFT}
    spec = {"dtype": "video", "shape": [1, *DEPTH_SIZE], "names": ["channel", "height", "width"], "info": coded}
    edit_info(root, lambda info: info["features"].update({"observation.depth.wrist": spec}))
    source = open_source(root)
    assert {camera.name: camera.depth_range for camera in source.features.cameras}["wrist"] == (NEAR, FAR)
    for index, length in enumerate(LENGTHS):
        read = list(source.depth(index, "wrist"))
        assert len(read) == length
        for step, depth in enumerate(read):
            # 4095 codes over ln(3.51) .. ln(13.5): (d + shift) * 0.000329 metres a code, half of it by rounding
            assert (np.abs(depth - depth_of(0, step)) < (depth_of(0, step) + SHIFT) * 0.000329 / 2 + 1e-5).all()
    edit_info(root, lambda info: info["features"]["observation.depth.wrist"].update(shape=[1, 96, 96]))
    with pytest.raises(
        DataError, match=r"episode 1, depth of camera 'wrist': frame 0 is 64x96 in '.*', info.json says 96"
    ):
        next(open_source(root).depth(1, "wrist"))


@pytest.mark.parametrize("unit", [None, "as written"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_depth_images_are_read_in_metres(root: Path, dtype: type[np.generic], unit: str | None) -> None:
    """TIFF pictures: whole millimetres or metres as they are."""
    cells, per_metre = [], 1000 if dtype is np.uint16 else 1
    for step in range(sum(LENGTHS)):
        buffer = io.BytesIO()
        Image.fromarray((depth_of(0, step) * per_metre).astype(dtype)).save(buffer, format="TIFF")
        cells.append({"bytes": buffer.getvalue(), "path": None})
    column = pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    pq.write_table(pq.read_table(root / DATA).append_column("observation.images.wrist_depth", column), root / DATA)
    info = {"is_depth_map": True} | ({"depth_unit": "mm" if dtype is np.uint16 else "m"} if unit else {})
    spec = {"dtype": "image", "shape": [*DEPTH_SIZE, 1], "names": ["height", "width", "channels"], "info": info}
    edit_info(root, lambda info: info["features"].update({"observation.images.wrist_depth": spec}))
    for step, depth in enumerate(open_source(root).depth(1, "wrist")):
        assert depth.dtype == np.float32
        assert np.abs(depth - depth_of(0, LENGTHS[0] + step)).max() < 0.001


def test_infinite_statistics_do_no_harm(root: Path) -> None:
    """They are not read: Foreact has its own."""
    (root / "meta/stats.json").write_text('{"action": {"max": [Infinity], "std": [NaN]}}')
    edit_table(root / ROWS, "stats/action/max", lambda values: [[np.inf] * len(value) for value in values])
    read_all(open_source(root))


@pytest.mark.parametrize("name", ["meta/info.json", DATA, ROWS, WRIST])
def test_a_git_lfs_pointer_is_called_so(root: Path, name: str) -> None:
    (root / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    damage(root, f"{name}' is a git-lfs pointer; run git lfs pull")


def test_only_the_episodes_of_a_missing_file_cannot_be_read(root: Path) -> None:
    edit_table(root / ROWS, "data/file_index", lambda numbers: [0, 0, 1, 1])
    damage(root, "episode 2: '.*data/chunk-000/file-001.parquet' is missing, and 1 more episodes lack files; copy or")
    assert open_source(root).episode(1).length == LENGTHS[1]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("length", 0, f"'.*{ROWS}' says that episode 1 has 0 frames; record it again"),
        ("data/file_index", None, f"'.*{ROWS}' lacks a number in column 'data/file_index'"),
        ("videos/observation.images.wrist/from_timestamp", np.nan, "lacks a number in column 'videos/.*/from_t"),
    ],
)
def test_an_episode_with_impossible_metadata_is_refused(root: Path, column: str, value: Any, message: str) -> None:
    edit_table(root / ROWS, column, lambda values: [values[0], value, *values[2:]])
    damage(root, message)


def test_a_path_of_another_version_is_refused(root: Path) -> None:
    edit_info(root, lambda info: info.update(data_path="data/episode_{episode_index:06d}.parquet"))
    damage(root, "info.json has the path 'data/.*', expected one with {chunk_index}, {file_index}; correct it")


def test_frames_of_another_size_are_refused(root: Path) -> None:
    encode_video(root / WRIST, [np.zeros((64, 32, 3), np.uint8)] * sum(LENGTHS), FPS)
    damage(root, f"episode 0, camera 'wrist': frame 0 is 64x32 in '.*{WRIST}', info.json says 32x32; correct it there")


def test_a_video_of_another_rate_is_refused(root: Path) -> None:
    wrist = [frame for number in range(4) for frame in frames_of(number)["wrist"]]
    encode_video(root / WRIST, wrist, 2 * FPS)
    damage(root, r"episode 0, .*wrist': frame 1 lies at 0.0500 s .*; the video has 20 frames/s, the data set 10")


def test_timestamps_of_another_rate_are_refused(root: Path) -> None:
    edit_info(root, lambda info: info.update(fps=30))
    damage(
        root,
        rf"episode 0: frame 1 has timestamp 0.1 s in '.*{DATA}', expected 0.0333\d* s; the recorded rate is not the 30 "
        "frames/s of info.json: correct it there, or leave the episode out",
    )


def test_a_slow_drift_of_timestamps_is_refused_only_when_frames_no_longer_match(root: Path) -> None:
    """Frames pair with rows by number: jitter below half a frame does no harm."""
    rng = np.random.default_rng(0)
    edit_table(root / DATA, "timestamp", lambda times: [time + rng.uniform(0, 0.02) for time in times])
    read_all(open_source(root))
    edit_table(root / DATA, "timestamp", lambda times: [1.05 * time for time in times])
    damage(root, r"episode 0: frame \d+ has timestamp")


def test_unknown_cameras_and_episodes_are_refused_with_the_choices(root: Path) -> None:
    source = open_source(root)
    with pytest.raises(DataError, match="unknown camera 'wirst'; did you mean 'wrist'"):
        next(source.frames(0, "wirst"))
    with pytest.raises(DataError, match="has no episode 9; it has 4, from 0 to 3"):
        source.episode(9)
    with pytest.raises(DataError, match="unknown camera 'wrist'"):
        next(source.depth(0, "wrist"))


def test_episodes_may_be_read_in_any_order(root: Path) -> None:
    source = open_source(root)
    for index in (2, 0, 3, 3, 1):
        read = np.array(list(source.frames(index, "wrist")), int)
        assert np.abs(read - np.array(frames_of(index)["wrist"], int)).mean() < 4  # codec error; frames differ by 10
        assert source.episode(index).action[0, 0] == index


def test_episode_indices_may_have_gaps(root: Path) -> None:
    """BEHAVIOR's start at 10 and jump by 10."""
    edit_table(root / ROWS, "episode_index", lambda indices: [10 * (index + 1) for index in indices])
    edit_table(root / DATA, "episode_index", lambda indices: [10 * (index + 1) for index in indices])
    source = open_source(root)
    assert source.episode_indices == (10, 20, 30, 40)
    assert source.episode(30).action[0].tolist() == [2.0, 0.0]
    read_all(source)


def test_episodes_that_info_json_does_not_count_are_read_aloud(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_info(root, lambda info: info.update(total_episodes=2))
    source = open_source(root)
    assert source.episode_indices == (0, 1, 2, 3)
    warning = "meta/episodes' lists 4 episodes, info.json counts 2; all that are listed are read"
    assert warning in capsys.readouterr().err
    read_all(source)


@pytest.mark.parametrize("version", ["v2.2", "v3.1"])
def test_a_version_that_is_not_known_is_read_aloud(
    root: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_info(root, lambda info: info.update(codebase_version=version))
    if version == "v3.1":
        read_all(open_source(root))
    else:
        damage(root, "episodes.jsonl' is missing")
    known = {"v2.2": "v2.1", "v3.1": "v3.0"}[version]
    said = capsys.readouterr().err
    assert f"info.json' says codebase_version {version}, which is not known; it is read like {known}" in said


def test_a_camera_without_any_video_is_left_out_aloud_with_its_depth_and_its_calibration(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = Calibration(size=(32, 32), focal=(30, 30), center=(16, 16), position=(0, 0, 1), quaternion=(0, 1, 0, 0))
    write_sidecar(root, Sidecar(cameras={"wrist": camera}))
    shutil.rmtree(root / "videos/observation.images.wrist")
    source = open_source(root)
    assert "data' has no videos of observation.images.wrist: left out; download them" in capsys.readouterr().err
    assert [of.name for of in source.features.cameras] == ["overhead"]
    assert source.missing == {}  # type: ignore[attr-defined]
    read_all(source)
    assert source.fingerprint() != open_source(record(root.parent / "whole")).fingerprint()
    shutil.rmtree(root / "videos/observation.images.overhead")
    damage(root, "lacks 2 of 3 files, first 'videos/.*', so that no episode is complete")


@pytest.mark.parametrize("first", [1.7e9, -3.0, 1.2])
def test_timestamps_that_do_not_count_from_the_start_are_refused_with_what_to_do(root: Path, first: float) -> None:
    """Of the Unix epoch, below zero, or just beyond the 1.2 s that the first episode's video lasts."""
    table = pq.read_table(root / DATA)
    times = pa.array([first + time for time in table["timestamp"].to_pylist()], pa.float64())
    pq.write_table(table.set_column(table.column_names.index("timestamp"), "timestamp", times), root / DATA)
    damage(
        root,
        rf"episode 0: the first timestamp in '.*{DATA}' is {first:.10g} s, expected one within the episode; timestamps "
        "count from its start: subtract the first from all",
    )


def test_infinite_timestamps_are_refused_without_a_warning(root: Path) -> None:
    edit_table(root / DATA, "timestamp", lambda times: [-np.inf, *times[1:]])
    damage(root, "episode 0: the first timestamp in '.*' is -inf s")
    edit_table(root / DATA, "timestamp", lambda times: [0.0, np.inf, *times[2:]])
    damage(root, "episode 0: frame 1 has timestamp inf s")


def test_numbers_too_large_for_float32_are_refused_as_infinite_without_a_warning(root: Path) -> None:
    table = pq.read_table(root / DATA)
    values = [[1e300, 0.0], *table["action"].to_pylist()[1:]]
    column = pa.array(values, pa.list_(pa.float64(), 2))
    pq.write_table(table.set_column(table.column_names.index("action"), "action", column), root / DATA)
    with pytest.raises(DataError, match=rf"^episode 0 \('{root}/{DATA}'\): 'action' is inf at frame 0, dimension 0"):
        read_episode(open_source(root), 0)


@pytest.mark.parametrize("said", ["info", "video_info"])
@pytest.mark.parametrize("flag", ["is_depth_map", "video.is_depth_map"])
def test_one_flag_is_enough_to_call_a_feature_depth(root: Path, said: str, flag: str) -> None:
    """Another one that denies it does not count (FORMATS.md 1.6)."""
    other = {"info": "video_info", "video_info": "info"}[said]
    axes = {"dtype": "video", "shape": [32, 32, 1], "names": ["height", "width", "channels"]}
    spec = {**axes, said: {flag: True}, other: {"is_depth_map": False, "video.is_depth_map": False}}
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["observation.images.wrist_depth"] = spec
    parsed = parse_info(info, root / "meta/info.json")
    assert list(parsed.depth) == ["wrist"]
    assert list(parsed.cameras) == ["overhead", "wrist"]


def test_paths_come_from_the_info_file(root: Path) -> None:
    (root / "data").rename(root / "tables")
    edit_info(root, lambda info: info.update(data_path="tables/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"))
    read_all(open_source(root))


def test_the_fingerprint_follows_the_content_not_the_place(recorded: Path, root: Path) -> None:
    assert open_source(recorded).fingerprint() == open_source(root).fingerprint()
    edit_table(root / DATA, "action", lambda actions: [[7.0, 7.0], *actions[1:]])
    assert open_source(recorded).fingerprint() != open_source(root).fingerprint()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b", "c"], ("a", "b", "c")),
        ([["a", "b", "c"]], ("a", "b", "c")),
        ({"motors": ["a", "b", "c"]}, ("a", "b", "c")),
        ({"arm": ["a", "b"], "hand": ["c"]}, ("a", "b", "c")),
        ({"b": 1, "c": 2, "a": 0}, ("a", "b", "c")),
        (None, ("state_0", "state_1", "state_2")),
        (["state"], ("state_0", "state_1", "state_2")),
    ],
)
def test_names_are_found_in_every_form_that_occurs(root: Path, names: Any, expected: tuple[str, ...]) -> None:
    edit_info(root, lambda info: info["features"]["observation.state"].update(names=names))
    assert open_source(root).features.state_names == expected


def test_cameras_are_told_by_type_and_their_axes_by_name(root: Path) -> None:
    """BEHAVIOR 2026 has `observation.rgb.<cam>`; others declare channels first."""

    def change(info: dict[str, Any]) -> None:
        spec = info["features"].pop("observation.images.overhead")
        spec.update(shape=[3, 48, 64], names=["channel", "height", "width"])
        info["features"]["observation.rgb.zed"] = spec

    edit_info(root, change)
    (root / "videos/observation.images.overhead").rename(root / "videos/observation.rgb.zed")
    table = pq.read_table(root / ROWS)
    renamed = [name.replace("observation.images.overhead", "observation.rgb.zed") for name in table.column_names]
    pq.write_table(table.rename_columns(renamed), root / ROWS)
    source = open_source(root)
    sizes = {camera.name: (camera.height, camera.width) for camera in source.features.cameras}
    assert sizes == {"observation.rgb.zed": (48, 64), "wrist": (32, 32)}
    assert len(list(source.frames(0, "observation.rgb.zed"))) == LENGTHS[0]


def with_embedded_images(root: Path, damaged: int | None = None) -> list[np.ndarray]:
    """Turn the wrist's video into PNG pictures inside the table."""
    pictures = [frame for number in range(4) for frame in frames_of(number)["wrist"]]
    cells = []
    for number, picture in enumerate(pictures):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="PNG")
        content = buffer.getvalue()
        cells.append({"bytes": content[:20] if number == damaged else content, "path": f"{number}.png"})
    table = pq.read_table(root / DATA)
    column = pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    pq.write_table(table.append_column("observation.images.wrist", column), root / DATA)
    edit_info(root, lambda info: info["features"]["observation.images.wrist"].update(dtype="image"))
    return pictures


def test_embedded_pictures_come_back_exactly(root: Path) -> None:
    pictures = with_embedded_images(root)
    source = open_source(root)
    read = [frame for index in source.episode_indices for frame in source.frames(index, "wrist")]
    np.testing.assert_array_equal(read, pictures)
    assert source.features.cameras == FEATURES.cameras


def test_a_damaged_embedded_picture_is_named(root: Path) -> None:
    with_embedded_images(root, damaged=LENGTHS[0] + 4)
    damage(root, "episode 1: frame 4 of 'observation.images.wrist' in '.*' is not an image")
