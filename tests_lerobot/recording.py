"""A small recording with our writer; run as a script it kills itself in the middle."""

import os
import signal
import sys
from pathlib import Path

import numpy as np

from foreact.data.lerobot_v3_writer import DatasetWriter, StagedEpisode, stage_episode
from foreact.records import Camera, Features

FPS = 10
LENGTHS = (12, 7, 15)
FEATURES = Features(
    action_names=("shoulder", "gripper"),
    state_names=("shoulder", "elbow", "gripper"),
    environment_names=("x", "y"),
    cameras=(Camera(name="overhead", height=64, width=96), Camera(name="wrist", height=48, width=48)),
    fps=float(FPS),
)


def stage(directory: Path, number: int, length: int) -> StagedEpisode:
    rng = np.random.default_rng(number)
    frames = {
        camera.name: [picture(rng, camera.height, camera.width, step) for step in range(length)]
        for camera in FEATURES.cameras
    }
    vectors = {
        "observation.state": rng.normal(size=(length, 3)),
        "observation.environment_state": np.tile(rng.normal(size=2), (length, 1)),
        "action": np.stack([np.full(length, number), np.arange(length)], axis=1),
        "next.success": np.arange(length) == length - 1,
    }
    return stage_episode(directory, task=f"task {number % 2}", vectors=vectors, frames=frames, fps=FPS)


def picture(rng: np.random.Generator, height: int, width: int, step: int) -> np.ndarray:
    image = np.full((height, width, 3), 40 + 8 * step, np.uint8)
    row, column = rng.integers(0, height - 8), rng.integers(0, width - 8)
    image[row : row + 8, column : column + 8] = (220, 30, 60)
    return image


def record(root: Path, kill_before_finish: bool = False) -> None:
    writer = DatasetWriter(root, features=FEATURES, robot_type="so101_follower")
    for number, length in enumerate(LENGTHS):
        writer.add(stage(writer.staging, number, length))
    if kill_before_finish:
        stage(writer.staging, len(LENGTHS), 9)
        os.kill(os.getpid(), signal.SIGKILL)
    writer.finish()


if __name__ == "__main__":
    record(Path(sys.argv[1]), kill_before_finish=True)
