"""How chunks are executed: what a checkpoint and a bundle say of it, and what whoever runs the policy may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from foreact_runtime.alarm import AlarmSettings
from foreact_runtime.limits import Limits


@dataclass(frozen=True, kw_only=True)
class ExecutorSettings:
    """All that an executor needs to know besides the robot's features."""

    chunk_size: int
    """Actions in a chunk (T)."""
    n_action_steps: int
    """Actions executed before the next chunk takes over; 1 with temporal ensembling."""
    temporal_ensemble_coeff: float | None = None
    """The paper's m in w_i = exp(-m i), i = 0 the oldest prediction; None executes a queue instead."""
    asynchronous: bool = False
    """Compute the next chunk while the present one is executed."""
    blend_steps: int | None = None
    """Ticks over which a queue goes over from one chunk to the next; None takes half a chunk where `asynchronous`,
    which of what was tried leaves the least jerk (docs/executor.md), else 0."""
    hand_poses: bool = False
    """Chunks hold hand poses, which the arm's inverse kinematics turn into joint positions."""
    binary: tuple[bool, ...] = ()
    """Per action dimension, whether it leaves as +1 where positive, else -1; empty: none does."""
    limits: Limits = field(default_factory=Limits)
    """Of what leaves; by default none."""
    alarm: AlarmSettings = field(default_factory=AlarmSettings)
    """Of what comes in; by default none."""


def settings_from_dict(values: Mapping[str, Any]) -> ExecutorSettings:
    """Build settings from plain values, the inverse of `dataclasses.asdict` through JSON."""
    of = dict(values)
    if "limits" in of:
        of["limits"] = Limits(**{name: tuple(bounds) for name, bounds in of["limits"].items()})
    if "alarm" in of:
        alarm = of["alarm"]
        ranges = {
            name: tuple(None if pair is None else tuple(pair) for pair in alarm[name])
            for name in ("state", "environment_state")
        }
        of["alarm"] = AlarmSettings(action=alarm["action"], **ranges)
    return ExecutorSettings(**{**of, "binary": tuple(of["binary"])})
