"""LeRobotDataset v2.0 and v2.1 are read as they are, and what is wrong with one is said in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.lerobot_v2_files import (
    DEPTH,
    EPISODES,
    FPS,
    SHIFT,
    SIZES,
    TASKS,
    action_of,
    depth_of,
    picture_of,
    state_of,
    write_json,
    write_lines,
    write_v2,
    write_video,
)
from foreact.data.files import content_hash
from foreact.data.lerobot_v2 import LeRobotV2Source
from foreact.data.source import EpisodeSource, open_source
from foreact.errors import DataError

NAMES = {"observation.images.top": "top", "observation.rgb.side": "observation.rgb.side"}
NAMES |= {"observation.image": "observation.image"}
TABLE = "data/chunk-000/episode_000007.parquet"
TOP = "videos/chunk-000/observation.images.top/episode_000007.mp4"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_v2(tmp_path_factory.mktemp("written") / "data")


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(written, tmp_path / "data")


def edit_info(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    change(info)
    write_json(root / "meta/info.json", info)


def edit_lines(root: Path, change: Callable[[list[dict[str, Any]]], list[Any]]) -> None:
    path = root / "meta/episodes.jsonl"
    write_lines(path, change([json.loads(line) for line in path.read_text().splitlines()]))


def edit_table(root: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(root / TABLE)), root / TABLE)


def read(source: EpisodeSource, index: int) -> None:
    source.episode(index)
    for camera in source.features.cameras:
        list(source.frames(index, camera.name))
        if camera.depth_range is not None:
            list(source.depth(index, camera.name))


def damage(root: Path, message: str, index: int = 7) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(open_source(root), index)
    assert "\n" not in str(error.value)


def check_content(source: EpisodeSource) -> None:
    """All that `write_v2` wrote."""
    assert source.episode_indices == tuple(EPISODES)
    assert source.lengths == EPISODES
    assert source.tasks == TASKS
    for index, length in EPISODES.items():
        episode = source.episode(index)
        assert episode.task == TASKS[index]
        assert episode.state is not None
        assert episode.environment_state is None
        np.testing.assert_array_equal(episode.state, state_of(index))
        np.testing.assert_array_equal(episode.action, action_of(index))
        for key, name in NAMES.items():
            frames = np.array(list(source.frames(index, name)), int)
            expected = np.array([picture_of(key, index, step) for step in range(length)], int)
            # Steps differ by 10; the PNG pictures are exact.
            assert frames.shape == expected.shape
            assert np.abs(frames - expected).mean(axis=(1, 2, 3)).max() < (0.01 if key == "observation.image" else 4)
        for step, metres in enumerate(source.depth(index, "top")):
            expected_depth = depth_of(index, step)
            # 4095 codes over ln(3.51) .. ln(13.5): (d + shift) * 0.000329 metres a code, half of it by rounding
            assert (np.abs(metres - expected_depth) < (expected_depth + SHIFT) * 0.000329 / 2 + 1e-5).all()
        assert step == length - 1


def test_all_that_was_written_is_read(written: Path) -> None:
    before = content_hash([path for path in written.rglob("*") if path.is_file()], written)
    source = open_source(written)
    assert isinstance(source, LeRobotV2Source)
    check_content(source)
    assert content_hash([path for path in written.rglob("*") if path.is_file()], written) == before


def test_names_and_sizes_come_from_the_features(written: Path) -> None:
    features = open_source(written).features
    assert features.state_names == ("lift", "bend", "grip")
    assert features.action_names == ("action_0", "action_1")
    sizes = {camera.name: (camera.height, camera.width) for camera in features.cameras}
    assert sizes == {NAMES[key]: size for key, size in SIZES.items()}
    assert {camera.name: camera.depth_range for camera in features.cameras}["top"] == (0.01, 10.0)


def test_v2_0_is_read_whose_statistics_are_in_one_file_and_infinite(root: Path) -> None:
    edit_info(root, lambda info: info.update(codebase_version="v2.0"))
    (root / "meta/episodes_stats.jsonl").unlink()
    (root / "meta/stats.json").write_text('{"action": {"max": [Infinity, NaN]}}')
    check_content(open_source(root))


def test_the_paths_are_those_of_info_json(tmp_path: Path) -> None:
    """BEHAVIOR 2025 has its own."""
    root = write_v2(
        tmp_path / "data",
        data_path="data/task-{episode_chunk:04d}/episode_{episode_index:08d}.parquet",
        video_path="videos/task-{episode_chunk:04d}/{video_key}/episode_{episode_index:08d}.mp4",
    )
    assert (root / "data/task-0001/episode_00001003.parquet").is_file()
    check_content(open_source(root))


def test_a_table_that_does_not_say_which_episode_it_is_may_be_read(root: Path) -> None:
    for path in (root / "data").rglob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(["episode_index", "timestamp", "index", "task_index"]), path)
    check_content(open_source(root))


def test_tasks_may_be_numbers_or_missing(root: Path) -> None:
    (root / "meta/tasks.jsonl").write_text('{"task_index": 4, "task": "pour"}\n')
    edit_lines(root, lambda lines: [lines[0] | {"tasks": [4]}, lines[1] | {"tasks": [9]}, lines[2] | {"tasks": None}])
    assert open_source(root).tasks == {0: "pour", 7: "9", 1003: "pour"}
    (root / "meta/tasks.jsonl").unlink()
    assert open_source(root).tasks == {0: "4", 7: "9", 1003: ""}


def test_a_task_may_hold_any_character(root: Path) -> None:
    task = "push\u2028pull"
    edit_lines(root, lambda lines: [lines[0] | {"tasks": [task]}, *lines[1:]])
    path = root / "meta/episodes.jsonl"
    path.write_text(path.read_text().encode().decode("unicode_escape"), encoding="utf-8")
    assert open_source(root).tasks[0] == task


def test_of_two_lines_for_one_episode_the_later_counts(root: Path) -> None:
    edit_lines(root, lambda lines: [lines[1] | {"length": 99}, *lines])
    assert open_source(root).lengths == EPISODES


def test_a_video_may_go_on_after_its_episode(root: Path) -> None:
    write_video(root / TOP, [picture_of("observation.images.top", 7, step) for step in range(EPISODES[7] + 3)])
    check_content(open_source(root))


def test_rows_whose_time_begins_later_go_with_later_frames(root: Path) -> None:
    """Somebody has cut off the first rows of the table, not of the video."""
    edit_table(root, lambda table: table.slice(4))
    edit_lines(root, lambda lines: [lines[0], lines[1] | {"length": EPISODES[7] - 4}, lines[2]])
    source = open_source(root)
    np.testing.assert_array_equal(source.episode(7).action, action_of(7)[4:])
    for number, frame in enumerate(source.frames(7, "top")):
        assert abs(frame.mean() - picture_of("observation.images.top", 7, 4 + number).mean()) < 4
    assert number == EPISODES[7] - 5


def test_the_fingerprint_follows_the_content_not_the_place(written: Path, root: Path) -> None:
    assert open_source(written).fingerprint() == open_source(root).fingerprint()
    edit_table(root, lambda table: table.set_column(1, "action", table["action"].take(list(range(8, -1, -1)))))
    assert open_source(written).fingerprint() != open_source(root).fingerprint()


@pytest.mark.parametrize("name", [TABLE, TOP])
def test_an_episode_that_lacks_a_file_is_named_and_the_others_are_read(root: Path, name: str) -> None:
    (root / name).unlink()
    damage(root, f"episode 7: '.*{name}' is missing; copy or download the data set again")
    read(open_source(root), 0)
    shutil.rmtree(root / "data/chunk-001")
    damage(root, f"episode 7: '.*{name}' is missing, and 1 more episodes lack files")


def test_a_camera_without_any_video_is_left_out_aloud(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (root / "videos").glob(f"*/{DEPTH}"):
        shutil.rmtree(folder)
    source = open_source(root)
    assert f"has no videos of {DEPTH}: left out" in capsys.readouterr().err
    assert {camera.depth_range for camera in source.features.cameras} == {None}
    for folder in (root / "videos").glob("*/observation.images.top"):
        shutil.rmtree(folder)
    source = open_source(root)
    assert f"has no videos of observation.images.top, {DEPTH}: left out" in capsys.readouterr().err
    assert [camera.name for camera in source.features.cameras] == ["observation.rgb.side", "observation.image"]
    for index in EPISODES:
        read(source, index)
    source.fingerprint()


def test_episodes_that_info_json_does_not_count_are_read_aloud(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_info(root, lambda info: info.update(total_episodes=2))
    check_content(open_source(root))
    assert "episodes.jsonl' lists 3 episodes, info.json counts 2; all that are listed" in capsys.readouterr().err


def test_a_set_without_a_complete_episode_is_not_opened(root: Path) -> None:
    shutil.rmtree(root / "videos")
    with pytest.raises(DataError, match=r"lacks 9 of 12 files, first 'videos/.*000000.mp4', so that no episode is"):
        open_source(root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"episode_index": 7, "tas', r"meta/episodes.jsonl' line 2 is not JSON \(.*\); copy it again"),
        ("[7, 9]", "meta/episodes.jsonl' line 2 holds a list, expected a JSON object"),
        ('{"episode_index": 7}', "line 2 has episode_index 7 and length None, expected whole numbers"),
        ('{"episode_index": "7", "length": 9}', "line 2 has episode_index 7 and length 9, expected whole numbers"),
        ('{"episode_index": 7, "length": 0}', "line 2 has episode_index 7 and length 0, .* at least 1"),
        ("", "lists 2 episodes, info.json counts 3; copy the data set again"),
    ],
)
def test_a_bad_line_is_named(root: Path, line: str, message: str) -> None:
    path = root / "meta/episodes.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, lines[2]]))
    damage(root, message)


def test_bad_text_and_bad_tasks_are_named(root: Path) -> None:
    (root / "meta/tasks.jsonl").write_text('{"task": "pour"}')
    damage(root, "meta/tasks.jsonl' line 1 has task_index None, expected a whole number")
    (root / "meta/tasks.jsonl").unlink()
    (root / "meta/episodes.jsonl").write_bytes(b"\xff\xfe\x00")
    damage(root, r"meta/episodes.jsonl' cannot be read as text \(.*\); copy it again")
    (root / "meta/episodes.jsonl").unlink()
    damage(root, "meta/episodes.jsonl' is missing")


@pytest.mark.parametrize("name", [TABLE, TOP, "meta/episodes.jsonl", "meta/tasks.jsonl", "meta/info.json"])
def test_a_git_lfs_pointer_is_called_so(root: Path, name: str) -> None:
    (root / name).write_text(POINTER)
    damage(root, f"{name}' is a git-lfs pointer; run git lfs pull")


def test_a_table_cut_short_is_named_with_its_episode(root: Path) -> None:
    (root / TABLE).write_bytes((root / TABLE).read_bytes()[:-100])
    damage(root, f"episode 7: '.*{TABLE}' cannot be read as parquet")


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.9])
def test_a_video_cut_short_is_named_with_its_episode(root: Path, keep: float) -> None:
    content = (root / TOP).read_bytes()
    (root / TOP).write_bytes(content[: int(keep * len(content))])
    damage(root, f"episode 7: video '.*{TOP}' is damaged or not a video; copy or record it again")


def test_a_video_that_ends_early_is_named(root: Path) -> None:
    write_video(root / TOP, [picture_of("observation.images.top", 7, step) for step in range(5)])
    damage(root, "episode 7, feature 'observation.images.top': '.*' ends after 5 of 9 frames")


@pytest.mark.parametrize("column", ["action", "observation.state", "observation.image"])
def test_a_column_that_is_gone_is_named(root: Path, column: str) -> None:
    edit_table(root, lambda table: table.drop_columns(column))
    damage(root, f"episode 7: '.*{TABLE}' has no column '{column}' although info.json lists it")


def test_a_column_of_another_kind_is_refused(root: Path) -> None:
    edit_table(root, lambda table: table.set_column(1, "action", pa.array(["left"] * EPISODES[7])))
    damage(root, f"episode 7: column 'action' of '.*{TABLE}' holds string, expected numbers")
    edit_table(root, lambda table: table.set_column(2, "observation.image", pa.array(["left"] * EPISODES[7])))
    edit_table(root, lambda table: table.set_column(1, "action", pa.array(action_of(7).tolist())))
    damage(root, "episode 7: frame 0 of 'observation.image' in '.*' is not an image; copy or record it again")


def test_a_table_of_another_episode_is_refused(root: Path) -> None:
    shutil.copy(root / "data/chunk-000/episode_000000.parquet", root / TABLE)
    damage(root, f"episode 7 has 0 rows in '.*{TABLE}', its metadata say 9")


def test_times_of_another_rate_are_refused(root: Path) -> None:
    edit_table(root, lambda table: table.set_column(3, "timestamp", pa.array(np.arange(EPISODES[7]) / 30)))
    damage(root, r"episode 7: frame \d has timestamp .*the recorded rate is not the 10 frames/s of info.json")
    edit_table(root, lambda table: table.set_column(3, "timestamp", pa.array([None] * EPISODES[7], pa.float64())))
    damage(root, "episode 7: frame 0 has timestamp nan s")


@pytest.mark.parametrize("first", [1.7e9, -2.0, 60.0])
def test_timestamps_that_do_not_count_from_the_start_are_refused_with_what_to_do(root: Path, first: float) -> None:
    """The metadata do not say how long a video is, so it is its end that shows that a time lies beyond it."""
    times = pa.array(first + np.arange(EPISODES[7]) / FPS)
    edit_table(root, lambda table: table.set_column(3, "timestamp", times))
    if first < 0:
        damage(root, f"episode 7: the first timestamp in '.*{TABLE}' is -2 s, expected one within the episode")
    else:
        damage(root, rf"'.*{TOP}' ends before {first:.10g} s; .* or timestamps do not count from the episode's start")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info: info.update(total_episodes=0), "says that the data set has 0 episodes; record some first"),
        (lambda info: info.update(fps=float("inf")), "has fps = inf, expected a positive rate"),
        (lambda info: info.update(chunks_size=0), "has chunks_size = 0, expected a positive number"),
        (
            lambda info: info.update(data_path="data/file-{file_index:03d}.parquet"),
            "info.json has the path '.*', expected one with {episode_chunk}, {episode_index}; correct it",
        ),
        (lambda info: info.update(video_path=3), "has video_path = 3, expected a text"),
        (
            lambda info: info["features"].update({"next/reward": {"dtype": "float32", "shape": [1], "names": None}}),
            "feature 'next/reward' of '.*info.json' has a '/' in its name, which LeRobot forbids; rename it",
        ),
        (lambda info: info["features"].update(odd=None), "feature 'odd' of '.*info.json' is None, expected dtype"),
        (lambda info: info["features"]["action"].pop("shape"), "feature 'action' of '.*' has shape None, expected one"),
        (
            lambda info: info["features"]["observation.image"].update(names=None),
            r"feature 'observation.image' of '.*' has shape \[3, 24, 36\] with names None; expected height, width",
        ),
        (
            lambda info: info["features"][DEPTH]["info"].update({"video.depth_min": 11}),
            "feature 'observation.images.top_depth' of '.*' has depth from 11 to 10.0 m, shift 3.5 m; correct them",
        ),
    ],
)
def test_an_info_file_that_cannot_be_is_refused(
    root: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit_info(root, change)
    damage(root, message)


def test_many_episodes_are_opened_by_listing_folders(root: Path) -> None:
    """Empty files stand for the data, which opening does not read; one of them is missing."""
    n, key = 1200, "observation.images.top"
    edit_info(root, lambda info: info.update(total_episodes=n))
    edit_info(root, lambda info: [info["features"].pop(name) for name in (DEPTH, *SIZES) if name != key])
    write_lines(root / "meta/episodes.jsonl", ({"episode_index": i, "tasks": ["x"], "length": 5} for i in range(n)))
    for index in range(n):
        for folder, suffix in (("data/chunk-00{}", "parquet"), (f"videos/chunk-00{{}}/{key}", "mp4")):
            (root / folder.format(index // 1000) / f"episode_{index:06d}.{suffix}").touch()
    gone = root / f"videos/chunk-001/{key}/episode_001034.mp4"
    gone.unlink()
    source = LeRobotV2Source(root)
    assert source.episode_indices == tuple(range(n))
    assert source.missing == {1034: gone}
