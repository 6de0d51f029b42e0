"""Where the cameras of an episode are, tick by tick: one on the hand moves with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from foreact.data.calibration import quaternion_of
from foreact.geometry.projection import Pose, camera_pose
from foreact.records import Calibration

Placed = tuple[Calibration, ...]
"""A camera in the base's frame, one a tick."""


def placed_cameras(calibrations: Mapping[str, Calibration], length: int, hand: Pose | None) -> dict[str, Placed]:
    """Return by name the cameras of which it is known where they are.

    Args:
        calibrations: Of all that are calibrated.
        length: Ticks L.
        hand: The hand's poses, L of them, where they are known.
    """
    placed = {}
    for name, calibration in calibrations.items():
        if calibration.mounted_on == "base":
            placed[name] = (calibration,) * length
        elif hand is not None:
            positions, turns = camera_pose(calibration, hand, like=hand[0])
            placed[name] = tuple(
                replace(calibration, position=_point(position), quaternion=quaternion_of(turn), mounted_on="base")
                for position, turn in zip(positions.numpy(), turns.numpy(), strict=True)
            )
    return placed


def hand_poses(kinematics: torch.nn.Module | None, states: np.ndarray | None) -> Pose | None:
    """Return the hand's poses in states (L, S), by a `HandPose` or a `RecordedHandPose`; None without either."""
    if kinematics is None or states is None:
        return None
    with torch.no_grad():
        position, turn = kinematics.double()(torch.from_numpy(np.asarray(states, np.float64)))
    return position, turn


def _point(position: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in position)
    return x, y, z
