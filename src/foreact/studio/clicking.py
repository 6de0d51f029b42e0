"""From a click on the overhead picture to the block that is meant and the coordinate that the policy gets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreact.studio.drawing import to_pixels, to_table
from foreact.studio.setup import Snapshot

REACH = 0.03
"""A click within this distance [m] of a block's middle means that block."""
_MOVED = 0.01
"""A block that is this far [m] from where it was placed was pushed or carried."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Click:
    """What was meant."""

    block: int
    """Nearest block's place among the snapshot's."""
    point: np.ndarray
    """The coordinate (2,) [m]."""
    hits: bool
    """Whether the block was clicked, and not the table beside it."""


def read_click(snapshot: Snapshot, pixel: tuple[float, float]) -> Click | None:
    """Return what a click means; None where no table is.

    The picture shows blocks where they are now; an episode that begins again has them where they were placed. So a
    click on a block that was carried away, into the bowl for example, means that block's old place.

    Args:
        snapshot: What was shown.
        pixel: Column and row in its overhead picture.
    """
    point = to_table(snapshot.overhead, pixel)
    if point is None:
        return None
    block = block_at(snapshot, pixel)
    if block is not None:
        of = snapshot.blocks[block]
        was_moved = np.linalg.norm(of.now[:2] - of.placed) > _MOVED
        return Click(block=block, point=of.placed if was_moved else point, hits=True)
    places = np.array([of.placed for of in snapshot.blocks])
    return Click(block=int(np.linalg.norm(places - point, axis=1).argmin()), point=point, hits=False)


def block_at(snapshot: Snapshot, pixel: tuple[float, float]) -> int | None:
    """Return the block that a pixel shows, or one just beside it; None where there is none."""
    middles = np.array([of.now for of in snapshot.blocks])
    pixels = to_pixels(snapshot.overhead, middles)
    beside = to_pixels(snapshot.overhead, middles + np.array([0.0, REACH, 0.0]))
    shares = np.linalg.norm(pixels - pixel, axis=1) / np.linalg.norm(beside - pixels, axis=1)
    return int(shares.argmin()) if shares.min() <= 1 else None
