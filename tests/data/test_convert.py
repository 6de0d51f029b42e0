"""Conversion: the numbers and pictures of the source, whatever interrupts it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from behavior_files import write_2025, write_2026
from data import aloha_files, robomimic_files
from data.damage import cut_video, record_damaged
from data.lerobot_v2_files import write_v2
from data.recordings import FEATURES, FPS, LENGTHS, frames_of, length_of, record, task_of, vectors_of
from foreact.cli.main import run
from foreact.data.calibration import read_calibration
from foreact.data.conversion_log import LOG, SETTINGS
from foreact.data.convert import ConvertConfig, chosen_episodes, convert, summary
from foreact.data.files import write_json
from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.data.sidecar import Sidecar, read_sidecar, write_sidecar
from foreact.data.source import open_source
from foreact.data.video import VideoReader, encode_depth_video
from foreact.errors import ConfigError, DataError
from foreact.records import Calibration, Camera, Features, RecordedPose

CODEC_ERROR = 8
"""Levels of 255: twice encoded."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "data")


def assert_holds(root: Path, numbers: list[int], cameras: tuple[str, ...] = ("overhead", "wrist")) -> None:
    """Each episode is the recording of that number."""
    source = open_source(root)
    assert source.episode_indices == tuple(range(len(numbers)))
    for index, number in enumerate(numbers):
        episode, expected = source.episode(index), vectors_of(number)
        assert (episode.task, episode.length) == (task_of(number), length_of(number))
        np.testing.assert_array_equal(episode.state, expected["observation.state"])
        np.testing.assert_array_equal(episode.environment_state, expected["observation.environment_state"])
        np.testing.assert_array_equal(episode.action, expected["action"])
        for camera, pictures in zip(cameras, frames_of(number).values(), strict=True):
            difference = np.array(list(source.frames(index, camera)), int) - np.array(pictures, int)
            assert np.abs(difference).mean() < CODEC_ERROR, (index, camera)


def assert_same(one: Path, two: Path) -> None:
    """Same rows, same pictures to the bit, same names, rate and statistics."""
    first, second = open_source(one), open_source(two)
    assert first.features == second.features
    assert (first.lengths, first.tasks, first.scenes) == (second.lengths, second.tasks, second.scenes)
    for index in first.episode_indices:
        a, b = first.episode(index), second.episode(index)
        np.testing.assert_array_equal(a.action, b.action)
        np.testing.assert_array_equal(a.state, b.state)
        for camera in first.features.cameras:
            pictures = [np.stack(list(of.frames(index, camera.name))) for of in (first, second)]
            np.testing.assert_array_equal(pictures[0], pictures[1])
    assert (one / "meta/stats.json").read_text() == (two / "meta/stats.json").read_text()
    assert (one / LOG).read_text() == (two / LOG).read_text()


