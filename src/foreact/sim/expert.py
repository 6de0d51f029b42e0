"""A scripted expert that reads the true positions: it makes the demonstrations and bounds what can be reached.

It keeps no clock and no memory. Each action follows from where the arm and the block are now, so after a push, a
slip or a noisy action it corrects, and one observation tells a learner everything that the expert went by.
"""

import math

import numpy as np

from foreact.sim.env import OPEN_ANGLE, RELEASE_ANGLE, PickPlaceEnv
from foreact.sim.kinematics import Kinematics
from foreact.sim.layout import PAN_AXIS
from foreact.sim.scene import HOLD_ANGLE

HOVER_HEIGHT = 0.065
"""Of the gripper point above the table [m] on the way to a block."""
GRASP_HEIGHT = 0.011
CARRY_HEIGHT = 0.075
DROP_HEIGHT = 0.060
CLEARANCE = 0.004
"""How far [m] the open gripper is shifted so that the fixed jaw does not touch the block on the way down."""
CLOSED_ANGLE = HOLD_ANGLE - 0.20
"""Commanded angle [rad] that holds a block: the servo squeezes with what is missing."""

_SPEED = 0.25  # [m/s] of the gripper point
_JOINT_SPEED = 2.0  # [rad/s] of the fastest joint
_GRIPPER_SPEED = 2.0  # [rad/s]; faster, an opening jaw flings the block out of the bowl


class Expert:
    """Hover, descend, close, lift, swing about the arm's axis, lower, open."""

    def __init__(self, env: PickPlaceEnv) -> None:
        """Take the environment whose true state it reads.

        Args:
            env: The environment itself (`env.unwrapped`).
        """
        self._env = env
        self._kinematics = Kinematics()

    def reset(self) -> None:
        """Begin an episode. There is nothing to forget; here so that it is used like a policy."""

    def act(self) -> np.ndarray:
        """Return the next joint positions (6,) float32 [rad].

        Raises:
            SimulationError: If the block has been pushed out of the arm's reach.
        """
        env = self._env
        jaw = float(env.data.joint("gripper").qpos[0])
        grip, block = env.grip_position(), env.block_positions()[0]
        bowl = env.layout.bowl
        ...
