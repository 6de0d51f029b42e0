"""What one camera saw in one episode, in a few numbers: a frame is looked at once and forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from foreact.inspection.ranges import runs

CELLS = (24, 32)
"""Rows and columns of the cells whose mean grey is followed from frame to frame."""
THUMBNAIL = (12, 16)
UNCHANGED = 1.0
"""Grey levels of 255: where no cell changes as much, a picture is the one before; below a codec's own changes."""
BLACK = 10.0
"""Grey levels: a picture whose mean and spread are below is black."""
_CLEAR = 4.0
"""A picture has clearly changed where some cell does by as many unchanged levels ..."""
_USUAL = 0.3
"""... and by this share of what is usual while the state moves."""
_CONTACT = 160
"""Width [pixels] of the pictures on the contact sheet."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one camera saw in one episode."""

    n_frames: int
    """How many were decoded."""
    first: np.ndarray
    """The first frame, uint8, `THUMBNAIL` cells of red, green, blue."""
    brightness: float
    """Mean over the frames [0, 255]."""
    n_black: int
    first_black: int
    """Frame; -1 for none."""
    n_moving: int
    """Steps in which the state moved, among the decoded frames."""
    change: float
    """Median over these of the change of the cell that changes most [0, 255]."""
    frozen_run: int
    """Steps in which the state moved while nothing changed, in the run of unchanged frames with most of them."""
    frozen_at: int
    """Frame at which it began."""
    n_repeats: int
    """Pictures that are the one before, between pictures that are not, while the state moved."""
    picture: np.ndarray | None
    """The first frame for the contact sheet, uint8 (H, W, 3); None for most episodes."""


def look_at(frames: Iterator[np.ndarray], moving: np.ndarray, limit: int | None, *, keep_picture: bool) -> Look:
    """Look at an episode's frames.

    Args:
        frames: Of one camera, uint8 (H, W, 3), at least one.
        moving: Bool (L - 1,), whether the state clearly moved from each frame to the next.
        limit: How many to decode at most; None decodes all.
        keep_picture: Whether this episode is on the contact sheet.

    Raises:
        DataError: If the frames are damaged.
    """
    before: np.ndarray | None = None
    first, picture = np.zeros((*THUMBNAIL, 3), np.uint8), None
    brightness, changes, black = [], [], []
    for number, frame in enumerate(islice(frames, limit)):
        if number == 0:
            first = np.round(block_means(frame, THUMBNAIL)).astype(np.uint8)
            picture = _small(frame) if keep_picture else None
        cells = block_means(frame, CELLS).mean(axis=2)
        brightness.append(float(cells.mean()))
        black.append(brightness[-1] < BLACK and float(cells.std()) < BLACK)
        if before is not None:
            changes.append(float(np.abs(cells - before).max()))
        before = cells
    change = np.array(changes)
    moved = moving[: len(change)]
    usual = float(np.median(change[moved])) if moved.any() else 0.0
    same = change < UNCHANGED
    still = {start: int(moved[start:stop].sum()) for start, stop in runs(same)}
    frozen_at = max(still, key=still.__getitem__, default=0)
    clear = change > max(_CLEAR * UNCHANGED, _USUAL * usual)
    alone = same[1:-1] & moved[1:-1] & clear[:-2] & clear[2:]
    return Look(
        n_frames=len(brightness),
        first=first,
        brightness=float(np.mean(brightness)) if brightness else 0.0,
        n_black=sum(black),
        first_black=black.index(True) if any(black) else -1,
        n_moving=int(moved.sum()),
        change=usual,
        frozen_run=still.get(frozen_at, 0),
        frozen_at=frozen_at,
        n_repeats=int(alone.sum()),
        picture=picture,
    )


def block_means(frame: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """Return the mean colour, float32 (rows, columns, 3), of equal blocks; a remainder at the edges is cut off."""
    height, width = frame.shape[:2]
    rows, columns = min(cells[0], height), min(cells[1], width)
    tall, wide = height // rows, width // columns
    blocks = frame[: rows * tall, : columns * wide].reshape(rows, tall, columns, wide, 3)
    # Every second pixel of large blocks is enough, and costs a quarter.
    sparse = blocks[:, :: 2 if tall >= 8 else 1, :, :: 2 if wide >= 8 else 1]
    return sparse.mean(axis=(1, 3), dtype=np.float32)


def _small(frame: np.ndarray) -> np.ndarray:
    step = max(1, frame.shape[1] // _CONTACT)
    return np.array(frame[::step, ::step])


@dataclass(frozen=True, kw_only=True)
class DepthLook:
    """What a depth camera measured in the first frames of an episode."""

    median_m: float
    """Of the pixels that have a value; 0 where none has."""
    near_m: float
    """5 % quantile."""
    far_m: float
    """95 % quantile."""
    empty_share: float
    """Pixels that are 0, negative or not finite."""
    at_end_share: float
    """Pixels at or beyond the declared range's far end."""


def look_at_depth(maps: Iterable[np.ndarray], depth_range: tuple[float, float], limit: int) -> DepthLook:
    """Look at the first depth maps, float (H, W) in metres, of an episode; raises like `look_at`."""
    values = np.concatenate([depth[::4, ::4].ravel() for depth in islice(maps, limit)]).astype(np.float64)
    measured = values[np.isfinite(values) & (values > 0)]
    near, median, far = np.quantile(measured, (0.05, 0.5, 0.95)) if len(measured) else (0.0, 0.0, 0.0)
    return DepthLook(
        median_m=float(median),
        near_m=float(near),
        far_m=float(far),
        empty_share=1 - len(measured) / len(values),
        at_end_share=float((measured >= 0.999 * depth_range[1]).sum() / len(values)),
    )
