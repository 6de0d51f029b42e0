"""Frames at the start and the end of an episode in which nothing moves: they teach a policy to wait (USERS.md 12)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreact.data.statistics import vectors
from foreact.records import Episode
from foreact_runtime import keys

STILL = 0.02
"""A dimension is still while it stays within this share of the range that it covers in the data set."""
MARGIN_S = 0.2
"""Seconds of stillness that are kept at either end: a policy has to begin from rest."""


def still_tolerances(ranges: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return by how much each dimension of state and action may change and count as still, by key, each (D,).

    A dimension that hardly moves in the whole data set, such as a joint that the task does not need, shows only noise:
    it gets the tolerance of the vector's middle dimension.

    Args:
        ranges: Lower and upper end (2, D) of what each vector covers, by key (`agreement.sampled_ranges`).
    """
    spreads = {key: ranges[key][1] - ranges[key][0] for key in (keys.STATE, keys.ACTION) if key in ranges}
    return {key: STILL * np.maximum(spread, np.median(spread)) for key, spread in spreads.items()}


def moving_part(episode: Episode, tolerances: Mapping[str, np.ndarray], margin: int) -> tuple[int, int]:
    """Return the frames (start, stop) of an episode without the still ones at its ends.

    At the start a frame is still while state and action stay within the tolerances of the first frame, at the end of
    the last. An episode without any movement is kept whole: trimming cannot say what it is good for.

    Args:
        episode: Of L frames.
        tolerances: From `still_tolerances`.
        margin: Still frames that are kept at either end.
    """
    of = {key: values for key, values in vectors(episode).items() if key in tolerances}
    if not of:
        return 0, episode.length

    def moved(reference: int) -> np.ndarray:
        """Which frames (L,) differ from one of them."""
        apart = [np.abs(values - values[reference]) > tolerances[key] for key, values in of.items()]
        return np.any(np.concatenate(apart, axis=1), axis=1)

    from_start, from_end = moved(0), moved(-1)
    if not from_start.any() or not from_end.any():
        return 0, episode.length
    first, last = int(np.argmax(from_start)), episode.length - 1 - int(np.argmax(from_end[::-1]))
    return max(0, first - margin), min(episode.length, last + 1 + margin)
