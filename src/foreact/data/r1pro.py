"""The R1Pro of BEHAVIOR-1K: which numbers of its proprioception make up a policy's state, and what all are called.

The simulator of the 2025 challenge gives 256 numbers, that of 2026 gives 61 (FORMATS.md 4.1 to 4.4). Both hold what
il_lib feeds to its policies, at different places (`foreact_runtime.r1pro`).
"""

from __future__ import annotations

import numpy as np

from foreact.errors import DataError
from foreact.presets import R1PRO_ACTION, R1PRO_STATE
from foreact_runtime.r1pro import PLACES, state_of

_AXES = ("x", "y", "yaw")
_POSE = {"pos": ("x", "y", "z"), "quat": ("qx", "qy", "qz", "qw")}


def _names(key: str, dim: int) -> tuple[str, ...]:
    part = key.rpartition("/")[2]
    if part in ("base", "base_velocity"):
        return tuple(f"base_velocity_{axis}" for axis in _AXES)
    if key.startswith("eef/"):
        side, _, kind = part.partition("_")
        return tuple(f"{side}_eef_{axis}" for axis in _POSE[kind])
    return (part,) if dim == 1 else tuple(f"{part}_{number}" for number in range(1, dim + 1))


STATE_NAMES = tuple(name for group in R1PRO_STATE for name in _names(group.key, group.dim))
"""37: base velocity [m/s, rad/s], joints [rad], grippers [m], positions [m] and quaternions xyzw of both hands."""
ACTION_NAMES = tuple(name for group in R1PRO_ACTION for name in _names(group.key, group.dim))
"""23, named like the state where they command the same: base velocity, absolute joint positions [rad], and grippers
in [-1, 1], where +1 is open (4.4; some third-party notes say the reverse)."""


def check_proprioception(dim: int, whose: str) -> None:
    """Refuse a proprioception that is in no table: the places of another one would give plausible nonsense.

    Args:
        dim: Its length.
        whose: For the message.

    Raises:
        DataError: If it is neither 256 nor 61.
    """
    if dim in PLACES:
        return
    remedy = (
        "these are of v3.7.0, with two grasp flags among them: replay or download them with v3.7.1 or newer"
        if dim == 258
        else "is the robot an R1Pro?"
    )
    raise DataError(f"{whose} has {dim} dimensions, expected 256 (challenge of 2025) or 61 (2026); {remedy}")


def select_state(proprioception: np.ndarray, whose: str = "the proprioception") -> np.ndarray:
    """Return the state of the preset `r1pro`, laid out by `presets.R1PRO_STATE`.

    A gripper is the mean of its two fingers [m]; whether it counts as open is decided where the state is normalised
    (`PolicyConfig.binary_state`). il_lib thresholds it in its data set and again, elsewhere, in its server.

    Args:
        proprioception: (..., 256) or (..., 61).
        whose: For the message.

    Returns:
        float32 (..., 37).

    Raises:
        DataError: If it has another length.
    """
    check_proprioception(proprioception.shape[-1], whose)
    return state_of(proprioception)
