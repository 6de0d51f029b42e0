"""Where in the R1Pro's proprioception the state of il_lib's policies is (FORMATS.md 4.1 to 4.3).

The simulator of BEHAVIOR-1K's challenge of 2025 gives 256 numbers, that of 2026 gives 61. Both hold the same state; the
places differ, so the table is chosen by the length: the places of one give plausible nonsense on the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

PLACES: Mapping[int, Mapping[str, slice]] = MappingProxyType(
    {
        256: {
            "odom/base_velocity": slice(253, 256),
            "qpos/torso": slice(236, 240),
            "qpos/left_arm": slice(158, 165),
            "qpos/left_gripper": slice(193, 195),
            "qpos/right_arm": slice(197, 204),
            "qpos/right_gripper": slice(232, 234),
            "eef/left_pos": slice(186, 189),
            "eef/left_quat": slice(189, 193),
            "eef/right_pos": slice(225, 228),
            "eef/right_quat": slice(228, 232),
        },
        61: {
            "odom/base_velocity": slice(0, 3),
            "qpos/torso": slice(53, 57),
            "qpos/left_arm": slice(3, 10),
            "qpos/left_gripper": slice(24, 26),
            "qpos/right_arm": slice(28, 35),
            "qpos/right_gripper": slice(49, 51),
            "eef/left_pos": slice(17, 20),
            "eef/left_quat": slice(20, 24),
            "eef/right_pos": slice(42, 45),
            "eef/right_quat": slice(45, 49),
        },
    }
)
"""By the length of the proprioception, then by the state's key, in the state's order."""
STATE_DIM = 37


def state_of(proprioception: np.ndarray) -> np.ndarray:
    """Return the state (..., 37), float32, of a proprioception (..., 256) or (..., 61); KeyError for another length.

    A gripper is the mean of its two fingers [m]; whether it counts as open is decided where the state is normalised.
    """
    parts = []
    for key, place in PLACES[proprioception.shape[-1]].items():
        part = proprioception[..., place]
        parts.append(part.mean(axis=-1, keepdims=True) if key.endswith("gripper") else part)
    return np.concatenate(parts, axis=-1).astype(np.float32)
