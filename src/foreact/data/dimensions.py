"""What a dimension is, from its name: a gripper; the same joint in action and state."""

from __future__ import annotations

import re

from foreact.records import Features

_GRIPPERS = ("finger", "jaw", "claw")
_NOT_A_PLACE = ("vel", "qvel", "effort", "torque", "current", "force")
_OF_A_POSE = frozenset(("x", "y", "z", "w", "qx", "qy", "qz", "qw", "roll", "pitch", "yaw", "rx", "ry", "rz", "quat"))
"""A hand's pose is where it is, not how far it is open."""


def is_gripper(features: Features, name: str) -> bool:
    """Whether a dimension opens and closes a gripper; velocities and efforts of one do not count."""
    if features.arm is not None and features.arm.gripper is not None:
        return name == features.arm.gripper
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    if any(word.startswith(_NOT_A_PLACE) for word in words):
        return False
    if any("gripper" in word or word.startswith(_GRIPPERS) for word in words):
        return True
    return "hand" in words and not _OF_A_POSE & set(words)


def paired_dimensions(features: Features) -> list[tuple[int, int]]:
    """Return (action, state) dimensions that mean the same joint: by name, else by place where the sizes agree."""
    state = {name: dim for dim, name in enumerate(features.state_names)}
    pairs = [(dim, state[name]) for dim, name in enumerate(features.action_names) if name in state]
    if not pairs and features.action_dim == features.state_dim:
        pairs = [(dim, dim) for dim in range(features.action_dim)]
    return [pair for pair in pairs if not is_gripper(features, features.action_names[pair[0]])]
