"""By how many frames one path follows another; of an arm, by how many its state follows the action."""

from __future__ import annotations

import numpy as np

_CLEAR = 1.3
"""A minimum is clear where the distance at both ends of the lags is so many times larger."""
BEFORE = 3
"""Frames by which the state is compared with later actions."""
_AFTER_S = 1.0
"""Time by which it is compared with earlier ones, at least 15 frames and at most a third of the episode."""
_FEWEST = 5
"""Frames that must be left to compare."""
EQUAL = 0.02
"""Mean distance of action and state, as a share of the state's mean step, below which they are the same."""
SLOW_S = 0.3
"""A state that follows later is a slow arm, or an action that was shifted."""
HARDLY = 0.15
"""Frames: an action that leads by less says where the arm is already."""


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


def lags_to_compare(length: int, fps: float) -> np.ndarray | None:
    """Return the frames (K,) by which an episode's state may follow its action; None where it is too short."""
    after = min(max(15, round(_AFTER_S * fps)), length // 3)
    is_enough = after >= BEFORE and length - after - 1 - BEFORE >= _FEWEST
    return np.arange(-BEFORE, after + 1) if is_enough else None


def distance_by_lag(action: np.ndarray, state: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Return the mean |action(t) - state(t + lag)| by lag (K,), as a share of the state's mean step.

    Args:
        action: (L, D), places of dimensions that move.
        state: (L, D), of the same.
        lags: From `lags_to_compare`; the same frames of the action are compared at each.
    """
    step = np.abs(np.diff(state, axis=0)).mean(axis=0)
    first, last = BEFORE, len(state) - int(lags[-1]) - 1
    told = action[first:last]
    return np.array([float((np.abs(told - state[first + lag : last + lag]) / step).mean()) for lag in lags])