def content(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_conversion_holds_what_its_source_holds_and_changes_nothing_there(root: Path, tmp_path: Path) -> None:
    before = content(root)
    result = convert([root], tmp_path / "out", workers=1)
    assert (result.n_converted, result.left_out, result.n_trimmed, result.finished) == (4, {}, 0, True)
    assert_holds(tmp_path / "out", [0, 1, 2, 3])
    assert open_source(tmp_path / "out").features == FEATURES
    assert json.loads((tmp_path / "out/meta/info.json").read_text())["robot_type"] == "so101"
    assert content(root) == before
    assert not list((tmp_path / "out").glob(".*"))


def grey_blocks(pictures: Iterator[np.ndarray]) -> np.ndarray:
    """Means of 4x4 pixels: what a codec keeps of pictures that are noise."""
    grey = np.stack([picture.mean(axis=2) for picture in pictures])
    n, height, width = grey.shape
    return grey.reshape(n, height // 4, 4, width // 4, 4).mean(axis=(2, 4))


def nearest(metres: np.ndarray, height: int, width: int) -> np.ndarray:
    """A depth map in the size of its camera's pictures, by Pillow."""
    return np.asarray(Image.fromarray(metres).resize((width, height), Image.Resampling.NEAREST))


FORMATS: dict[str, Callable[[Path], Path]] = {
    "lerobot v2.1": write_v2,
    "aloha": aloha_files.write,
    "robomimic": lambda root: robomimic_files.write(root.with_suffix(".hdf5")),
    "behavior 2025": lambda root: write_2025(root, {10: 12, 20010: 9}),
    "behavior 2026": write_2026,
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_that_is_read_is_converted(name: str, tmp_path: Path) -> None:
    """Rows and names are the source's, pictures within the codec's error, depth within half a code."""
    root = FORMATS[name](tmp_path / "source")
    before = content(root) if root.is_dir() else {root.name: root.read_bytes()}
    convert([root], tmp_path / "out", workers=1)
    source, converted = open_source(root), open_source(tmp_path / "out")
    one, two = source.features, converted.features
    for kind in ("action_names", "state_names", "environment_names", "fps", "cameras"):
        assert getattr(one, kind) == getattr(two, kind)
    assert len(converted.episode_indices) == len(source.episode_indices)
    for index, own in enumerate(source.episode_indices):
        episode, expected = converted.episode(index), source.episode(own)
        assert episode.task == expected.task
        for key in ("action", "state", "environment_state"):
            np.testing.assert_array_equal(getattr(episode, key), getattr(expected, key))
        for camera in one.cameras:
            frames = [grey_blocks(of.frames(i, camera.name)) for of, i in ((source, own), (converted, index))]
            assert np.abs(frames[0] - frames[1]).mean() < CODEC_ERROR
            if camera.depth_range:
                recorded = [nearest(of, camera.height, camera.width) for of in source.depth(own, camera.name)]
                near, far = camera.depth_range
                depth, read = np.stack(recorded), np.stack(list(converted.depth(index, camera.name)))
                half_a_code = 0.5 * (depth + 3.5) * np.log((far + 3.5) / (near + 3.5)) / 4095
                assert (np.abs(np.clip(depth, near, far) - read) < half_a_code * 1.01 + 1e-6).all()
    assert (content(root) if root.is_dir() else {root.name: root.read_bytes()}) == before


def test_two_processes_write_the_files_that_one_writes(root: Path, tmp_path: Path) -> None:
    convert([root], tmp_path / "one", workers=1)
    convert([root], tmp_path / "two", workers=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_sources_are_merged_renamed_and_chosen_from(root: Path, tmp_path: Path) -> None:
    second = record(tmp_path / "second", 2)
    config = ConvertConfig(episodes="1:3,5", rename={"overhead": "top", "gripper": "jaw"})
    assert convert([root, second], tmp_path / "out", config, workers=1).n_asked == 3
    assert_holds(tmp_path / "out", [1, 2, 1], cameras=("top", "wrist"))
    features = open_source(tmp_path / "out").features
    assert (features.action_names, features.state_names) == (("shoulder", "jaw"), ("shoulder", "elbow", "jaw"))
    lines = [json.loads(line) for line in (tmp_path / "out" / LOG).read_text().splitlines()]
    assert [(line["source"], line["source_episode"]) for line in lines] == [(0, 1), (0, 2), (1, 1)]


def test_names_that_differ_are_made_to_agree_before_sources_are_compared(root: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    convert([root], second, ConvertConfig(rename={"overhead": "front"}), workers=1)
    with pytest.raises(DataError, match="cameras are overhead only in the first, front only in the second"):
        convert([root, second], tmp_path / "out", workers=1)
    convert([root, second], tmp_path / "out", ConvertConfig(rename={"front": "overhead"}), workers=1)
    assert_holds(tmp_path / "out", [0, 1, 2, 3] * 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", (2, 3, 5, 9)), ("3", (3,)), ("0:5", (2, 3)), ("5:", (5, 9)), (":3,9", (2, 9)), (" 2:4 , 3:10", (2, 3, 5, 9))],
)
def test_episodes_are_chosen_by_index_and_half_open_range(text: str, expected: tuple[int, ...]) -> None:
    assert chosen_episodes(text, (2, 3, 5, 9)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4", r"there is no episode 4; the data have 4, from 2 to 9"),
        ("2,10:20", "there is no episode 10:20"),
        ("a", "is not of the form 0:50,60"),
        ("2,", "is not of the form"),
        ("1:2:3", "is not of the form"),
        ("-3", "is not of the form"),
        ("\N{SUPERSCRIPT TWO}", "is not of the form"),
    ],
)
def test_episodes_that_are_not_there_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chosen_episodes(text, (2, 3, 5, 9))


def test_still_ends_are_trimmed_from_vectors_and_pictures_alike(tmp_path: Path) -> None:
    """20 still frames, 10 in which the arm moves, 30 still ones; 2 are kept at either end (0.2 s at 10 Hz)."""
    path = np.concatenate([np.zeros(20), np.linspace(0.1, 1, 10), np.ones(30)])
    features = replace(FEATURES, state_names=(), environment_names=(), cameras=FEATURES.cameras[1:])
    writer = DatasetWriter(tmp_path / "data", features=features, robot_type="x")
    pictures = [np.full((32, 32, 3), 4 * step, np.uint8) for step in range(60)]
    vectors = {"action": np.stack([path, -path], axis=1)}
    writer.add(stage_episode(writer.staging, task="go", vectors=vectors, frames={"wrist": pictures}, fps=FPS))
    writer.finish()
    result = convert([tmp_path / "data"], tmp_path / "out", ConvertConfig(trim_idle=True), workers=1)
    # Frame 20 is the first that has moved, 29 the first that stays as the last one.
    assert result.n_trimmed == 60 - (31 - 18)
    assert "left out 47 still frames at their ends" in summary(result)
    source = open_source(tmp_path / "out")
    np.testing.assert_array_equal(source.episode(0).action[:, 0], path[18:31].astype(np.float32))
    grey = [int(picture[16, 16, 0]) for picture in source.frames(0, "wrist")]
    np.testing.assert_allclose(grey, 4 * np.arange(18, 31), atol=3)


@pytest.mark.parametrize("size", [(34, 48), (64, 64), (66, 96)])
def test_depth_codes_are_stored_without_loss(size: tuple[int, int], tmp_path: Path) -> None:
    """Noise over all codes, the hardest: with its own choice of blocks libx265 loses something at 64x64."""
    codes = np.random.default_rng(0).integers(0, 4096, (12, *size)).astype(np.uint16)
    encode_depth_video(tmp_path / "depth.mp4", codes, FPS)
    read = VideoReader(tmp_path / "depth.mp4", "gray12le").read(0, 12, FPS, "depth")
    np.testing.assert_array_equal(np.stack(list(read)), codes)
    with pytest.raises(DataError, match=r"frames of video 'small.mp4' are 32x48; depth video needs more than 32"):
        encode_depth_video(tmp_path / "small.mp4", np.zeros((1, 32, 48), np.uint16), FPS)


def test_calibration_and_scenes_are_kept(root: Path, tmp_path: Path) -> None:
    paired = tmp_path / "paired"
    shutil.copytree(root, paired)
    camera = Calibration(size=(48, 64), focal=(60, 60), center=(32, 24), position=(0, 0, 1), quaternion=(0, 1, 0, 0))
    write_sidecar(paired, Sidecar(cameras={"overhead": camera}, environment_height=0.015, scenes=(0, 0, 4, 4)))
    config = ConvertConfig(episodes="1:", rename={"overhead": "top"})
    convert([paired], tmp_path / "out", config, workers=1)
    sidecar = read_sidecar(tmp_path / "out")
    assert sidecar == Sidecar(cameras={"top": camera}, environment_height=0.015, scenes=(0, 1, 1))


BARE = replace(FEATURES, environment_names=())
YAML = """
cameras:
  overhead: {size: [480, 640], fx: 600, fy: 600, cx: 320, cy: 240, position: [0.3, 0, 1], quaternion: [0, 1, 0, 0]}
arm: so101
joint_unit: deg
joints: [pan, lift, elbow, flex, roll]
gripper: gripper
gripper_closed: 20
environment_height: 0.0125
"""


def record_bare(root: Path, numbers: list[int], features: Features = BARE) -> Path:
    """A recording without coordinates, as LeRobot's teleoperation makes it."""
    writer = DatasetWriter(root, features=features, robot_type="so101")
    for number in numbers:
        vectors = {key: of for key, of in vectors_of(number).items() if key != "observation.environment_state"}
        if features.state_dim != FEATURES.state_dim:
            vectors |= {key: np.zeros((length_of(number), 6), np.float32) for key in ("observation.state", "action")}
        writer.add(
            stage_episode(writer.staging, task=task_of(number), vectors=vectors, frames=frames_of(number), fps=FPS)
        )
    writer.finish()
    return root


def told(path: Path, rows: Mapping[int, tuple[float, ...]], names: str = "x,y") -> Path:
    lines = [f"episode,{names}", *(",".join(map(str, (index, *row))) for index, row in rows.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_calibration_file_becomes_the_new_data_sets_metadata(tmp_path: Path) -> None:
    joints = ("pan", "lift", "elbow", "flex", "roll", "gripper")
    bare = record_bare(tmp_path / "bare", [0, 1], replace(BARE, state_names=joints, action_names=joints))
    (tmp_path / "robot.yaml").write_text(YAML.replace("overhead", "top"))
    config = ConvertConfig(calibration=tmp_path / "robot.yaml", rename={"overhead": "top"})
    convert([bare], tmp_path / "out", config, workers=1)
    sidecar, expected = read_sidecar(tmp_path / "out"), read_calibration(tmp_path / "robot.yaml")
    assert sidecar == expected
    features = open_source(tmp_path / "out").features
    assert features.arm == expected.arm
    assert features.environment_height == 0.0125
    assert {camera.name: camera.calibration for camera in features.cameras} == {**expected.cameras, "wrist": None}


def test_a_calibration_goes_before_what_the_sources_say_and_must_be_for_them(root: Path, tmp_path: Path) -> None:
    known = tmp_path / "known"
    shutil.copytree(root, known)
    camera = Calibration(size=(48, 64), focal=(60, 60), center=(32, 24), position=(0, 0, 1), quaternion=(0, 1, 0, 0))
    write_sidecar(known, Sidecar(cameras={"overhead": camera, "wrist": replace(camera, size=(32, 32))}))
    path = tmp_path / "robot.yaml"
    path.write_text(YAML.partition("arm")[0])
    convert([known], tmp_path / "out", ConvertConfig(calibration=path), workers=1)
    cameras = read_sidecar(tmp_path / "out").cameras
    assert cameras == {**read_calibration(path).cameras, "wrist": replace(camera, size=(32, 32))}
    path.write_text(path.read_text().replace("1, 0, 0]", "0, 1, 0]"))
    with pytest.raises(DataError, match=r"was begun with calibration .* use the same options"):
        convert([known], tmp_path / "out", ConvertConfig(calibration=path), workers=1)
    path.write_text(path.read_text().replace("overhead", "overhed"))
    with pytest.raises(DataError, match=r"robot.yaml': unknown camera 'overhed'; did you mean 'overhead'"):
        convert([known], tmp_path / "other", ConvertConfig(calibration=path), workers=1)


def test_a_recorded_pose_is_kept_renamed_and_dropped_where_sources_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("x", "y", "z", "qw", "qx", "qy")
    features = replace(BARE, state_names=names, action_names=names)
    one, two = (record_bare(tmp_path / name, [number], features) for number, name in enumerate(("one", "two")))
    pose = RecordedPose(position=("x", "y", "z"), quaternion=("qw", "qx", "qy", "z"))
    write_sidecar(one, Sidecar(recorded_pose=pose))
    convert([one], tmp_path / "out", ConvertConfig(rename={"z": "up", "qw": "w"}), workers=1)
    renamed = RecordedPose(position=("x", "y", "up"), quaternion=("w", "qx", "qy", "up"))
    assert read_sidecar(tmp_path / "out") == Sidecar(recorded_pose=renamed)
    convert([one, two], tmp_path / "both", workers=1)
    assert read_sidecar(tmp_path / "both") == Sidecar()
    assert "do not say the same about where the state says the hand is" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("workers", [1, 2])
def test_coordinates_of_a_file_are_those_of_each_episode(workers: int, tmp_path: Path) -> None:
    rows = {0: (0.1, -0.2, 0.3), 2: (0.4, 0.5, 0.6), 1: (9.0, 9.0, 9.0)}
    config = ConvertConfig(
        episodes="0,2", trim_idle=True, coordinates=told(tmp_path / "where.csv", rows, "block_x,block_y,bowl_x")
    )
    convert([record_bare(tmp_path / "bare", [0, 1, 2])], tmp_path / "out", config, workers=workers)
    source = open_source(tmp_path / "out")
    assert source.features.environment_names == ("block_x", "block_y", "bowl_x")
    for index, row in enumerate((rows[0], rows[2])):
        episode = source.episode(index)
        np.testing.assert_array_equal(
            episode.environment_state, np.tile(np.array(row, np.float32), (episode.length, 1))
        )
        np.testing.assert_array_equal(episode.state, vectors_of(2 * index)["observation.state"])


def test_coordinates_count_through_several_sources(tmp_path: Path) -> None:
    sources = [record_bare(tmp_path / "one", [0, 1]), record_bare(tmp_path / "two", [2])]
    rows = {index: (0.1 * index, -0.1 * index) for index in range(3)}
    convert(sources, tmp_path / "out", ConvertConfig(coordinates=told(tmp_path / "where.csv", rows)), workers=1)
    source = open_source(tmp_path / "out")
    for index, row in rows.items():
        environment_state = source.episode(index).environment_state
        assert environment_state is not None
        np.testing.assert_array_equal(environment_state[0], np.array(row, np.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("episode,x,y\n0,1,2\n", r"where.csv' has no line for episode 1, 2; each episode needs its coordinates"),
        (
            "episode,x,y\n0,1,2\n1,1,2\n2,1,2\n7,1,2\n8,1,2",
            r"a line for episode 7, 8; the data have 3, from 0 to 2",
        ),
        ("0,1,2\n", r"begins with '0,1,2', expected a heading: episode and two or more names that differ, such as"),
        ("episode,x,x\n", "expected a heading"),
        ("episode,x\n", "expected a heading"),
        ("", "begins with '', expected a heading"),
        ("episode,x,y\n0,1,2\n\n1,1\n", "where.csv', line 4: '1,1' is not episode,x,y in numbers"),
        ("episode,x,y\n0,1,nan\n", "line 2: '0,1,nan' is not episode,x,y in numbers"),
        ("episode,x,y\n0.5,1,2\n", "line 2: '0.5,1,2' is not episode,x,y in numbers"),
        ("episode,x,y\n0,1,2\n0,1,2\n", "line 3: episode 0 has a line already"),
    ],
)
def test_coordinates_that_are_not_those_of_the_episodes_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "where.csv").write_text(text)
    bare = record_bare(tmp_path / "bare", [0, 1, 2])
    with pytest.raises(DataError, match=message):
        convert([bare], tmp_path / "out", ConvertConfig(coordinates=tmp_path / "where.csv"), workers=1)
    assert not (tmp_path / "out").exists()


def test_coordinates_that_are_there_are_not_replaced(root: Path, tmp_path: Path) -> None:
    config = ConvertConfig(coordinates=told(tmp_path / "where.csv", {0: (1, 2)}))
    with pytest.raises(DataError, match=r"has coordinates already \(x, y\), which --coordinates does not replace"):
        convert([root], tmp_path / "out", config, workers=1)
    bare, config = record_bare(tmp_path / "bare", [0]), ConvertConfig(coordinates=tmp_path / "none.csv")
    with pytest.raises(DataError, match="there is no file"):
        convert([bare], tmp_path / "out", config, workers=1)


def test_depth_is_kept_to_half_a_code_or_left_out(tmp_path: Path) -> None:
    """A slope that moves away, written by us, converted, and read as metres."""
    camera = Camera(name="wrist", height=64, width=64, depth_range=(0.2, 4.0))
    features = replace(FEATURES, cameras=(camera,), state_names=(), environment_names=())
    slope = np.linspace(0.3, 2.0, 64, dtype=np.float32) + np.zeros((64, 1), np.float32)
    maps = [slope + np.float32(0.1) * step for step in range(6)]
    maps[2][0, :4] = 0.0  # not measured: becomes the nearest depth
    for number in range(2):
        writer = DatasetWriter(tmp_path / "data", features=features, robot_type="x", resume=number > 0)
        frames = {"wrist": [np.full((64, 64, 3), 90, np.uint8)] * 6}
        vectors = {"action": vectors_of(number, 6)["action"]}
        writer.add(
            stage_episode(writer.staging, task="go", vectors=vectors, frames=frames, fps=FPS, depth={camera: maps})
        )
        writer.finish()
    convert([tmp_path / "data"], tmp_path / "out", workers=1)
    source = open_source(tmp_path / "out")
    assert source.features.cameras == (camera,)
    half_a_code = 0.5 * (4.0 + 3.5) * np.log(7.5 / 3.7) / 4095
    for index in (0, 1):
        read = np.stack(list(source.depth(index, "wrist")))
        np.testing.assert_allclose(read, np.clip(maps, 0.2, 4.0), atol=half_a_code * 1.01)
        again = np.stack(list(open_source(tmp_path / "data").depth(index, "wrist")))
        np.testing.assert_array_equal(read, again, "the second time nothing is lost")
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())["observation.images.wrist_depth"]
    assert np.ravel(stats["mean"]) == pytest.approx(np.clip(maps, 0.2, 4.0).mean(), abs=half_a_code)
    convert([tmp_path / "data"], tmp_path / "colour", ConvertConfig(depth=False), workers=1)
    assert open_source(tmp_path / "colour").features.cameras == (replace(camera, depth_range=None),)


def convert_and_die(source: Path, out: Path, at_line: int) -> None:
    """In a process of its own: kill it once so many episodes are in the log."""

    def watch() -> None:
        while not ((out / LOG).exists() and len((out / LOG).read_text().splitlines()) >= at_line):
            time.sleep(0.0005)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    convert([source], out, workers=1)


@pytest.mark.parametrize("at_line", [1, 5])
def test_a_killed_conversion_goes_on_to_the_same_data_set(at_line: int, tmp_path: Path) -> None:
    source, out = record(tmp_path / "data", 12), tmp_path / "out"
    code = f"from data.test_convert import convert_and_die as f; from pathlib import Path as P; f(P({str(source)!r}), "
    code += f"P({str(out)!r}), {at_line})"
    tests = str(Path(__file__).parents[1])
    killed = subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {tests!r}); {code}"], check=False)
    assert killed.returncode == -signal.SIGKILL
    n_before = len((out / LOG).read_text().splitlines())
    assert at_line <= n_before < 12
    assert len(open_source(out).episode_indices) in (n_before, n_before + 1), "valid as it stands"
    result = convert([source], out, workers=1)
    assert (result.n_converted, result.finished) == (12, True)
    convert([source], tmp_path / "whole", workers=1)
    assert_same(out, tmp_path / "whole")


def test_a_log_that_was_cut_off_is_mended(root: Path, tmp_path: Path) -> None:
    """As after a kill between an episode and its line, or in the middle of a line."""
    out = tmp_path / "out"
    convert([root], out, workers=1)
    settings = json.loads((out / SETTINGS).read_text())
    (out / SETTINGS).write_text(json.dumps({**settings, "complete": False}))
    text = (out / LOG).read_text()
    lines = text.splitlines(keepends=True)
    (out / LOG).write_text("".join(lines[:3]) + lines[3][:10])
    convert([root], out, workers=1)
    assert (out / LOG).read_text() == text
    assert_holds(out, [0, 1, 2, 3])


def test_a_finished_conversion_is_left_alone_and_other_options_are_refused(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert([root], out, workers=1)
    before = content(out)
    assert convert([root], out, workers=1).n_converted == 4
    assert content(out) == before
    with pytest.raises(DataError, match="was begun with trim_idle False, not True; use the same options"):
        convert([root], out, ConvertConfig(trim_idle=True), workers=1)
    with pytest.raises(DataError, match=r"was begun with rename {}, not {'wrist': 'hand'}"):
        convert([root], out, ConvertConfig(rename={"wrist": "hand"}), workers=1)
    with pytest.raises(DataError, match=r"was converted from .*data, which are not these or have changed"):
        convert([record(tmp_path / "other", 2)], out, workers=1)
    assert content(out) == before


def test_a_place_that_is_taken_or_in_the_source_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("x")
    with pytest.raises(DataError, match="is not empty and not a conversion; the last path is the folder to write"):
        convert([root], tmp_path / "notes")
    for place in (root, root / "converted"):
        with pytest.raises(DataError, match=r"the new data set '.*' lies in the source '.*', which is never changed"):
            convert([root], place)
    with pytest.raises(ConfigError, match=r"--rename: unknown name 'wirst'; did you mean 'wrist'\?"):
        convert([root], tmp_path / "out", ConvertConfig(rename={"wirst": "hand"}))
    with pytest.raises(ConfigError, match=r"gives two cameras of '.*' one name"):
        convert([root], tmp_path / "out", ConvertConfig(rename={"wrist": "overhead"}))
    assert not (tmp_path / "out").exists()


def test_a_camera_may_have_any_name_that_a_folder_may_have(root: Path, tmp_path: Path) -> None:
    config = ConvertConfig(rename={"overhead": "{x}", "wrist": "[*] {chunk_index}"})
    convert([root], tmp_path / "out", config, workers=1)
    assert_holds(tmp_path / "out", [0, 1, 2, 3], cameras=("{x}", "[*] {chunk_index}"))
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out/videos").rglob("*.mp4")}
    names = ("{x}", "[*] {chunk_index}")
    assert files == {f"videos/observation.images.{name}/chunk-000/file-000.mp4" for name in names}


def test_a_camera_is_not_called_like_the_depth_of_another(tmp_path: Path) -> None:
    """Both would be `observation.images.left_wrist_depth`, and one of them would be lost."""
    source = write_2026(tmp_path / "source")
    config = ConvertConfig(rename={"head": "left_wrist_depth"})
    message = "camera 'left_wrist_depth' is called like the depth of camera 'left_wrist' in the new data set; give it"
    with pytest.raises(ConfigError, match=message):
        convert([source], tmp_path / "out", config, workers=1)
    assert not (tmp_path / "out").exists()
    convert([source], tmp_path / "out", replace(config, depth=False), workers=1)
    names = [camera.name for camera in open_source(tmp_path / "out").features.cameras]
    assert names == ["left_wrist", "right_wrist", "left_wrist_depth"]


def test_the_folder_of_a_conversion_that_failed_at_once_is_free_for_other_options(tmp_path: Path) -> None:
    source = record(tmp_path / "data", 2, finish=False)
    damaged = cut_video(source, 0)
    with pytest.raises(DataError, match="episode 0: video"):
        convert([source], tmp_path / "out", workers=1)
    damaged.unlink()
    shutil.copy(source / "videos/observation.images.wrist/chunk-500/file-001.mp4", damaged)
    config = ConvertConfig(episodes="1", rename={"wrist": "hand"})
    assert convert([source], tmp_path / "out", config, workers=1).n_converted == 1
    assert_holds(tmp_path / "out", [1], cameras=("overhead", "hand"))


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (
            ("data", "videos"),
            "'.*out' was converted but cannot be read: .* no episode is complete; .*; remove",
        ),
        (("videos/observation.images.wrist",), "'.*out' was converted but lacks the videos of camera 'wrist'; remove"),
        ((LOG,), rf"'.*{LOG}' lists 0 of 4 episodes; remove '.*out' and convert again"),
        (("meta/info.json",), "'.*out' was converted but cannot be read: '.*info.json' is missing; .*; remove"),
    ],
)
def test_a_finished_conversion_that_has_lost_something_since_is_not_called_done(
    root: Path, tmp_path: Path, lost: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "out"
    convert([root], out, workers=1)
    for name in lost:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    with pytest.raises(DataError, match=message):
        convert([root], out, workers=1)
    shutil.rmtree(out)
    convert([root], out, workers=1)
    assert_holds(out, [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (SETTINGS, "{}", "conversion.json' is damaged; remove '.*out' and convert again"),
        (SETTINGS, '{"sources": [3], "complete": true}', "conversion.json' is damaged; remove"),
        (SETTINGS, "{", "conversion.json' cannot be read as JSON"),
        (LOG, "{}\n", "conversion.jsonl' line 1 is damaged; remove '.*out' and convert again"),
        (LOG, "{\n", "conversion.jsonl' line 1 is damaged"),
        (LOG, "\0\xff\n", "conversion.jsonl' line 1 is damaged"),
        (LOG, "[1]\n", "conversion.jsonl' line 1 is damaged"),
        (
            LOG,
            '{"source": 0, "source_episode": 0, "frames": "x", "episode_index": 0}\n',
            "conversion.jsonl' line 1 is damaged",
        ),
    ],
)
def test_notes_of_a_conversion_that_are_damaged_are_named(
    root: Path, tmp_path: Path, name: str, content: str, message: str
) -> None:
    convert([root], tmp_path / "out", workers=1)
    (tmp_path / "out" / name).write_text(content)
    with pytest.raises(DataError, match=message):
        convert([root], tmp_path / "out", workers=1)


def test_a_place_that_cannot_be_written_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write '.*file/out.*': "):
        convert([root], tmp_path / "file" / "out", workers=1)
    with pytest.raises(DataError, match=r"cannot write '.*file/x.json': (Not a directory|File exists)"):
        write_json(tmp_path / "file" / "x.json", {})


@pytest.mark.parametrize("workers", [0, -3])
def test_a_number_of_processes_that_cannot_be_is_refused(root: Path, tmp_path: Path, workers: int) -> None:
    with pytest.raises(ConfigError, match=f"--workers is {workers}; it must be at least 1"):
        convert([root], tmp_path / "out", workers=workers)


def test_pictures_of_an_odd_size_are_refused_with_what_to_do(tmp_path: Path) -> None:
    aloha_files.write_episode(tmp_path / "episode_0.hdf5")
    with h5py.File(tmp_path / "episode_0.hdf5", "r+") as file:
        del file["observations/images/cam_high"]
        file["observations/images/cam_high"] = np.zeros((8, 33, 48, 3), np.uint8)
    with pytest.raises(DataError, match=r"'cam_high' has pictures of 33x48; video needs an even .*: resize or crop"):
        convert([tmp_path], tmp_path.parent / "out", workers=1)


def test_warnings_about_sources_are_printed_once_however_many_processes_read_them(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = shutil.copytree(root, tmp_path / "data")
    info = json.loads((source / "meta/info.json").read_text())
    (source / "meta/info.json").write_text(json.dumps({**info, "total_episodes": 3}))
    assert convert([source], tmp_path / "out", workers=2).n_converted == 4
    assert capfd.readouterr().err.count("lists 4 episodes, info.json counts 3") == 1


def test_a_damaged_episode_of_the_second_source_is_named_by_its_own_number_and_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [record(tmp_path / "first", 2), record_damaged(tmp_path / "second")]
    result = convert(sources, tmp_path / "out", skip_bad=True, workers=2)
    assert list(result.left_out) == [2 + 1, 2 + 4]
    said = capsys.readouterr().err
    assert f"left out episode 3: episode 1: video '{sources[1]}/videos" in said
    assert f"left out episode 6: episode 4 ('{sources[1]}/data/chunk-500/file-004.parquet'): 'action' is nan" in said


def test_the_first_damaged_episode_ends_it_and_skip_bad_goes_on_from_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = record_damaged(tmp_path / "data")
    before = content(source)
    call = ["convert", str(source), str(tmp_path / "out"), "--workers", "1"]
    assert run(call) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: episode 1: video '")
    assert "file-001.mp4' is damaged" in error
    assert error.endswith("--skip-bad goes on without such episodes")
    assert_holds(tmp_path / "out", [0])
    assert run([*call, "--skip-bad"]) == 0
    printed = capsys.readouterr()
    assert "converted 4 episodes to" in printed.out
    assert printed.out.strip().endswith("left out 2 of 6 episodes: 1, 4")
    said = " ".join(printed.err.split())
    assert said.count("left out episode 1: video '") == 1
    assert f"left out episode 4 ('{source}/data/chunk-500/file-004.parquet'): 'action' is nan at frame 2, dim" in said
    assert_holds(tmp_path / "out", [0, 2, 3, 5])
    assert content(source) == before


def test_a_set_in_which_every_episode_is_damaged_is_an_error(tmp_path: Path) -> None:
    source = record(tmp_path / "data", 2, finish=False)
    for episode in (0, 1):
        cut_video(source, episode)
    with pytest.raises(
        DataError, match=r"all 2 episodes of '.*' are damaged, the first: episode 0: video '.*file-000.mp4'"
    ):
        convert([source], tmp_path / "out", skip_bad=True, workers=2)
    shutil.rmtree(source / "meta/episodes")
    with pytest.raises(DataError, match="meta/episodes"):
        convert([source], tmp_path / "other", skip_bad=True, workers=1)


def test_ctrl_c_leaves_a_valid_data_set_and_says_how_to_go_on(tmp_path: Path) -> None:
    source, out = record(tmp_path / "data", 60), tmp_path / "out"  # enough not to be done before the signal comes
    call = [sys.executable, "-m", "foreact.cli.main", "convert", str(source), str(out), "--workers", "2"]
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not ((out / LOG).exists() and (out / LOG).read_text()):
            time.sleep(0.0005)
        os.killpg(process.pid, signal.SIGINT)  # a terminal tells every process of the group
        assert process.stderr is not None
        printed = " ".join(process.stderr.read().split())
    assert process.returncode == 130
    assert "of 60 episodes; the same command continues" in printed
    assert "Traceback" not in printed, printed
    assert not list(out.glob(".*"))
    n = len(open_source(out).episode_indices)
    assert_holds(out, list(range(n)))
    assert LENGTHS == (12, 7, 9, 15)
