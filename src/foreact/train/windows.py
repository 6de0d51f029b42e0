"""The order of samples where frames are streamed: each round cut into windows of whole episodes.

The samples of a round are those that its order draws, each as often; what is lost is that they are only shuffled
among the episodes of one window, which are others each round. A batch so mixes as many episodes as a window holds,
and a window of one episode would be no shuffling at all. With dozens of episodes a window little is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count

import numpy as np

from foreact.data.dataset import ChunkDataset
from foreact.data.frame_windows import Window
from foreact.train.order import Order, round_generator


class Windowed:
    """An order whose rounds go from window to window.

    Each round puts the episodes that it needs into another random order and fills windows with them one by one, about
    as many frames in each, so that there is always time to decode the next.
    """

    def __init__(
        self, order: Order, dataset: ChunkDataset, *, capacity: int, scenes: Mapping[int, int] | None = None
    ) -> None:
        """Take an order to cut.

        Args:
            order: Of the dataset's samples.
            dataset: The training samples.
            capacity: Frames that a window holds; at least those of the longest episode or scene.
            scenes: Scene by episode index, where the episodes of a scene have to be in one window; None where not.
        """
        self._order = order
        self._capacity = capacity
        self._indices = dataset.indices
        self._length = np.array([episode.length for episode in dataset.episodes])
        self._episode = np.repeat(np.arange(len(self._length)), self._length)
        """Of each sample, counted from 0."""
        scene = self._indices if scenes is None else [scenes[index] for index in self._indices.tolist()]
        self._crowd = np.unique(scene, return_inverse=True)[1]
        """Of each episode: those of one crowd stay together."""
        self._size = np.bincount(self._crowd, self._length).astype(int)
        """Frames of each crowd."""

    def __len__(self) -> int:
        return len(self._order)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return a round: the order's own samples, those of the first window first."""
        samples, window = self._round(rng)
        return samples[np.argsort(window, kind="stable")]

    def windows(self, rng: np.random.Generator) -> list[Window]:
        """Return the windows of the round that `draw` returns for an equal generator."""
        samples, window = self._round(rng)
        episodes = self._episode[samples[np.argsort(window)]]
        n_samples = np.bincount(window)
        return [
            Window(episodes=tuple(self._indices[np.unique(of)].tolist()), n_samples=len(of))
            for of in np.split(episodes, np.cumsum(n_samples)[:-1])
        ]

    def windows_from(self, position: int, seed: int) -> Iterator[Window]:
        """Yield the windows of all rounds from a position of the stream on, without end."""
        first, passed = divmod(position, len(self))
        for number in count(first):
            for window in self.windows(round_generator(seed, number)):
                if passed >= window.n_samples:
                    passed -= window.n_samples
                else:
                    yield replace(window, n_samples=window.n_samples - passed)
                    passed = 0

    def _round(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A round's samples and the window of each."""
        samples = self._order.draw(rng)
        crowds = self._crowd[self._episode[samples]]
        needed = rng.permutation(np.unique(crowds))
        window = np.empty(len(self._size), int)
        window[needed] = fill_windows(self._size[needed], self._capacity)
        return samples, window[crowds]


def fill_windows(sizes: np.ndarray, capacity: int) -> list[int]:
    """Return into which window each of some things goes, in their order: all about equally full, none too full.

    Args:
        sizes: Of the things, none above the capacity.
        capacity: Of a window.
    """
    n_windows = _pack(sizes, capacity, 1)[-1] + 1
    return _pack(sizes, capacity, n_windows)


def _pack(sizes: np.ndarray, capacity: int, n_windows: int) -> list[int]:
    """Open another window where one is full, or has its share of what is left for so many windows."""
    windows: list[int] = []
    number, inside, left = 0, 0, int(sizes.sum())
    share = left / n_windows
    for size in sizes.tolist():
        if inside and (inside + size > capacity or inside + size / 2 > share):
            number, inside = number + 1, 0
            share = left / max(1, n_windows - number)
        windows.append(number)
        inside += size
        left -= size
    return windows
