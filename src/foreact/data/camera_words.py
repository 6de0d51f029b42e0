"""Where a camera stands, in words that somebody who sees the arm can check."""

from __future__ import annotations

import math

import numpy as np

from foreact.records import Calibration
from foreact_runtime.kinematics import quaternion_matrix

_LEVEL, _STRAIGHT_DOWN = 5.0, 80.0
"""Degrees below the horizontal, up to which a camera looks level, and from which it looks straight down."""
_TILTED = 30.0
"""Degrees from the horizontal from which the top of a picture points along the table rather than up."""
_FAR = 3.0
"""Metres to the table, along the camera's axis, beyond which that point says nothing."""


def place_in_words(camera: Calibration) -> str:
    """Return where a camera in the base's frame stands and where it looks: one line, as seen from the arm."""
    turn, position = quaternion_matrix(camera.quaternion), np.array(camera.position)
    forward, top = turn[:, 2], -turn[:, 1]
    height = "above" if position[2] >= 0 else "below"
    words = (
        f"seen from the arm: {_place(position)}, {abs(position[2]):.2f} m {height} the table; looks {_gaze(forward)}"
    )
    distance = -position[2] / forward[2] if forward[2] else math.inf
    if 0 < distance < _FAR:
        words += f", at the table {_place(position + distance * forward)}"
    if abs(forward[2]) > math.sin(math.radians(_TILTED)):
        words += f"; the top of its picture points {_heading(top)}"
    return words


def doubtful_place(camera: Calibration) -> str | None:
    """Return in words that a camera stands where hardly one does, behind the base or below the table; else None."""
    x, _, z = camera.position
    doubts = [f"behind the base (x = {x:.3f} m)"] if x < 0 else []
    doubts += [f"below the table (z = {z:.3f} m)"] if z < 0 else []
    return " and ".join(doubts) or None


def _place(point: np.ndarray) -> str:
    x, y = point[:2]
    before, side = "in front of" if x >= 0 else "behind", "left" if y >= 0 else "right"
    return f"{abs(x):.2f} m {before} the base, {abs(y):.2f} m to the {side}"


def _gaze(forward: np.ndarray) -> str:
    down = -math.degrees(math.asin(max(-1.0, min(1.0, forward[2]))))
    if down > _STRAIGHT_DOWN:
        return "straight down"
    if abs(down) < _LEVEL:
        return f"{_heading(forward)}, level"
    return f"{_heading(forward)}, {abs(down):.0f} degrees {'downwards' if down > 0 else 'upwards'}"


def _heading(direction: np.ndarray) -> str:
    """The nearest of the arm's four directions: x is forward, y to the left."""
    x, y = direction[:2]
    if abs(x) >= abs(y):
        return "forward" if x > 0 else "back"
    return "to the left" if y > 0 else "to the right"
