"""The conditioning `frame`: the hand relative to the cue and to the goal in, displacements of the hand out.

A new position of the block is then the same problem moved, so few positions teach all of them (SIMULATION.md,
"Object-frame actions"). While the jaws are open nothing says where the arm is on the table, only where the cue is
from the hand; once they close, the hand is told where the goal is instead. A policy that knew both could tell the
cue's place on the table from their difference, and would be drawn to the places it was trained on.

Coordinates of four dimensions are the cue's x and y and the goal's. With two, the goal is not told and the hand is
relative to the base's origin; for a goal that never moves that is the same, up to what the normaliser takes away.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from foreact.errors import ConfigError
from foreact.geometry.jaws import find_misplaced
from foreact.geometry.kinematics import ForwardKinematics, rotation_matrix
from foreact.records import Arm, Batch, Features
from foreact_runtime.hand import known_arm, others, places
from foreact_runtime.kinematics import rotation_vector

_STATE = ("hand_z", "hand_xx", "hand_xy", "hand_xz", "hand_zx", "hand_zy", "hand_zz", "goal_x", "goal_y")
_CUE = 2
_ACTION = ("move_x", "move_y", "move_z", "turn_x", "turn_y", "turn_z")


class HandPose(nn.Module):
    """Where the hand is, from the state."""

    def __init__(self, arm: Arm, state_names: tuple[str, ...]) -> None:
        """Find the arm's joints among the state's names; raises ConfigError where one is missing."""
        super().__init__()
        self.joints = places("state", arm.joints, state_names)
        self.unit = 1.0 if arm.unit == "rad" else torch.pi / 180
        self.kinematics = ForwardKinematics(arm)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hand's position (B, 3) [m] and orientation (B, 3, 3) for raw states (B, S)."""
        return self.kinematics(state[:, self.joints] * self.unit)


class ObjectFrame(nn.Module):
    """Joint space to the hand's frame and back, in batches; the axes are the base's."""

    def __init__(self, features: Features) -> None:
        """Find arm and coordinates among the features.

        Args:
            features: As selected from the data; `arm` and its gripper must be known.

        Raises:
            ConfigError: If the arm is not known, its joints are not in state and action, or the coordinates are
                neither x and y of the cue nor those and x and y of the goal.
        """
        super().__init__()
        self._arm = known_arm(features)
        self.hand = HandPose(self._arm, features.state_names)
        self._action_joints = places("action", self._arm.joints, features.action_names)
        self._state_rest = others(self.hand.joints, features.state_names)
        self._action_rest = others(self._action_joints, features.action_names)
        assert self._arm.gripper is not None
        self._gripper = places("state", (self._arm.gripper,), features.state_names)[0]
        self._has_goal = _has_goal(features)

    @staticmethod
    def features(features: Features) -> Features:
        """Return what the network sees of these features: other names and sizes of state and action."""
        arm = known_arm(features)
        assert arm.gripper is not None
        places("state", (arm.gripper,), features.state_names)  # raises where it is not there
        _has_goal(features)  # raises where coordinates are neither
        state = others(places("state", arm.joints, features.state_names), features.state_names)
        action = others(places("action", arm.joints, features.action_names), features.action_names)
        return replace(
            features,
            state_names=(*_STATE, *(features.state_names[i] for i in state)),
            environment_names=tuple(f"{name}_from_hand" for name in features.environment_names[:_CUE]),
            action_names=(*_ACTION, *(features.action_names[i] for i in action)),
            state_groups=(),
            action_groups=(),
        )

    def closed(self, state: Tensor) -> Tensor:
        """Return whether the jaws hold something or are about to (B,), for raw states (B, S)."""
        return state[:, self._gripper] < self._arm.gripper_closed

    def encode(self, batch: Batch) -> Batch:
        """Return a raw batch with state, coordinates and actions in the hand's frame, in metres and radians."""
        assert batch.state is not None
        position, turn = self.hand(batch.state)
        closed = self.closed(batch.state).to(position)[:, None]
        where = batch.environment_state
        goal = where[:, _CUE:] if self._has_goal and where is not None else torch.zeros_like(position[:, :2])
        to_goal = (goal - position[:, :2]) * closed
        state = torch.cat(
            [position[:, 2:], turn[..., 0], turn[..., 2], to_goal, batch.state[:, self._state_rest]], dim=1
        )
        if where is not None:
            where = (where[:, :_CUE] - position[:, :2]) * (1 - closed)
        action = None if batch.action is None else self._displacements(batch.action, position, turn)
        return replace(batch, state=state, environment_state=where, action=action)

    def _displacements(self, action: Tensor, position: Tensor, turn: Tensor) -> Tensor:
        """Of the hand from where it is now to where each action (B, T, A) would have it (B, T, A')."""
        goal_position, goal_turn = self.hand.kinematics(action[..., self._action_joints] * self.hand.unit)
        turned = rotation_vector(goal_turn @ turn[:, None].mT)
        return torch.cat([goal_position - position[:, None], turned, action[..., self._action_rest]], dim=-1)

    def decode(self, displacement: Tensor, state: Tensor) -> Tensor:
        """Return what the executor `HandPoses` takes (B, T, 9 + rest + J) for predicted displacements (B, T, A').

        Columns: the hand's pose (`POSE`), the action's other dimensions, and the present joint angles [rad], from
        where the inverse kinematics start.
        """
        position, turn = self.hand(state)
        poses = position[:, None] + displacement[..., :3]
        turns = rotation_matrix(displacement[..., 3:6]) @ turn[:, None]
        joints = (state[:, self.hand.joints] * self.hand.unit)[:, None].expand(-1, displacement.shape[1], -1)
        return torch.cat([poses, turns[..., 0], turns[..., 1], displacement[..., len(_ACTION) :], joints], dim=-1)

    def chunk_scale(self, scale: Tensor) -> Tensor:
        """Return how much each column of `decode` changes with displacements that change by a scale (A')."""
        turns = scale[3:6].min().expand(6)
        return torch.cat([scale[:3], turns, scale[len(_ACTION) :], scale.new_ones(len(self.hand.joints))])


