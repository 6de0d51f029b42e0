"""A LeRobotDataset v3.0 of any sizes, written by our own writer with real video of moving pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from moving_pictures import moving_pictures

from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.records import Camera, Features

FPS = 30


def write_data(
    root: Path,
    *,
    size: tuple[int, int],
    n_cameras: int,
    state_dim: int,
    action_dim: int,
    coordinates: bool,
    episodes: int,
    frames: int,
) -> Path:
    """Write a data set, unless it is there already, and return its folder.

    Args:
        root: The folder.
        size: Height and width of the pictures.
        n_cameras: How many.
        state_dim: Of the state.
        action_dim: Of the action.
        coordinates: Whether there are x and y of a cue, too.
        episodes: How many.
        frames: Of an episode.
    """
    if (root / "meta/info.json").exists():
        return root
    features = Features(
        action_names=tuple(f"a{i}" for i in range(action_dim)),
        state_names=tuple(f"s{i}" for i in range(state_dim)),
        environment_names=("target_x", "target_y") if coordinates else (),
        cameras=tuple(Camera(name=f"camera{i}", height=size[0], width=size[1]) for i in range(n_cameras)),
        fps=FPS,
    )
    writer = DatasetWriter(root, features=features, robot_type="none")
    for number in range(episodes):
        rng = np.random.default_rng(number)
        vectors = {
            "observation.state": rng.normal(size=(frames, state_dim)).cumsum(axis=0),
            "action": rng.normal(size=(frames, action_dim)).cumsum(axis=0),
        }
        if coordinates:
            vectors["observation.environment_state"] = np.tile(rng.uniform(-0.2, 0.2, 2), (frames, 1))
        pictures = {
            camera.name: moving_pictures(frames, *size, 10 * number + i) for i, camera in enumerate(features.cameras)
        }
        writer.add(stage_episode(writer.staging, task="move", vectors=vectors, frames=pictures, fps=FPS))
    writer.finish()
    return root
