"""What one camera saw in one episode, in a few numbers: a frame is looked at once and forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

CELLS = (24, 32)
"""At most so many rows and columns of cells, whose mean grey is followed from frame to frame."""
CELL = 8
"""At least so many pixels either way: smaller ones follow an encoder's pulse from key frame to key frame."""
THUMBNAIL = (12, 16)
BLACK = 10.0
"""Grey levels: a picture whose mean and spread are below is black."""
UNIFORM = 2.0
"""Grey levels: a picture whose pixels spread by less is of one colour; what a lens is held against has more shades."""
_CHANGED = 3
"""A change is the mean over so many cells that change most: one alone may be the encoder's."""
_SAMPLED = 48
"""Rows of pixels, at least, whose spread tells whether a picture is of one colour."""
_CONTACT = 160
"""Width [pixels] of the pictures on the contact sheet."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one camera saw in one episode: in its first frame, and in `start` and those after it."""

    start: int
    first: np.ndarray
    """The first frame, uint8, `THUMBNAIL` cells of red, green, blue."""
    last: np.ndarray
    """The last that was looked at, likewise."""
    brightness: float
    """Mean over the frames [0, 255]."""
    black: np.ndarray
    """Frames whose picture is black."""
    uniform: np.ndarray
    """Frames whose picture is of one colour, and not black."""
    change: np.ndarray
    """Of each frame M from `start` on to the next, (M - 1,): of the `_CHANGED` cells that change most [0, 255]."""
    sweep: np.ndarray
    """The same to the frame `reach` later, (M - reach,)."""
    reach: int
    """Frames in a second."""
    moved: np.ndarray
    """Whether the state clearly moved from each frame to the next, (M - 1,)."""
    travel: np.ndarray
    """How far the state is a second later, (M - reach,) [ranges]."""
    picture: np.ndarray | None
    """The first frame for the contact sheet, uint8 (H, W, 3); None for most episodes."""

    @property
    def empty(self) -> np.ndarray:
        """Frames that are black or of one colour, ascending."""
        return np.union1d(self.black, self.uniform)


def look_at(
    first: np.ndarray,
    frames: Iterable[np.ndarray],
    start: int,
    *,
    moving: np.ndarray,
    way: np.ndarray,
    reach: int,
    keep_picture: bool,
) -> Look:
    """Look at an episode's frames.

    Args:
        first: The episode's first frame, uint8 (H, W, 3).
        frames: Of the same camera, from frame `start` on, at least one.
        start: Number of the first of them.
        moving: Bool (L - 1,), whether the state clearly moved from each frame of the episode to the next.
        way: The state (L, D), each dimension as a share of its range.
        reach: Frames in a second.
        keep_picture: Whether this episode is on the contact sheet.

    Raises:
        DataError: If the frames are damaged.
    """
    cells = grid(first.shape)
    greys, shades, last = [], [], first
    every = max(1, first.shape[0] // _SAMPLED)
    for frame in frames:
        greys.append(block_means(frame, cells).mean(axis=2))
        shades.append(float(frame[::every, ::every].std(axis=(0, 1)).max()))
        last = frame
    seen = np.stack(greys)
    spread, mean = seen.std(axis=(1, 2)), seen.mean(axis=(1, 2))
    black = (mean < BLACK) & (spread < BLACK)
    stop = start + len(seen)
    return Look(
        start=start,
        first=_thumbnail(first),
        last=_thumbnail(last),
        brightness=float(mean.mean()),
        black=start + np.flatnonzero(black),
        uniform=start + np.flatnonzero(~black & (np.array(shades) < UNIFORM)),
        change=_changes(seen, 1),
        sweep=_changes(seen, reach),
        reach=reach,
        moved=moving[start : stop - 1],
        travel=np.linalg.norm(way[start + reach : stop] - way[start : max(stop - reach, start)], axis=1),
        picture=small(first) if keep_picture else None,
    )


def grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and columns of the cells of a picture (H, W, ...)."""
    return max(1, min(CELLS[0], shape[0] // CELL)), max(1, min(CELLS[1], shape[1] // CELL))


def _changes(cells: np.ndarray, reach: int) -> np.ndarray:
    """Return how much pictures (M, rows, columns) differ from those `reach` later, float32 (max(M - reach, 0),)."""
    if len(cells) <= reach:
        return np.zeros(0, np.float32)
    apart = np.abs(cells[reach:] - cells[:-reach]).reshape(len(cells) - reach, -1)
    most = min(_CHANGED, apart.shape[1])
    return np.partition(apart, -most, axis=1)[:, -most:].mean(axis=1)


def block_means(frame: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """Return the mean colour, float32 (rows, columns, 3), of equal blocks; a remainder at the edges is cut off."""
    height, width = frame.shape[:2]
    rows, columns = min(cells[0], height), min(cells[1], width)
    tall, wide = height // rows, width // columns
    blocks = frame[: rows * tall, : columns * wide].reshape(rows, tall, columns, wide, 3)
    # Every second pixel of large blocks is enough, and costs a quarter.
    sparse = blocks[:, :: 2 if tall >= 2 * CELL else 1, :, :: 2 if wide >= 2 * CELL else 1]
    return sparse.mean(axis=(1, 3), dtype=np.float32)


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    return np.round(block_means(frame, THUMBNAIL)).astype(np.uint8)


def small(frame: np.ndarray) -> np.ndarray:
    """Return a copy of a picture with at most about 160 columns."""
    step = max(1, frame.shape[1] // _CONTACT)
    return np.array(frame[::step, ::step])


@dataclass(frozen=True, kw_only=True)
class DepthLook:
    """What a depth camera measured in the first frames of an episode."""

    median_m: float
    """Of the pixels that have a value; 0 where none has."""
    empty_share: float
    """Pixels that are 0, negative or not finite."""
    at_end_share: float
    """Pixels at or beyond the declared range's far end."""


def look_at_depth(maps: Iterator[np.ndarray], depth_range: tuple[float, float]) -> DepthLook:
    """Look at an episode's first depth maps, float (H, W) in metres; raises like `look_at`."""
    values = np.concatenate([depth[::4, ::4].ravel() for depth in maps]).astype(np.float64)
    measured = values[np.isfinite(values) & (values > 0)]
    return DepthLook(
        median_m=float(np.median(measured)) if len(measured) else 0.0,
        empty_share=1 - len(measured) / len(values),
        at_end_share=float((measured >= 0.999 * depth_range[1]).sum() / len(values)),
    )
