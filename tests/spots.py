"""A small data set: a spot that moves to the place it is told."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.records import Camera, Features

SIZE = 32
LENGTHS = (12, 15, 9, 14, 11, 13)
FEATURES = Features(
    action_names=("a", "b"),
    state_names=("a", "b"),
    environment_names=("x", "y"),
    cameras=(Camera(name="overhead", height=SIZE, width=SIZE), Camera(name="wrist", height=SIZE, width=SIZE)),
    fps=10.0,
)


def write_dataset(
    root: Path, lengths: tuple[int, ...] = LENGTHS, seed: int = 0, told: Sequence[int] | None = None
) -> Path:
    """Write episodes in which a spot moves from the start to the cue; the action is the next position.

    `told` says whose cue each episode is told; None its own.
    """
    rng = np.random.default_rng(seed)
    ways = [rng.uniform(0.1, 0.9, (2, 2)) for _ in lengths]
    writer = DatasetWriter(root, features=FEATURES, robot_type="test")
    for episode, length in enumerate(lengths):
        start, cue = ways[episode]
        path = start + (cue - start) * np.linspace(0, 1, length + 1)[:, None]
        frames = {camera.name: [_picture(point, cue) for point in path[:-1]] for camera in FEATURES.cameras}
        staged = stage_episode(
            writer.staging,
            task="go to the cue",
            vectors={
                "observation.state": path[:-1],
                "observation.environment_state": np.tile(
                    ways[episode if told is None else told[episode]][1], (length, 1)
                ),
                "action": path[1:],
            },
            frames=frames,
            fps=10,
        )
        writer.add(staged)
    writer.finish()
    return root


def _picture(point: np.ndarray, cue: np.ndarray) -> np.ndarray:
    """A red spot at the cue, a white one at the point, each 6 pixels wide."""
    image = np.full((SIZE, SIZE, 3), 60, np.uint8)
    for place, colour in ((cue, (220, 30, 30)), (point, (255, 255, 255))):
        row, column = (place * (SIZE - 6)).astype(int)
        image[row : row + 6, column : column + 6] = colour
    return image
