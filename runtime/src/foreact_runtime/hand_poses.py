"""From hand poses to the arm's joints, for policies that predict in the frame of an object."""

from __future__ import annotations

import numpy as np

from foreact_runtime.errors import UnreachableError
from foreact_runtime.executor_protocol import Executor, OuterExecutor
from foreact_runtime.hand import POSE, action_layout, known_arm
from foreact_runtime.kinematics import InverseKinematics
from foreact_runtime.records import Features

_ELSEWHERE = 1.0
"""An arm that is this far [rad] from its last command was held or pushed; a chunk is some ticks old, so not less."""


class HandPoses(OuterExecutor):
    """Turns hand poses, after another executor has queued, blended or averaged them, into joint positions.

    Chunks are (T, C) from `ObjectFrame.decode`. Poses are averaged as poses; the inverse kinematics run for the one
    that is executed, within the joints' limits.
    """

    def __init__(self, executor: Executor, features: Features) -> None:
        """Take the executor inside and the robot's features, whose arm is known."""
        super().__init__(executor)
        arm = known_arm(features)
        self._kinematics = InverseKinematics(arm)
        self._joints, self._others = action_layout(features)
        self._unit = 1.0 if arm.unit == "rad" else 180 / np.pi
        self._last: np.ndarray | None = None

    def next_action(self) -> np.ndarray:
        """Return this tick's action (A,), float32 in the robot's units.

        Raises:
            UnreachableError: If the arm cannot bring its hand there; the tick is over nevertheless, so that a caller
                may hold the arm still and go on.
        """
        row = self._executor.next_action().astype(np.float64)
        n_joints = len(self._joints)
        angles = self._angles(row[:3], _orthonormal(row[3:6], row[6:POSE]), present=row[-n_joints:])
        action = np.empty(n_joints + len(self._others), np.float32)
        action[self._joints] = angles * self._unit
        action[self._others] = row[POSE:-n_joints]
        return action

    def _angles(self, position: np.ndarray, turn: np.ndarray, *, present: np.ndarray) -> np.ndarray:
        """Solve from the last command, so that commands are smooth, or from where the arm was seen, if elsewhere."""
        last, self._last = self._last, None
        starts = [present] if last is None or np.abs(last - present).max() > _ELSEWHERE else [last, present]
        for start in starts:
            try:
                self._last = self._kinematics.inverse(position, turn, start)
                return self._last
            except UnreachableError as error:
                unreachable = error
        raise unreachable

    def reset(self) -> None:
        """Begin a new episode."""
        super().reset()
        self._last = None


def _orthonormal(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) whose first two columns are nearest to these (Gram-Schmidt)."""
    x = x / np.linalg.norm(x)
    y = y - x * (x @ y)
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)
