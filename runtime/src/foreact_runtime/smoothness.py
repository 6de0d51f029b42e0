"""How smoothly an arm is commanded: the one place that measures jerk."""

from __future__ import annotations

import numpy as np


def jerk(actions: np.ndarray, fps: float) -> np.ndarray:
    """Return the size of the third difference of commands, (max(L - 3, 0), D) [unit/s^3].

    Args:
        actions: (L, D), one row a tick; hand in the joints whose smoothness is asked for. A gripper that snaps shut
            would drown the others.
        fps: Ticks a second.
    """
    return np.abs(np.diff(np.asarray(actions, np.float64), n=3, axis=0)) * fps**3
