"""Demonstrations in memory: as many numbers and pictures as a robot's sizes ask for, made up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from foreact.records import Episode, Features


class Demonstrations:
    """An `EpisodeSource` of given episodes; its pictures are noise, a function of episode, camera and frame."""

    root = Path("made-up")

    def __init__(self, features: Features, episodes: Sequence[Episode]) -> None:
        """Take the episodes, numbered from 0."""
        self.features = features
        self._episodes = episodes
        self.episode_indices = tuple(episode.index for episode in episodes)
        self.lengths: Mapping[int, int] = {episode.index: episode.length for episode in episodes}
        self.tasks: Mapping[int, str] = {episode.index: episode.task for episode in episodes}
        self.scenes: Mapping[int, int] = {index: index for index in self.episode_indices}

    def episode(self, index: int) -> Episode:
        """Return an episode."""
        return self._episodes[index]

    def frames(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield pictures uint8 (H, W, 3)."""
        size = self._size(camera)
        for frame in range(0, self.lengths[index], every):
            yield self._generator(index, camera, frame).integers(0, 256, (*size, 3), np.uint8)

    def depth(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield depth maps float32 (H, W) in metres."""
        for frame in range(0, self.lengths[index], every):
            yield self._generator(index, camera, frame).uniform(0.2, 2.0, self._size(camera)).astype(np.float32)

    def file_of(self, index: int) -> Path:
        """Return what stands for the episode's file in messages."""
        return self.root / str(index)

    def fingerprint(self) -> str:
        """Return the same text always: nothing changes."""
        return "made-up"

    def _size(self, camera: str) -> tuple[int, int]:
        (found,) = [of for of in self.features.cameras if of.name == camera]
        return found.recorded_size or (found.height, found.width)

    def _generator(self, index: int, camera: str, frame: int) -> np.random.Generator:
        names = [of.name for of in self.features.cameras]
        return np.random.default_rng([index, names.index(camera), frame])


def waving(features: Features, *, episodes: int, length: int) -> Demonstrations:
    """Return demonstrations of joints that wave, each at its own pace; the state follows the action by a frame."""
    generator = np.random.default_rng(0)
    made = []
    for index in range(episodes):
        pace = generator.uniform(0.05, 0.15, features.action_dim)
        action = np.sin(np.arange(1, length + 1)[:, None] * pace).astype(np.float32)
        state = np.sin(np.arange(length)[:, None] * np.resize(pace, features.state_dim)).astype(np.float32)
        place = generator.uniform(0.1, 0.3, features.environment_dim).astype(np.float32)
        made.append(
            Episode(
                index=index,
                task="wave",
                action=action,
                state=state,
                environment_state=np.tile(place, (length, 1)) if features.environment_dim else None,
            )
        )
    return Demonstrations(features, made)
