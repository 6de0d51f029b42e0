"""Small recordings whose every number and picture is known; run as a script it records until it is killed."""

import sys
from pathlib import Path

import numpy as np

from foreact.data.lerobot_v3_writer import DatasetWriter, StagedEpisode, stage_episode
from foreact.records import Camera, Features

FPS = 10
FEATURES = Features(
    action_names=("shoulder", "gripper"),
    state_names=("shoulder", "elbow", "gripper"),
    environment_names=("x", "y"),
    cameras=(Camera(name="overhead", height=48, width=64), Camera(name="wrist", height=32, width=32)),
    fps=float(FPS),
)
LENGTHS = (12, 7, 9, 15)


def length_of(number: int) -> int:
    return LENGTHS[number % len(LENGTHS)]


def task_of(number: int) -> str:
    return ("pick", "place")[number % 2]


def vectors_of(number: int, length: int | None = None) -> dict[str, np.ndarray]:
    length = length or length_of(number)
    rng = np.random.default_rng(number)
    return {
        "observation.state": rng.normal(size=(length, 3)).astype(np.float32),
        "observation.environment_state": np.tile(rng.normal(size=2), (length, 1)).astype(np.float32),
        "action": np.stack([np.full(length, number), np.arange(length)], axis=1).astype(np.float32),
        "next.success": np.arange(length) == length - 1,
    }


def frames_of(number: int, length: int | None = None) -> dict[str, list[np.ndarray]]:
    """Grey that tells episode, camera and step apart, brighter by 10 a step, with a darker corner."""
    frames = {}
    for position, camera in enumerate(FEATURES.cameras):
        pictures = []
        for step in range(length or length_of(number)):
            picture = np.full(
                (camera.height, camera.width, 3), 40 + 3 * (number % 5) + 30 * position + 10 * step, np.uint8
            )
            picture[: camera.height // 2, : camera.width // 2] -= 30
            pictures.append(picture)
        frames[camera.name] = pictures
    return frames


def stage(directory: Path, number: int, length: int | None = None) -> StagedEpisode:
    vectors, frames = vectors_of(number, length), frames_of(number, length)
    return stage_episode(directory, task=task_of(number), vectors=vectors, frames=frames, fps=FPS)


def open_writer(root: Path, resume: bool = False, features: Features = FEATURES) -> DatasetWriter:
    return DatasetWriter(root, features=features, robot_type="so101", resume=resume)


def record(root: Path, n_episodes: int = len(LENGTHS), finish: bool = True) -> Path:
    writer = open_writer(root)
    for number in range(n_episodes):
        writer.add(stage(writer.staging, number))
    if finish:
        writer.finish()
    return root


def record_without_end(writer: DatasetWriter) -> None:
    while True:
        writer.add(stage(writer.staging, writer.n_episodes))


if __name__ == "__main__":
    record_without_end(open_writer(Path(sys.argv[1])))
