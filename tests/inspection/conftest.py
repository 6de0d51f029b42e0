"""A set on disk, written by our own writer, that is clean, and one with faults of the pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.records import Camera
from inspection.made_up import FEATURES, FPS, MadeUpSource, clean


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[MadeUpSource], Path]:
    """Write a made-up set as a LeRobotDataset v3.0, without its depth."""
    from dataclasses import replace

    cameras = tuple(Camera(name=of.name, height=of.height, width=of.width) for of in FEATURES.cameras)

    def to_disk(source: MadeUpSource) -> Path:
        root = tmp_path_factory.mktemp("inspection") / "set"
        writer = DatasetWriter(root, features=replace(FEATURES, cameras=cameras), robot_type="made up")
        for index in source.settle().episode_indices:
            episode = source.episode(index)
            vectors = {
                "observation.state": episode.state,
                "observation.environment_state": episode.environment_state,
                "action": episode.action,
            }
            staged = stage_episode(
                writer.staging,
                task=episode.task,
                vectors={key: values for key, values in vectors.items() if values is not None},
                frames={camera.name: list(source.frames(index, camera.name)) for camera in cameras},
                fps=FPS,
            )
            writer.add(staged)
        writer.finish()
        return root

    return to_disk


@pytest.fixture(scope="session")
def clean_set(write: Callable[[MadeUpSource], Path]) -> Path:
    """Twelve clean episodes on disk, their pictures with a camera's noise."""
    source = clean(seed=5, n_episodes=12)
    rng = np.random.default_rng(0)

    def noisy(number: int, frame: np.ndarray) -> np.ndarray:
        return np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)

    for index in source.episodes:
        for camera in source.features.cameras:
            source.picture[index, camera.name] = noisy
    return write(source)
