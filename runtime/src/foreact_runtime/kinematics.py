"""Where an arm's hand is, and which joint angles bring it somewhere: any chain of turning joints.

The chain takes NumPy arrays or tensors of any batch shape alike, without importing torch; the inverse, one pose at a
time, is NumPy's.
"""

from __future__ import annotations

import sys
from typing import Any, TypeVar

import numpy as np

from foreact_runtime.errors import UnreachableError
from foreact_runtime.least_squares import bounded_step
from foreact_runtime.records import Arm

ArrayT = TypeVar("ArrayT", bound=Any)
"""NumPy arrays or tensors."""

TOLERANCE = 0.02
"""Distance [m] from the pose asked for up to which the nearest that the arm can do counts as a solution."""
_TURN_WEIGHT = 0.02
"""Metres of position that a radian of orientation is worth: an arm of five joints cannot have both."""
_DAMPING = 1e-3
"""Least damping [m/rad]."""
_ITERATIONS = 50


class InverseKinematics:
    """Joint angles for a hand pose: damped least squares within the joints' limits, from a start.

    The damping grows where a step does not help (Levenberg 1944, Marquardt 1963).
    """

    def __init__(self, arm: Arm) -> None:
        """Take the chain."""
        self._constants = constants(arm)
        self._names = arm.joints
        self.lower, self.upper = np.array(arm.limits).T

    def forward(self, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the hand's position (..., 3) [m] and orientation (..., 3, 3) for angles (..., J) [rad]."""
        position, turn, *_ = chain(self._constants, np.sin(angles), np.cos(angles))
        return position, turn

    def inverse(self, position: np.ndarray, turn: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Return joint angles (J,) [rad] near a start that bring the hand to a pose, or as near as the arm can.

        Args:
            position: Of the hand (3,) [m].
            turn: Its orientation (3, 3); followed less strictly than the position.
            start: Joint angles (J,) [rad] to start from.

        Raises:
            UnreachableError: If the hand stays more than `TOLERANCE` away from the position.
        """
        angles = np.clip(start, self.lower, self.upper)
        error, jacobian = self._error(position, turn, angles)
        damping = _DAMPING
        for _ in range(_ITERATIONS):
            step = bounded_step(jacobian, error, self.lower - angles, self.upper - angles, damping)
            step *= min(1.0, 0.5 / (np.abs(step).max() + 1e-12))
            tried = np.clip(angles + step, self.lower, self.upper)
            tried_error, tried_jacobian = self._error(position, turn, tried)
            if tried_error @ tried_error < error @ error:
                angles, error, jacobian = tried, tried_error, tried_jacobian
                damping = max(damping / 4, _DAMPING)
            else:  # too far, as happens where the arm is stretched out: a more careful step from the same place
                damping *= 4
            if np.abs(step).max() < 1e-5:
                break
        missed = float(np.linalg.norm(position - self.forward(angles)[0]))
        if not missed <= TOLERANCE:
            x, y, z = position
            limited = np.flatnonzero((angles == self.lower) | (angles == self.upper))
            why = f" with {', '.join(self._names[joint] for joint in limited)} at the limit" if len(limited) else ""
            raise UnreachableError(
                f"the hand cannot reach ({x:.3f}, {y:.3f}, {z:.3f}) m: it stays {1000 * missed:.0f} mm away{why}; "
                "the cue or the goal may be out of reach"
            )
        return angles

    def _error(self, position: np.ndarray, turn: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what is missing from the pose asked for (6,) and its Jacobian (6, J), both as metres."""
        reached, orientation, origins, axes = chain(self._constants, np.sin(angles), np.cos(angles))
        error = np.concatenate([position - reached, _TURN_WEIGHT * rotation_vector(turn @ orientation.T)])
        return error, np.concatenate([np.cross(axes, reached - origins), _TURN_WEIGHT * axes], axis=1).T


def rotation_vector(turn: ArrayT) -> ArrayT:
    """Return axis times angle (..., 3) [rad] of rotation matrices (..., 3, 3), for angles below pi."""
    xp = _namespace(turn)
    sine = xp.stack(
        [
            turn[..., 2, 1] - turn[..., 1, 2],
            turn[..., 0, 2] - turn[..., 2, 0],
            turn[..., 1, 0] - turn[..., 0, 1],
        ],
        -1,
    ) / 2  # fmt: skip
    length = xp.linalg.norm(sine, None, -1)[..., None]
    cosine = (turn[..., 0, 0] + turn[..., 1, 1] + turn[..., 2, 2] - 1)[..., None] / 2
    angle = xp.arctan2(length, cosine)
    return xp.where(length > 1e-7, angle / xp.maximum(length, length * 0 + 1e-7), 1 + 0 * length) * sine


def skew(vector: ArrayT) -> ArrayT:
    """Return the matrices (..., 3, 3) whose product with another vector is the cross product of (..., 3) with it."""
    xp = _namespace(vector)
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    zero = xp.zeros_like(x)
    return xp.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vector.shape, 3)


def quaternion_matrix(quaternion: tuple[float, ...]) -> np.ndarray:
    """Return the rotation matrix (3, 3) of a quaternion wxyz."""
    w, x, y, z = np.array(quaternion, np.float64) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def constants(arm: Arm) -> dict[str, np.ndarray]:
    """A joint turned by q has the orientation still + sin(q) turning + (1 - cos(q)) turned (Rodrigues)."""
    frames = np.stack([quaternion_matrix(quaternion) for quaternion in arm.quaternions])
    axes = np.array(arm.axes, np.float64)
    crossed = skew(axes)
    return {
        "offsets": np.array(arm.positions, np.float64),
        "axes": axes,
        "still": frames,
        "turning": frames @ crossed,
        "turned": frames @ crossed @ crossed,
        "hand_offset": np.array(arm.hand_position, np.float64),
        "hand_turn": quaternion_matrix(arm.hand_quaternion),
    }


def chain(of: dict[str, Any], sine: ArrayT, cosine: ArrayT) -> tuple[ArrayT, ArrayT, ArrayT, ArrayT]:
    """Return the hand's position (..., 3) and orientation (..., 3, 3), the joints' origins and axes (..., J, 3)."""
    xp = _namespace(sine)
    turn, position = xp.eye(3, **_like(sine)), of["hand_offset"] * 0
    origins, axes = [], []
    for joint in range(sine.shape[-1]):
        position = position + turn @ of["offsets"][joint]
        s, c = sine[..., joint, None, None], cosine[..., joint, None, None]
        turn = turn @ (of["still"][joint] + s * of["turning"][joint] + (1 - c) * of["turned"][joint])
        origins.append(position + 0 * s[..., 0])
        axes.append(turn @ of["axes"][joint])
    return position + turn @ of["hand_offset"], turn @ of["hand_turn"], xp.stack(origins, -2), xp.stack(axes, -2)


def _namespace(array: Any) -> Any:
    """NumPy for its arrays, torch for its tensors: whoever has a tensor has imported it."""
    return np if isinstance(array, np.ndarray | np.generic) else sys.modules["torch"]


def _like(array: Any) -> dict[str, Any]:
    return {} if isinstance(array, np.ndarray | np.generic) else {"device": array.device, "dtype": array.dtype}