def check_joints(features: Features, states: np.ndarray) -> None:
    """Refuse recorded states (N, S) whose joints cannot be those of the arm: another unit, or another zero.

    Raises:
        ConfigError: If more than one in twenty frames has a joint beyond its limits by more than 0.2 rad, or no joint
            moves by a hundredth of its range.
    """
    arm = known_arm(features)
    joint_places = places("state", arm.joints, features.state_names)
    joints = states[:, joint_places].astype(np.float64) * (1.0 if arm.unit == "rad" else np.pi / 180)
    lower, upper = np.array(arm.limits).T
    outside = ((joints < lower - 0.2) | (joints > upper + 0.2)).mean(axis=0)
    worst = int(outside.argmax())
    if outside[worst] > 0.05:
        raise ConfigError(
            f"joint '{arm.joints[worst]}' is beyond its limits in {outside[worst]:.0%} of the frames, between "
            f"{joints[:, worst].min():.2f} and {joints[:, worst].max():.2f} rad; check "
            f"joint_unit (now '{arm.unit}') and the arm's zero in the calibration"
        )
    if (np.ptp(joints, axis=0) < 0.01 * (upper - lower)).all():
        raise ConfigError(
            "no joint of the arm moves by a hundredth of its range; check joint_unit in the calibration (now "
            f"'{arm.unit}')"
        )


def check_gripper(features: Features, states: np.ndarray) -> None:
    """Refuse recorded states (N, S) in which the jaws never, or always, count as closed.

    Raises:
        ConfigError: If they do; names the range of the gripper's values and, where they have two levels, what lies
            halfway between.
    """
    arm = known_arm(features)
    assert arm.gripper is not None
    found = find_misplaced(arm, states[:, places("state", (arm.gripper,), features.state_names)[0]])
    if found is None:
        return
    missed = "where the cue is" if found.always else "that it holds something"
    raise ConfigError(
        f"{found.said}, so with conditioning 'frame' the hand is never told {missed}; {found.remedy}, in the "
        "calibration that you give with --calibration FILE or in the data set's meta/foreact.json"
    )


def _has_goal(features: Features) -> bool:
    if features.environment_dim not in (0, _CUE, 2 * _CUE):
        raise ConfigError(
            f"conditioning 'frame' takes coordinates of 2 dimensions (the cue's x, y) or 4 (and the goal's), "
            f"not {features.environment_dim}: {', '.join(features.environment_names)}"
        )
    return features.environment_dim == 2 * _CUE
