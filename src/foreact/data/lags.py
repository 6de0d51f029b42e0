"""By how many frames one path follows another."""

from __future__ import annotations

import numpy as np

_CLEAR = 1.3
"""A minimum is clear where the distance at both ends of the lags is so many times larger."""


def clear_minimum(lags: np.ndarray, distance: np.ndarray) -> float | None:
    """Return the lag of a distance's minimum; None where it lies at an end, or is hardly lower than both ends.

    The distance of a path from itself is V-shaped, so the place between two lags is told by how the neighbours differ.
    """
    best = int(distance.argmin())
    if best in (0, len(lags) - 1) or min(distance[0], distance[-1]) < _CLEAR * distance[best]:
        return None
    before, after = distance[best - 1], distance[best + 1]
    slope = max(before, after) - distance[best]
    return float(lags[best] + (0.5 * (before - after) / slope if slope > 0 else 0.0))
