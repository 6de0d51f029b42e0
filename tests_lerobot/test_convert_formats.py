"""LeRobot 0.6.1 judges what `foreact convert` makes of each format: every row, picture and depth map as it was written.

What is expected comes from the code that wrote the sources, not from our readers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

import behavior_files
from data import aloha_files, lerobot_v2_files, robomimic_files
from foreact.config import SourceConfig
from foreact.data.convert import ConvertConfig, convert

CODEC_ERROR = 8
"""Levels of 255, over blocks of 4x4 pixels: encoded twice."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """One episode as it went into the source."""

    task: str
    vectors: Mapping[str, np.ndarray]
    """By LeRobot's key, (L, D)."""
    pictures: Mapping[str, Callable[[int], np.ndarray]]
    """By camera: the picture of a step."""
    depth: Mapping[str, Callable[[int], np.ndarray]] = field(default_factory=dict)
    """By camera: the depth map [m] of a step."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A format: how a source of it is made, what is in it, and how it is converted."""

    write: Callable[[Path], Path]
    episodes: Callable[[], list[Written]]
    fps: int
    rename: Mapping[str, str] = field(default_factory=dict)
    source: SourceConfig = field(default_factory=SourceConfig)
    depth_error: float = 0.0
    """Mean over a map [m]."""


def aloha() -> list[Written]:
    episodes = []
    for number, length in aloha_files.LENGTHS.items():
        of = aloha_files.vectors_of(number, length)
        pictures = [aloha_files.pictures_of(number, camera, length) for camera in range(len(aloha_files.CAMERAS))]
        episodes.append(
            Written(
                task="source",
                vectors={"observation.state": of["qpos"], "action": of["action"]},
                pictures={name: array.__getitem__ for name, array in zip(aloha_files.CAMERAS, pictures, strict=True)},
            )
        )
    return episodes


def robomimic() -> list[Written]:
    episodes = []
    for number, length in robomimic_files.LENGTHS.items():
        of = robomimic_files.observations_of(number, length)
        hand = [of[f"robot0_{part}"] for part in ("eef_pos", "eef_quat", "gripper_qpos")]
        vectors = {"observation.state": np.concatenate(hand, axis=1), "observation.environment_state": of["object"]}
        episodes.append(
            Written(
                task="Lift",
                vectors={**vectors, "action": robomimic_files.actions_of(number, length)},
                pictures={"front": of["agentview_image"].__getitem__},
            )
        )
    return episodes


def behavior(lengths: Mapping[int, int], dim: int) -> list[Written]:
    def episode(index: int, length: int) -> Written:
        proprioception = behavior_files.proprioception_of(index, length, dim)
        return Written(
            task="turning_on_radio" if dim == 61 else f"task number {index // 10000}",
            vectors={
                "observation.state": behavior_files.state_by_hand(proprioception),
                "action": behavior_files.action_of(index, length),
            },
            pictures={
                camera: lambda step, of=camera: behavior_files.picture_of(of, index, step)
                for camera in behavior_files.SIZES
            },
            depth={
                camera: lambda step, of=camera: behavior_files.depth_of(of, index, step)
                for camera in behavior_files.SIZES
            },
        )

    return [episode(index, length) for index, length in lengths.items()]


def lerobot_v2() -> list[Written]:
    names = {"observation.images.top": "top", "observation.rgb.side": "side", "observation.image": "observation.image"}

    def episode(index: int) -> Written:
        height, width = lerobot_v2_files.SIZES["observation.images.top"]

        def depth(step: int) -> np.ndarray:
            """In the size of the camera's pictures, 64 of 96 columns: of each three the middle one is left out."""
            ramp = lerobot_v2_files.depth_of(index, step)[0]
            return np.tile(np.delete(ramp, np.s_[1::3])[:width], (height, 1))

        return Written(
            task=lerobot_v2_files.TASKS[index],
            vectors={
                "observation.state": lerobot_v2_files.state_of(index),
                "action": lerobot_v2_files.action_of(index),
            },
            pictures={
                name: lambda step, of=key: lerobot_v2_files.picture_of(of, index, step) for key, name in names.items()
            },
            depth={"top": depth},
        )

    return [episode(index) for index in lerobot_v2_files.EPISODES]


SHORT_2025 = {10: 12, 20010: 9}
CASES = {
    "aloha": Case(write=aloha_files.write, episodes=aloha, fps=50),
    "robomimic": Case(
        write=lambda root: robomimic_files.write(root.with_suffix(".hdf5")),
        episodes=robomimic,
        fps=20,
        rename={"agentview_image": "front"},
        source=SourceConfig(environment_keys=("object",)),
    ),
    "behavior 2025": Case(
        write=lambda root: behavior_files.write_2025(root, SHORT_2025),
        episodes=lambda: behavior(SHORT_2025, 256),
        fps=30,
        depth_error=0.02,
    ),
    "behavior 2026": Case(
        write=behavior_files.write_2026,
        episodes=lambda: behavior(behavior_files.EPISODES_2026, 61),
        fps=30,
        depth_error=0.01,
    ),
    "lerobot v2.1": Case(
        write=lerobot_v2_files.write_v2,
        episodes=lerobot_v2,
        fps=10,
        rename={"observation.rgb.side": "side"},
        depth_error=0.003,
    ),
}


def blocks(picture: np.ndarray) -> np.ndarray:
    """Means of 4x4 pixels: what a codec keeps of pictures that are noise."""
    height, width, channels = picture.shape
    return picture.reshape(height // 4, 4, width // 4, 4, channels).mean(axis=(1, 3))


@pytest.mark.parametrize("name", CASES)
def test_lerobot_reads_what_was_written_in_another_format(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    root = case.write(tmp_path / "source")
    convert([root], tmp_path / "out", ConvertConfig(rename=case.rename, source=case.source), workers=1)
    theirs = LeRobotDataset("local/converted", root=tmp_path / "out", video_backend="pyav")
    episodes = case.episodes()
    assert (theirs.num_episodes, theirs.meta.fps) == (len(episodes), case.fps)
    cameras = {f"observation.images.{camera}" for camera in episodes[0].pictures}
    depth = {f"observation.images.{camera}_depth" for camera in episodes[0].depth}
    assert set(theirs.meta.camera_keys) == cameras | depth
    assert set(theirs.meta.depth_keys) == depth
    row = 0
    for number, written in enumerate(episodes):
        for step in range(len(written.vectors["action"])):
            item = theirs[row]
            row += 1
            assert (int(item["episode_index"]), int(item["frame_index"]), item["task"]) == (number, step, written.task)
            assert float(item["timestamp"]) == pytest.approx(step / case.fps)
            for key, values in written.vectors.items():
                assert torch.equal(item[key], torch.from_numpy(values[step].astype(np.float32))), key
            for camera, picture in written.pictures.items():
                levels = item[f"observation.images.{camera}"].permute(1, 2, 0).numpy() * 255
                expected = picture(step).astype(float)
                assert levels.shape == expected.shape
                assert np.abs(blocks(levels) - blocks(expected)).mean() < CODEC_ERROR, (camera, row)
            for camera, metres in written.depth.items():
                read = item[f"observation.images.{camera}_depth"].numpy().squeeze() / 1000
                assert read.shape == metres(step).shape
                assert np.abs(read - metres(step)).mean() < case.depth_error, (camera, row)
    assert row == len(theirs)
