"""Which pictures are looked at: all where that is cheap, otherwise some episodes whole and a window of each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, runtime_checkable

import numpy as np

from foreact.data.lookup import spread_evenly
from foreact.data.source import EpisodeSource
from foreact.inspection.words import share_text

_BUDGET = 4e9
"""Pixels that are decoded where nobody says how many frames: a minute or two of one core."""
_WHOLE = 0.5
"""Share of them for whole episodes."""
_WINDOW_S = 3.0
"""A window is long enough for a camera that freezes for a second."""
_GOLDEN = 0.618034
"""Multiples of it, modulo 1, spread evenly however many there are."""


@runtime_checkable
class Seeking(Protocol):
    """A source that reaches a late picture without reading those before."""

    def frames_from(self, index: int, camera: str, first: int) -> Iterator[np.ndarray]:
        """Yield the pictures of an episode from one of them on, uint8 (H, W, 3)."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is looked at of each episode beside its first picture."""

    windows: Mapping[int, tuple[int, int]]
    """Frames from start to stop by episode."""
    n_frames: int
    """Of all episodes."""
    n_cameras: int

    @property
    def n_seen(self) -> int:
        """Frames that are looked at."""
        return sum(stop - start + (start > 0) for start, stop in self.windows.values())

    @property
    def is_all(self) -> bool:
        """Whether nothing remains unseen."""
        return self.n_seen >= self.n_frames

    def text(self, lengths: Mapping[int, int]) -> str:
        """Return in words what is looked at."""
        if not self.n_cameras or not self.n_seen:
            return "all numbers; no pictures"
        if self.is_all:
            return "all numbers and all pictures"
        whole = sum(window == (0, lengths[index]) for index, window in self.windows.items())
        return (
            f"all numbers; {share_text(self.n_seen, self.n_frames)} of the pictures: {whole} of {len(self.windows)} "
            "episodes whole, of the others the first picture and a window at another place in each: what happens "
            "elsewhere is not seen (--frames)"
        )

    @property
    def part(self) -> str:
        """What a verdict on pictures holds for; empty where all are looked at."""
        return "" if self.is_all else f" in the {share_text(self.n_seen, self.n_frames)} of them that were looked at"


def plan_looks(source: EpisodeSource, frames: int | None) -> Plan:
    """Choose what to look at.

    Args:
        source: Whose metadata are known.
        frames: In a row of each episode, at another place in each; None takes what the budget allows.
    """
    lengths = source.lengths
    cameras = source.features.cameras
    total = sum(lengths.values())
    affordable = int(_BUDGET / max(1, sum(camera.height * camera.width for camera in cameras)))
    if not cameras or frames == 0:
        windows = dict.fromkeys(lengths, (0, 0))
    elif frames is None and total <= affordable:
        windows = {index: (0, length) for index, length in lengths.items()}
    elif frames is not None:
        windows = _windows(lengths, dict.fromkeys(lengths, frames))
    else:
        usual = total / len(lengths)
        whole = spread_evenly(source.episode_indices, max(1, int(_WHOLE * affordable / usual)))
        others = tuple(index for index in source.episode_indices if index not in whole)
        left = max(0, affordable - sum(lengths[index] for index in whole))
        least = max(2, round(_WINDOW_S * source.features.fps))
        # Where a window of each is too much, some episodes have one and of the others only the first picture is seen.
        with_window = spread_evenly(others, max(2, left // least)) if others else ()
        longest = max(least, left // max(1, len(with_window)))
        wanted = {index: longest if index in with_window else 1 for index in others}
        windows = _windows(lengths, {index: lengths[index] if index in whole else wanted[index] for index in lengths})
    return Plan(windows=windows, n_frames=total, n_cameras=len(cameras))


def _windows(lengths: Mapping[int, int], wanted: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Place a window of so many frames in each episode; one of a single frame is the first."""
    windows = {}
    for number, (index, length) in enumerate(lengths.items()):
        n = min(wanted[index], length)
        start = round((number * _GOLDEN) % 1 * (length - n)) if n > 1 else 0
        windows[index] = (start, start + n)
    return windows


def read_window(
    source: EpisodeSource, index: int, camera: str, window: tuple[int, int]
) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """Return an episode's first picture and those of a window; raises DataError for damaged ones.

    A window that is the whole episode is read to its end, so that a video is checked to have as many frames as the
    table has rows.
    """
    start, stop = window
    frames = source.frames(index, camera)
    first = next(frames)
    if start == 0:
        rest = frames if stop >= source.lengths[index] else islice(frames, stop - 1)
        return first, _chained(first, rest)
    if isinstance(source, Seeking):
        frames = source.frames_from(index, camera, start)
        return first, islice(frames, stop - start)
    return first, islice(frames, start - 1, stop - 1)


def _chained(first: np.ndarray, rest: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    yield first
    yield from rest
