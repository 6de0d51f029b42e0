"""Which dimensions of state and action are the arm's joints, and how a chunk of hand poses is laid out."""

from __future__ import annotations

from foreact_runtime.errors import ConfigError
from foreact_runtime.records import Arm, Features

POSE = 9
"""Columns of a hand pose: position [m], then the first two columns of its orientation (Zhou et al. 2019,
arXiv:1812.07035), which unlike angles can be averaged."""


def known_arm(features: Features) -> Arm:
    """Return the arm of some features; raises ConfigError where it or its gripper is not known."""
    if features.arm is None or features.arm.gripper is None:
        raise ConfigError(
            "conditioning 'frame' needs the arm's kinematics with its gripper, and the data have none: give them with "
            "--calibration FILE (foreact calibrate --help), or leave 'frame' out of --policy.conditioning"
        )
    return features.arm


def places(kind: str, names: tuple[str, ...], among: tuple[str, ...]) -> list[int]:
    """Return where some names stand among others.

    Args:
        kind: Whose names those are, for the message: "state" or "action".
        names: Of the arm's joints.
        among: All names of the vector.

    Raises:
        ConfigError: If one is missing.
    """
    for name in names:
        if name not in among:
            known = ", ".join(among) or "nothing"
            raise ConfigError(f"the arm's joint '{name}' is not in the {kind}, which has: {known}")
    return [among.index(name) for name in names]


def others(places: list[int], among: tuple[str, ...]) -> list[int]:
    """Return all places of a vector but the given ones."""
    return [place for place in range(len(among)) if place not in places]


def action_layout(features: Features) -> tuple[list[int], list[int]]:
    """Return the places of the arm's joints, and of all else, in the robot's action."""
    joints = places("action", known_arm(features).joints, features.action_names)
    return joints, others(joints, features.action_names)
