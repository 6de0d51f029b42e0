"""A scripted expert that reads the true positions: it makes the demonstrations and bounds what can be reached.

It keeps no clock and no memory. Each action follows from where the arm and the block are now, so after a push, a
slip or a noisy action it corrects, and one observation tells a learner everything that the expert went by.
"""

import math
from typing import NamedTuple

import numpy as np

from foreact.errors import SimulationError
from foreact.sim.env import OPEN_ANGLE, RELEASE_ANGLE, PickPlaceEnv
from foreact.sim.kinematics import GripPose, Kinematics, wrap
from foreact.sim.layout import PAN_AXIS
from foreact.sim.scene import ARM_JOINTS, HOLD_ANGLE

HOVER_HEIGHT = 0.065
"""Height [m] of the gripper point above the table on its way to a block."""
GRASP_HEIGHT = 0.011
"""Height [m] at which it closes."""
CARRY_HEIGHT = 0.075
"""Height [m] at which it carries a block over the others to the bowl."""
DROP_HEIGHT = 0.060
"""Height [m] at which it opens over the bowl."""
CENTRING = 0.012
"""How far [m] the open gripper stands back along its jaws' axis, so that neither jaw touches the block."""
CLOSED_ANGLE = HOLD_ANGLE - 0.20
"""Commanded angle [rad] that holds a block: the servo squeezes with what is missing."""

GATE = 0.006
"""How near [m] to its place the gripper is when it closes: half of what the open jaws leave on either side."""
FUNNEL = 6.0
"""How much [m] higher the gripper stays for each metre that it is off the block's middle, up to hovering."""

# A servo trails its command by about damping / stiffness: a goal that much ahead keeps the speed at any control rate.
_ARM_LAG = 0.043  # [s]
_JAW_LAG = 0.080  # [s]
_JOINT_SPEED = 1.4  # [rad/s] of the fastest joint
_SWING_SPEED = 1.05  # [rad/s] about the arm's vertical axis
_LIFT_SPEED = 0.14  # [m/s]
_JAW_SPEED = 1.1  # [rad/s]; much faster, an opening jaw flings the block out of the bowl


class _Goal(NamedTuple):
    """Where the gripper point is to be after the next tick or soon after, and the jaws."""

    position: np.ndarray
    yaw: float
    jaw: float


