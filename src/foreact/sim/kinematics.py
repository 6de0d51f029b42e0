"""Where the gripper is, and which joint angles bring it somewhere.

The arm has five joints: position, yaw and the pitch of the gripper are all that can be asked for. Pitch is asked
for softly ("jaws down"), so that places where the wrist reaches its limit are still reached, a little inclined.
"""

import math
from dataclasses import dataclass

import numpy as np

from foreact.errors import SimulationError
from foreact.sim.backend import mujoco
from foreact.sim.scene import ARM_JOINTS, build_arm
from foreact_runtime.least_squares import bounded_step

_DOWN_WEIGHT = 0.01
"""Metres of position that a radian of inclination is worth: small, because it is soft."""
_YAW_WEIGHT = 0.05
"""Metres of position that a radian of yaw is worth."""
_DAMPING = 1e-4
_TOLERANCE = 1e-3
"""Largest error of the position [m] that still counts as a solution."""
_YAW_TOLERANCE = 0.05
"""Largest error of the yaw [rad] that still counts as a solution."""


@dataclass(frozen=True, kw_only=True)
class GripPose:
    """Pose of the gripper point in the frame of the base."""

    position: np.ndarray
    """(3,) [m]."""
    yaw: float
    """Angle [rad] about the vertical of the axis from the fixed to the moving jaw, 0 along +x."""
    tilt: float
    """Angle [rad] between the jaws and straight down."""


class Kinematics:
    """Forward and inverse kinematics of the SO-101's gripper point by MuJoCo's Jacobians."""

    def __init__(self) -> None:
        self._model = build_arm()
        self._data = mujoco.MjData(self._model)
        self._site = self._model.site("grip").id
        self.lower = self._model.jnt_range[: len(ARM_JOINTS), 0].copy()
        """Lower limits of the arm's joints (5,) [rad]."""
        self.upper = self._model.jnt_range[: len(ARM_JOINTS), 1].copy()
        """Upper limits of the arm's joints (5,) [rad]."""

    def forward(self, arm: np.ndarray) -> GripPose:
        """Return the pose of the gripper point.

        Args:
            arm: Joint angles (5,) [rad]; the gripper's own angle does not matter.
        """
        self._place(arm)
        matrix = self._data.site_xmat[self._site].reshape(3, 3)
        down = float(np.clip(matrix[2, 2], -1.0, 1.0))  # the jaws point along -z of the gripper's frame
        return GripPose(
            position=self._data.site_xpos[self._site].copy(),
            yaw=math.atan2(matrix[1, 0], matrix[0, 0]),
            tilt=math.acos(down),
        )

    def jacobian(self, arm: np.ndarray) -> np.ndarray:
        """Return the gripper point's Jacobian (6, 5) in the base's frame: linear [m/rad], then angular velocity."""
        self._place(arm)
        return self._jacobian()

    def inverse(self, position: np.ndarray, yaw: float, start: np.ndarray) -> np.ndarray:
        """Return joint angles (5,) [rad] that bring the gripper point to a position with a yaw, jaws down if possible.

        Damped least squares from a start, within the joints' limits.

        Args:
            position: Of the gripper point (3,) [m].
            yaw: Angle [rad] of the jaws' axis about the vertical.
            start: Joint angles (5,) [rad] to start from; the solution near them is found.

        Raises:
            SimulationError: If the position or the yaw cannot be reached.
        """
        arm = np.clip(start, self.lower, self.upper)
        for _ in range(100):
            pose = self.forward(arm)
            matrix = self._data.site_xmat[self._site].reshape(3, 3)
            lean = np.cross(-matrix[:, 2], (0.0, 0.0, -1.0))  # turns the jaws to straight down
            turn = wrap(yaw - pose.yaw)
            error = np.concatenate([position - pose.position, _DOWN_WEIGHT * lean[:2], [_YAW_WEIGHT * turn]])
            jacobian = self._jacobian()
            jacobian[3:5] *= _DOWN_WEIGHT
            jacobian[5] *= _YAW_WEIGHT
            step = bounded_step(jacobian, error, self.lower - arm, self.upper - arm, _DAMPING)
            arm = np.clip(arm + step * min(1.0, 0.5 / (np.abs(step).max() + 1e-12)), self.lower, self.upper)
            if np.abs(step).max() < 1e-6:
                break
        pose = self.forward(arm)
        missed, turned = float(np.linalg.norm(position - pose.position)), abs(wrap(yaw - pose.yaw))
        if missed > _TOLERANCE or turned > _YAW_TOLERANCE:
            x, y, z = position
            raise SimulationError(
                f"the gripper cannot reach ({x:.3f}, {y:.3f}, {z:.3f}) m with yaw {yaw:.2f} rad: it stays "
                f"{1000 * missed:.0f} mm and {turned:.2f} rad away; ask for a position nearer to the workspace's middle"
            )
        return arm

    def _place(self, arm: np.ndarray) -> None:
        self._data.qpos[: len(ARM_JOINTS)] = arm[: len(ARM_JOINTS)]
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)  # the Jacobian needs it

    def _jacobian(self) -> np.ndarray:
        linear, angular = np.zeros((3, self._model.nv)), np.zeros((3, self._model.nv))
        mujoco.mj_jacSite(self._model, self._data, linear, angular, self._site)
        return np.concatenate([linear, angular])[:, : len(ARM_JOINTS)]


def wrap(angle: float) -> float:
    """Bring an angle into [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi
