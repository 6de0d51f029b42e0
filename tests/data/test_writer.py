"""What is written comes back, whenever and however the recording was ended."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from data import recordings
from data.recordings import (
    FEATURES,
    FPS,
    LENGTHS,
    frames_of,
    length_of,
    open_writer,
    record,
    record_without_end,
    stage,
    task_of,
    vectors_of,
)
from foreact.data.lerobot_v3_compact import compact
from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.data.source import open_source
from foreact.errors import DataError
from foreact.records import Camera

CODEC_ERROR = 4
"""Levels of 255 by which flat grey areas may differ after H.264 at crf 20."""


def assert_holds(root: Path, n_episodes: int, *, or_one_more: bool = False) -> None:
    """Every number of every episode is the one recorded, every picture is within the codec's error.

    Just before info.json counts it, an episode is complete and listed, and is read, too.
    """
    source = open_source(root)
    assert len(source.episode_indices) in (n_episodes, n_episodes + or_one_more)
    assert source.episode_indices == tuple(range(len(source.episode_indices)))
    for number in source.episode_indices:
        episode, expected = source.episode(number), vectors_of(number)
        assert (episode.task, episode.length) == (task_of(number), length_of(number))
        np.testing.assert_array_equal(episode.state, expected["observation.state"])
        np.testing.assert_array_equal(episode.environment_state, expected["observation.environment_state"])
        np.testing.assert_array_equal(episode.action, expected["action"])
        for camera, pictures in frames_of(number).items():
            read = list(source.frames(number, camera))
            assert len(read) == len(pictures)
            difference = np.abs(np.array(read, int) - np.array(pictures, int))
            assert difference.mean() < CODEC_ERROR, (number, camera)


def assert_valid_by_position(root: Path, n_episodes: int) -> None:
    """What LeRobot relies on: files in the order of their names, row i of all of them is frame or episode i."""
    rows = [pq.read_table(path) for path in sorted((root / "data").glob("*/*.parquet"))]
    index = np.concatenate([table["index"].to_numpy() for table in rows])
    n_frames = sum(length_of(number) for number in range(n_episodes))
    np.testing.assert_array_equal(index[:n_frames], np.arange(n_frames))
    tables = [pq.read_table(path) for path in sorted((root / "meta/episodes").glob("*/*.parquet"))]
    episodes = np.concatenate([table["episode_index"].to_numpy() for table in tables])
    np.testing.assert_array_equal(episodes[:n_episodes], np.arange(n_episodes))


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def merged_files() -> list[str]:
    videos = [f"videos/observation.images.{camera.name}/chunk-000/file-000.mp4" for camera in FEATURES.cameras]
    tables = ["data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"]
    return [*tables, "meta/info.json", "meta/stats.json", "meta/tasks.parquet", *videos]


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    record(tmp_path / "data")
    assert_holds(tmp_path / "data", len(LENGTHS))
    assert files(tmp_path / "data") == sorted(merged_files())


def test_an_unfinished_recording_has_files_an_episode_and_is_valid(tmp_path: Path) -> None:
    root = record(tmp_path / "data", 3, finish=False)
    assert_holds(root, 3)
    assert_valid_by_position(root, 3)
    assert len(list(root.glob("data/*/*.parquet"))) == 3


def test_source_and_writer_agree_on_the_features(tmp_path: Path) -> None:
    source = open_source(record(tmp_path / "data"))
    assert source.features == FEATURES
    assert source.lengths == dict(enumerate(LENGTHS))


def test_staged_episodes_travel_between_processes(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "data")
    assert writer.add(pickle.loads(pickle.dumps(stage(writer.staging, 0)))) == 0
    assert_holds(tmp_path / "data", 1)


def test_episodes_staged_on_another_disk_are_copied(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    folder = elsewhere / f"foreact-test-{os.getpid()}"
    folder.mkdir()
    try:
        open_writer(tmp_path / "data").add(stage(folder, 0))
        assert not list(folder.iterdir())
    finally:
        shutil.rmtree(folder)
    assert_holds(tmp_path / "data", 1)


def test_stored_statistics_are_exact_over_all_frames(tmp_path: Path) -> None:
    stats = json.loads((record(tmp_path / "data") / "meta/stats.json").read_text())
    for key in ("observation.state", "action"):
        values = np.concatenate([vectors_of(number)[key] for number in range(len(LENGTHS))]).astype(np.float64)
        np.testing.assert_allclose(stats[key]["mean"], values.mean(0), rtol=1e-9)
        np.testing.assert_allclose(stats[key]["std"], values.std(0), rtol=1e-9)
        np.testing.assert_array_equal(stats[key]["max"], values.max(0))
        assert stats[key]["count"] == [sum(LENGTHS)]
    pictures = np.concatenate([np.array(frames_of(number)["wrist"]) for number in range(len(LENGTHS))]) / 255
    wrist = stats["observation.images.wrist"]
    np.testing.assert_allclose(np.ravel(wrist["mean"]), pictures.mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(np.ravel(wrist["std"]), pictures.std((0, 1, 2)), rtol=1e-9)
    assert np.shape(wrist["q99"]) == (3, 1, 1)


def test_merged_videos_keep_times_and_bytes(tmp_path: Path) -> None:
    """Nothing is encoded again: the packets are the same, at the times that the rows say."""
    av = pytest.importorskip("av")
    root = record(tmp_path / "data", finish=False)

    def packets(path: Path) -> list[tuple[float, bytes]]:
        with av.open(str(path)) as container:
            read = [packet for packet in container.demux(video=0) if packet.size]
            return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in read]

    folder = root / "videos/observation.images.wrist"
    apart = [packets(path) for path in sorted((folder / "chunk-500").iterdir())]
    open_writer(root, resume=True).finish()
    together = packets(folder / "chunk-000/file-000.mp4")
    assert [content for _, content in together] == [content for part in apart for _, content in part]
    np.testing.assert_allclose([time for time, _ in together], np.arange(sum(LENGTHS)) / FPS, atol=1e-9)
    rows = pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet")
    starts = rows["videos/observation.images.wrist/from_timestamp"].to_pylist()
    assert starts == [sum(LENGTHS[:number]) / FPS for number in range(len(LENGTHS))]


def test_merging_stops_at_the_size_limits(tmp_path: Path) -> None:
    root = record(tmp_path / "data", finish=False)
    wrist = "observation.images.wrist"
    sizes = [path.stat().st_size for path in sorted((root / f"videos/{wrist}/chunk-500").iterdir())]
    limit = sizes[0] + sizes[1]  # two fit, a third does not
    keys = ["observation.images.overhead", wrist]
    compact(root, video_keys=keys, fps=FPS, n_episodes=4, data_limit=1, video_limit=limit)
    assert len(list(root.glob(f"videos/{wrist}/chunk-000/*"))) >= 2
    assert len(list(root.glob("data/chunk-000/*"))) == len(list(root.glob("meta/episodes/chunk-000/*"))) == 4
    assert_holds(root, 4)
    assert_valid_by_position(root, 4)


def test_a_finished_recording_can_be_continued_again_and_again(tmp_path: Path) -> None:
    root = record(tmp_path / "data", 2)
    for n_episodes in (3, 6):
        writer = open_writer(root, resume=True)
        while writer.n_episodes < n_episodes:
            writer.add(stage(writer.staging, writer.n_episodes))
        assert_valid_by_position(root, n_episodes)
        writer.finish()
        assert_holds(root, n_episodes)
        assert_valid_by_position(root, n_episodes)
    assert len([name for name in files(root) if name.endswith((".mp4", ".parquet"))]) == 5
    total = json.loads((root / "meta/info.json").read_text())["total_frames"]
    assert total == sum(length_of(number) for number in range(6))
    stats = json.loads((root / "meta/stats.json").read_text())
    assert stats["index"]["max"] == [total - 1]


def test_a_recording_killed_at_any_time_is_valid_and_continues(tmp_path: Path) -> None:
    root = tmp_path / "data"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, recordings.__file__, root], env=environment)
    info = root / "meta/info.json"
    deadline = time.monotonic() + 60
    while not info.exists() or json.loads(info.read_text())["total_episodes"] < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    n_episodes = json.loads(info.read_text())["total_episodes"]
    assert_holds(root, n_episodes, or_one_more=True)
    writer = open_writer(root, resume=True)
    assert writer.n_episodes == n_episodes
    writer.add(stage(writer.staging, n_episodes))
    writer.finish()
    assert_holds(root, n_episodes + 1)
    assert len([name for name in files(root) if name.endswith((".mp4", ".parquet"))]) == 5


KILL_AT_EACH_STEP = """
import os, shutil, signal, sys
from pathlib import Path
from data.recordings import open_writer, stage

start, work, action = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
step = 0
while True:
    step += 1
    root = work / f"{step:03d}"
    shutil.copytree(start, root)
    child = os.fork()
    if child == 0:
        left = step
        def kill_at_step(event, arguments):
            global left
            if event in ("os.rename", "os.remove"):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        writer = open_writer(root, resume=True)
        staged = stage(writer.staging, writer.n_episodes)
        if action == "finish":
            writer.add(staged)
        sys.addaudithook(kill_at_step)
        writer.add(staged) if action == "add" else writer.finish()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(step)
"""


@pytest.mark.parametrize(("action", "n_merged"), [("add", 2), ("finish", 0), ("finish", 2)])
def test_a_kill_before_each_single_file_operation_leaves_a_valid_data_set(
    action: str, n_merged: int, tmp_path: Path
) -> None:
    """The process is killed before its 1st, 2nd, 3rd ... renaming or removal, until it gets through."""
    start = record(tmp_path / "start", 2, finish=n_merged > 0)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILL_AT_EACH_STEP, str(start), str(tmp_path / "work"), action]
    (tmp_path / "work").mkdir()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    steps = int(done.stdout)
    assert steps > 5
    for step in range(1, steps + 1):
        root = tmp_path / "work" / f"{step:03d}"
        n_episodes = json.loads((root / "meta/info.json").read_text())["total_episodes"]
        assert n_episodes == 3 or (action == "add" and n_episodes == 2)
        assert_holds(root, n_episodes, or_one_more=action == "add")
        assert_valid_by_position(root, n_episodes)
        open_writer(root, resume=True).finish()
        assert len(files(root)) == len(merged_files())
        rows = pq.read_table(root / merged_files()[0])["index"].to_numpy()
        np.testing.assert_array_equal(rows, np.arange(sum(length_of(number) for number in range(n_episodes))))
        if step % 4 == 0:
            assert_holds(root, n_episodes)


@pytest.mark.parametrize("size", [160, 190, 220, 250, 280])
def test_a_recording_on_a_full_disk_says_so_and_is_valid(size: int, make_disk: Callable[[int], Path]) -> None:
    """Disks of different size fill up in different files: videos, tables, info.json."""
    root = make_disk(size) / "data"
    writer = open_writer(root)
    with pytest.raises(DataError, match=r"the disk is full while writing '.*' \(\d+ kB free\); free some space"):
        record_without_end(writer)
    assert writer.n_episodes > 0
    assert_holds(root, writer.n_episodes, or_one_more=True)
    assert_valid_by_position(root, writer.n_episodes)
    with pytest.raises(DataError, match=r"the disk is full while writing"):
        writer.finish()
    assert_holds(root, writer.n_episodes, or_one_more=True)


@pytest.mark.parametrize("name", ["data/chunk-500/file-001.parquet", "meta/episodes/chunk-500/file-001.parquet"])
def test_a_damaged_recording_is_not_continued(name: str, tmp_path: Path) -> None:
    root = record(tmp_path / "data", 3, finish=False)
    (root / name).write_bytes(b"PAR1")
    with pytest.raises(DataError, match=f"'.*{name}' cannot be read as parquet"):
        open_writer(root, resume=True)
    assert (root / "data/chunk-500/file-000.parquet").is_file()


def test_a_second_process_may_not_write_into_the_same_folder(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "data")
    with pytest.raises(DataError, match="another process is recording into"):
        open_writer(tmp_path / "data", resume=True)
    writer.finish()


def test_a_folder_that_holds_something_is_refused_without_resume(tmp_path: Path) -> None:
    root = record(tmp_path / "data", 1)
    with pytest.raises(DataError, match=r"is not empty \(it has data, meta, videos\); resume"):
        open_writer(root)


def test_a_recording_with_other_features_is_not_continued(tmp_path: Path) -> None:
    root = record(tmp_path / "data", 1)
    larger = (replace(FEATURES.cameras[0], height=96), FEATURES.cameras[1])
    for features, message in (
        (replace(FEATURES, fps=20.0), "has fps 10, this recording 20"),
        (replace(FEATURES, action_names=("shoulder", "jaw")), "has 'action' .*gripper.*, this recording .*jaw"),
        (replace(FEATURES, cameras=larger), r"'observation.images.overhead' .*48, 64.*, this recording .*96, 64"),
        (replace(FEATURES, cameras=FEATURES.cameras[:1]), "has 'observation.images.wrist' .*, this recording None"),
    ):
        with pytest.raises(DataError, match=message):
            open_writer(root, resume=True, features=features)
    assert_holds(root, 1)


def staging_errors() -> Iterator[tuple[str, dict[str, object]]]:
    vectors, frames = vectors_of(0, 4), frames_of(0, 4)
    nan = vectors["action"].copy()
    nan[2, 1] = np.nan
    yield "'action' is nan at frame 2, dimension 1", {"vectors": {**vectors, "action": nan}}
    yield "an episode needs 'action'; got: observation.state", {"vectors": {"observation.state": np.ones((4, 3))}}
    yield "needs at least one frame", {"vectors": {"action": np.ones((0, 2))}, "frames": {}}
    yield (
        r"vector 'observation.state' is .* \(3, 3\), expected numbers of shape \(4, D\)",
        {"vectors": {**vectors, "observation.state": np.ones((3, 3))}},
    )
    yield "vector 'reward' is neither", {"vectors": {**vectors, "reward": np.ones(4)}}
    yield "camera 'wrist' has 3 frames for 4 actions", {"frames": {**frames, "wrist": frames["wrist"][:3]}}
    odd = [np.zeros((33, 32, 3), np.uint8)] * 4
    yield "are 33x32; yuv420p video needs an even height and width", {"frames": {**frames, "wrist": odd}}
    grey = [np.zeros((32, 32), np.uint8)] * 4
    yield r"are uint8 \(32, 32\), expected uint8 \(H, W, 3\)", {"frames": {**frames, "wrist": grey}}
    mixed = [*frames["wrist"][:3], np.zeros((16, 16, 3), np.uint8)]
    yield r"frame 3 of video .* is uint8 \(16, 16, 3\), expected uint8 \(32, 32, 3\)", {"frames": {"wrist": mixed}}
    yield "fps is 12.5; a LeRobotDataset needs a positive whole number", {"fps": 12.5}


@pytest.mark.parametrize(("message", "change"), list(staging_errors()))
def test_an_episode_that_cannot_be_stored_is_refused(message: str, change: dict[str, object], tmp_path: Path) -> None:
    arguments = {"task": "pick", "vectors": vectors_of(0, 4), "frames": frames_of(0, 4), "fps": FPS, **change}
    with pytest.raises(DataError, match=message):
        stage_episode(tmp_path, **arguments)  # type: ignore[arg-type]
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]


def test_an_episode_that_is_not_of_the_data_set_is_refused(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "data")
    writer.add(stage(writer.staging, 0))

    def other(**change: object) -> object:
        arguments = {"task": "pick", "vectors": vectors_of(0), "frames": frames_of(0), "fps": FPS, **change}
        return stage_episode(writer.staging, **arguments)  # type: ignore[arg-type]

    vectors, frames = vectors_of(0), frames_of(0)
    for staged, message in (
        (other(fps=20), "the episode has 20 frames/s, the data set 10"),
        (other(vectors={"action": vectors["action"]}), "lacks 'observation.(environment_)?state'"),
        (
            other(vectors={**vectors, "action": np.ones((12, 3))}),
            "'action' has 3 dimensions, the data set 2",
        ),
        (
            other(vectors={**vectors, "next.done": np.ones(12)}),
            "further vectors are .*'next.done' float32 .*, the data set's 'next.success' bool",
        ),
        (
            other(frames={"overhead": frames["overhead"]}),
            "no frames for 'observation.images.wrist'; it has: observation.images.overhead",
        ),
        (other(frames={**frames, "head": frames["wrist"]}), "unknown camera feature 'observation.images.head'"),
        (
            other(frames={**frames, "wrist": frames["overhead"]}),
            r"wrist' of the episode is \[48, 64, 3\], the data set",
        ),
    ):
        with pytest.raises(DataError, match=message):
            writer.add(staged)  # type: ignore[arg-type]
    assert writer.add(stage(writer.staging, 1)) == 1
    writer.finish()
    assert_holds(tmp_path / "data", 2)


def test_the_data_set_may_have_no_camera_and_one_dimension(tmp_path: Path) -> None:
    features = replace(FEATURES, cameras=(), environment_names=(), state_names=("a",), action_names=("a",))
    writer = DatasetWriter(tmp_path / "data", features=features, robot_type="point")
    values = np.arange(5, dtype=np.float32)
    vectors = {"action": values, "observation.state": values[:, None]}
    writer.add(stage_episode(writer.staging, task="go", vectors=vectors, frames={}, fps=FPS))
    writer.finish()
    source = open_source(tmp_path / "data")
    assert source.features == features
    np.testing.assert_array_equal(source.episode(0).action, values[:, None])
    assert json.loads((tmp_path / "data/meta/info.json").read_text())["video_path"] is None


def test_a_camera_may_be_called_like_a_path(tmp_path: Path) -> None:
    features = replace(FEATURES, cameras=(Camera(name="left.wrist", height=32, width=32),))
    writer = DatasetWriter(tmp_path / "data", features=features, robot_type="two arms")
    frames = {"left.wrist": frames_of(0)["wrist"]}
    writer.add(stage_episode(writer.staging, task="go", vectors=vectors_of(0), frames=frames, fps=FPS))
    writer.finish()
    source = open_source(tmp_path / "data")
    assert [camera.name for camera in source.features.cameras] == ["left.wrist"]
    assert len(list(source.frames(0, "left.wrist"))) == length_of(0)