class Expert:
    """Hover, descend, close, lift, swing about the arm's axis, lower, open."""

    def __init__(self, env: PickPlaceEnv, *, block: int = 0) -> None:
        """Take the environment whose true state it reads.

        Args:
            env: The environment itself (`env.unwrapped`).
            block: Which block to pick: 0 is the target, the confusers follow.
        """
        self._env = env
        self._block = block
        self._kinematics = Kinematics()
        self._dt = 1.0 / env.task.fps
        self._ahead = self._dt + _ARM_LAG

    def reset(self) -> None:
        """Begin an episode. There is nothing to forget; here so that it is used like a policy."""

    def act(self) -> np.ndarray:
        """Return the next joint positions (6,) float32 [rad]; the arm stays where it is if the block is beyond it."""
        joints = self._env.data.qpos[: len(ARM_JOINTS) + 1]
        arm, jaw = joints[:-1], float(joints[-1])
        goal = self._goal(self._kinematics.forward(arm), jaw)
        try:
            step = self._kinematics.inverse(goal.position, goal.yaw, arm) - arm
        except SimulationError:
            step = np.zeros_like(arm)
        step *= min(1.0, _JOINT_SPEED * self._ahead / max(float(np.abs(step).max()), 1e-9))
        jaw_limit = _JAW_SPEED * (self._dt + _JAW_LAG)
        jaw_step = np.clip(goal.jaw - jaw, -jaw_limit, jaw_limit)
        if goal.jaw == CLOSED_ANGLE and jaw < RELEASE_ANGLE:
            jaw_step = goal.jaw - jaw  # squeeze
        return np.append(arm + step, jaw + jaw_step).astype(np.float32)

    def _goal(self, grip: GripPose, jaw: float) -> _Goal:
        env = self._env
        block, bowl = env.block_positions()[self._block], env.layout.bowl
        from_bowl = float(np.linalg.norm(block[:2] - bowl))
        if from_bowl < 0.02 and (block[2] < DROP_HEIGHT + 0.01 or jaw > RELEASE_ANGLE):
            return _Goal(np.array([*bowl, DROP_HEIGHT]), _radial(bowl), OPEN_ANGLE)
        if env.held(self._block) and env.data.ctrl[-1] < CLOSED_ANGLE + 0.05:
            return self._carry(grip, bowl)
        return self._approach(grip, block, jaw)

    def _approach(self, grip: GripPose, block: np.ndarray, jaw: float) -> _Goal:
        """Go above the block, turned like it, and sink the better the gripper is centred; then close."""
        axis = np.array([math.cos(grip.yaw), math.sin(grip.yaw)])
        offset = block[:2] - grip.position[:2]
        along, across = float(axis @ offset), float(axis[0] * offset[1] - axis[1] * offset[0])
        between = abs(across) < 0.012 and -0.012 < along < 0.03 and abs(block[2] - grip.position[2]) < 0.012
        if between and jaw < OPEN_ANGLE - 0.05:  # closing: stay
            return _Goal(np.array([*grip.position[:2], GRASP_HEIGHT]), grip.yaw, CLOSED_ANGLE)
        yaw = self._grasp_yaw(grip.yaw)
        target = block[:2] - CENTRING * np.array([math.cos(yaw), math.sin(yaw)])
        miss = float(np.linalg.norm(target - grip.position[:2])) + 0.03 * abs(wrap(yaw - grip.yaw))
        if miss < GATE and abs(grip.position[2] - GRASP_HEIGHT) < GATE:
            return _Goal(np.array([*target, GRASP_HEIGHT]), yaw, CLOSED_ANGLE)
        rise = np.clip(FUNNEL * (miss - GATE), 0.0, HOVER_HEIGHT - GRASP_HEIGHT)
        if jaw < OPEN_ANGLE - 0.15:
            rise = HOVER_HEIGHT - GRASP_HEIGHT  # closed on nothing: come up and open
        return _Goal(np.array([*target, GRASP_HEIGHT + rise]), yaw, OPEN_ANGLE)

    def _grasp_yaw(self, present: float) -> float:
        """Of the four turns that fit a square block, take the smallest, and keep to one already begun."""
        turns = self._env.block_yaw(self._block) + math.pi / 2 * np.arange(-2, 3)
        return float(turns[np.argmin(np.abs(turns) + 0.5 * np.abs(turns - present))])

    def _carry(self, grip: GripPose, bowl: np.ndarray) -> _Goal:
        """Lift, then swing about the arm's axis to above the bowl, then lower."""
        angle, radius = _radial(grip.position[:2]), float(np.linalg.norm(grip.position[:2] - PAN_AXIS))
        to_go = wrap(_radial(bowl) - angle)
        out = float(np.linalg.norm(bowl - PAN_AXIS)) - radius
        far = abs(to_go) * radius + abs(out)
        height = CARRY_HEIGHT if far > 0.015 else DROP_HEIGHT
        free = float(np.clip((grip.position[2] - 0.04) / 0.02, 0.0, 1.0))  # do not drag it through the others
        share = free * min(1.0, _SWING_SPEED * self._ahead / max(abs(to_go), abs(out) / 0.2, 1e-9))
        turn = wrap(grip.yaw - angle)  # relative to the arm
        new_angle, new_radius = angle + share * to_go, radius + share * out
        rise = np.clip(height - grip.position[2], -_LIFT_SPEED * self._ahead, _LIFT_SPEED * self._ahead)
        position = np.array([
            PAN_AXIS[0] + new_radius * math.cos(new_angle),
            PAN_AXIS[1] + new_radius * math.sin(new_angle),
            grip.position[2] + rise,
        ])  # fmt: skip
        return _Goal(position, new_angle + (1 - share) * turn, CLOSED_ANGLE)


def _radial(point: np.ndarray) -> float:
    """Return the direction of a point on the table [rad] as the arm's vertical axis sees it."""
    return math.atan2(point[1] - PAN_AXIS[1], point[0] - PAN_AXIS[0])
