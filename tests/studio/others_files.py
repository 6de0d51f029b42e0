"""Data sets as others' recorders leave them, and what h5py, pyarrow and PyAV find in an episode of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import h5py
import numpy as np
import pyarrow.parquet as pq

import behavior_files
from data import aloha_files, lerobot_v2_files, robomimic_files

EPISODE = 2
"""What is looked at where there is one of that number; neither the first nor, in most files, where number 2 stands."""
_EPISODES_2025 = {10: 3, 10031: 5}
_EPISODES_2026 = {0: 4, 1: 6, 2: 5}
_LOW_DIM = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """An episode's content."""

    index: int
    pictures: Mapping[str, np.ndarray]
    """uint8 (L, H, W, 3) by camera."""
    depth: Mapping[str, np.ndarray]
    """Metres (L, H, W) by camera; 0 where nothing was measured."""
    state: np.ndarray
    action: np.ndarray


def write_aloha(root: Path) -> Path:
    """With a depth camera, whose millimetres have a hole."""
    root.mkdir()
    for number, length in aloha_files.LENGTHS.items():
        depth = np.stack([_millimetres(number, step) for step in range(length)])
        aloha_files.write_episode(root / f"episode_{number}.hdf5", number, length, depth=depth)
    return root


def _millimetres(number: int, step: int) -> np.ndarray:
    height, width = aloha_files.SIZE
    depth = np.broadcast_to(np.geomspace(250, 2500, width) * 1.06**step * 1.2**number, (height, width)).copy()
    depth[8:24, 16:32] = 0
    return depth.astype(np.uint16)


def read_aloha(root: Path) -> Found:
    """Read an uncompressed file of a simulated robot."""
    with h5py.File(root / f"episode_{EPISODE}.hdf5") as file:
        return Found(
            index=EPISODE,
            pictures={name: of[:] for name, of in file["observations/images"].items()},
            depth={name: of[:] / 1000 for name, of in file["observations/images_depth"].items()},
            state=file["observations/qpos"][:],
            action=file["action"][:],
        )


def write_robomimic(root: Path) -> Path:
    """Write its one file."""
    root.mkdir()
    robomimic_files.write(root / "image.hdf5")
    return root


def read_robomimic(root: Path) -> Found:
    """Read a demonstration; its depth is no metres, and is not shown."""
    with h5py.File(root / "image.hdf5") as file:
        demo = file[f"data/demo_{EPISODE}"]
        return Found(
            index=EPISODE,
            pictures={"agentview_image": demo["obs/agentview_image"][:]},
            depth={},
            state=np.concatenate([demo[f"obs/{key}"][:] for key in _LOW_DIM], axis=1),
            action=demo["actions"][:],
        )


def write_behavior_2025(root: Path) -> Path:
    """Short."""
    return behavior_files.write_2025(root, _EPISODES_2025)


def read_behavior_2025(root: Path) -> Found:
    """Read the second task's; a file is an episode."""
    index, length = list(_EPISODES_2025.items())[-1]
    videos = root / f"videos/task-{index // 10000:04d}"
    pictures = {
        camera: _decoded(videos / f"observation.images.rgb.{camera}/episode_{index:08d}.mp4", 0, length)
        for camera in behavior_files.SIZES
    }
    table = root / f"data/task-{index // 10000:04d}/episode_{index:08d}.parquet"
    return _behavior(index, length, pictures, table)


def write_behavior_2026(root: Path) -> Path:
    """Short."""
    return behavior_files.write_2026(root, _EPISODES_2026)


def read_behavior_2026(root: Path) -> Found:
    """Read the last; all episodes are in the same files."""
    first, length = sum(_EPISODES_2026[before] for before in range(EPISODE)), _EPISODES_2026[EPISODE]
    pictures = {
        camera: _decoded(root / f"videos/observation.rgb.{name}/chunk-000/file-000.mp4", first, length)
        for camera, name in behavior_files.CAMERAS_2026.items()
    }
    return _behavior(EPISODE, length, pictures, root / "data/chunk-000/file-000.parquet")


def _behavior(index: int, length: int, pictures: Mapping[str, np.ndarray], table: Path) -> Found:
    """With the depth that was written: its codes are worked out by hand in the tests of the format."""
    rows = [row for row in pq.read_table(table).to_pylist() if row["episode_index"] == index]
    depth = {
        camera: np.stack([behavior_files.depth_of(camera, index, step) for step in range(length)])
        for camera in behavior_files.SIZES
    }
    proprioception = np.array([row["observation.state"] for row in rows], np.float32)
    return Found(
        index=index,
        pictures=pictures,
        depth=depth,
        state=behavior_files.state_by_hand(proprioception),
        action=np.array([row["action"] for row in rows]),
    )


def write_lerobot_v2(root: Path) -> Path:
    """Write the one of the format's own tests."""
    return lerobot_v2_files.write_v2(root)


def read_lerobot_v2(root: Path) -> Found:
    """Read the one whose pictures of camera `top` are a video."""
    index = 7
    length = lerobot_v2_files.EPISODES[index]
    video = root / lerobot_v2_files.VIDEO_PATH.format(
        episode_chunk=0, video_key="observation.images.top", episode_index=index
    )
    return Found(
        index=index,
        pictures={"top": _decoded(video, 0, length)},
        depth={"top": np.stack([lerobot_v2_files.depth_of(index, step) for step in range(length)])},
        state=lerobot_v2_files.state_of(index),
        action=lerobot_v2_files.action_of(index),
    )


def _decoded(path: Path, first: int, length: int) -> np.ndarray:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames[first : first + length])


FORMATS: Mapping[str, tuple[Callable[[Path], Path], Callable[[Path], Found]]] = {
    "aloha": (write_aloha, read_aloha),
    "robomimic": (write_robomimic, read_robomimic),
    "behavior-2025": (write_behavior_2025, read_behavior_2025),
    "behavior-2026": (write_behavior_2026, read_behavior_2026),
    "lerobot-v2": (write_lerobot_v2, read_lerobot_v2),
}
"""How each is written and read."""
