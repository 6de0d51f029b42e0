"""The simulated arm takes radians: a policy that commands anything else is refused before it moves."""

from __future__ import annotations

import math

from foreact.errors import ConfigError
from foreact.records import Features
from foreact.sim.scene import ARM_JOINTS
from foreact_runtime.settings import ExecutorSettings

_TURN = 2 * math.pi
"""No joint of an arm goes further from its zero [rad]; in degrees one of five goes further in any demonstration."""


def check_radians(features: Features, settings: ExecutorSettings | None) -> None:
    """Refuse a policy whose joints are not in radians.

    Its arm says so; where it does not know its arm, the range of the actions that it was trained on does. Degrees are
    not converted: an arm that was recorded in them has zeros and a gripper of its own, which are not the model's.

    Args:
        features: What the policy commands; the arm's joints come first, the gripper last.
        settings: Of its executor, which keep that range; None where it has none, and is taken at its word.

    Raises:
        ConfigError: If its joints are in degrees, or in whatever else goes beyond a whole turn.
    """
    if features.arm is not None:
        if features.arm.unit != "rad":
            raise ConfigError("the policy commands degrees; the simulated SO-101 takes radians")
        return
    known = None if settings is None else settings.safeguards
    if known is None:
        return
    for name, of in zip(features.action_names[: len(ARM_JOINTS)], known.action, strict=False):
        for end in (of.least, of.most, of.low, of.high):
            if end is not None and abs(end) > _TURN:
                raise ConfigError(
                    f"the policy was trained on '{name}' at {end:.4g}, which is no angle in radians; "
                    "the simulated SO-101 takes radians"
                )
