"""What the cache's tests run in processes of their own, and a real source that can be watched and disturbed."""

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from data.recordings import LENGTHS
from foreact.data.frame_cache import CachedFrames, cache_frames
from foreact.data.source import EpisodeSource, open_source
from foreact.errors import DataError
from foreact.records import Episode

EVERY = tuple(range(len(LENGTHS)))


class WatchedSource:
    """Counts the frames it hands out, and may do something before one of them."""

    def __init__(self, root: Path, before: dict[int, Callable[[], object]] | None = None) -> None:
        self._of = of = open_source(root)
        self.root, self.features, self.episode_indices = of.root, of.features, of.episode_indices
        self.lengths, self.tasks, self.scenes = of.lengths, of.tasks, of.scenes
        self.n_frames = 0
        self._before = before or {}

    def episode(self, index: int) -> Episode:
        return self._of.episode(index)

    def frames(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        for frame in self._of.frames(index, camera, every):
            if self.n_frames in self._before:
                self._before[self.n_frames]()
            self.n_frames += 1
            yield frame

    def depth(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """A slope from 0 to 2 m."""
        for frame in self._of.frames(index, camera, every):
            yield np.linspace(0, 2, frame.shape[1], dtype=np.float32) + np.zeros((frame.shape[0], 1), np.float32)

    def file_of(self, index: int) -> Path:
        return self._of.file_of(index)

    def fingerprint(self) -> str:
        return self._of.fingerprint()


def cached(
    source: EpisodeSource,
    folder: Path,
    episodes: tuple[int, ...] = EVERY,
    size: tuple[int, int] = (48, 64),
    every: int = 1,
) -> CachedFrames:
    return cache_frames(source, episodes, camera="overhead", size=size, downsample_factor=every, cache_dir=folder)


def fill_and_die(root: Path, folder: Path, at_frame: int) -> None:
    cached(WatchedSource(root, {at_frame: lambda: os.kill(os.getpid(), signal.SIGKILL)}), folder)


def race(root: Path, folder: Path, number: int) -> None:
    """Begin together with another process, and take long enough that they meet."""
    source = WatchedSource(root, {5: lambda: time.sleep(0.5)})
    (folder / f"ready{number}").touch()
    while len(list(folder.glob("ready*"))) < 2:
        time.sleep(0.001)
    frames = cached(source, folder)
    (folder / f"result{number}").write_text(f"{source.n_frames} {int(frames.array.sum())}")


def fill_with_a_limit(root: Path, folder: Path, n_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    try:
        cached(open_source(root), folder)
    except DataError as error:
        (folder / "error").write_text(str(error))
