"""How chunks are executed: what a checkpoint and a bundle say of it, and what whoever runs the policy may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ExecutorSettings:
    """All that an executor needs to know besides the robot's features."""

    chunk_size: int
    """Actions in a chunk (T)."""
    n_action_steps: int
    """Actions executed before the next chunk is asked for; 1 with temporal ensembling."""
    temporal_ensemble_coeff: float | None = None
    """The paper's m in w_i = exp(-m i), i = 0 the oldest prediction; None executes a queue instead."""
    hand_poses: bool = False
    """Chunks hold hand poses, which the arm's inverse kinematics turn into joint positions."""
    binary: tuple[bool, ...] = ()
    """Per action dimension, whether it leaves as +1 where positive, else -1; empty: none does."""


def settings_from_dict(values: Mapping[str, Any]) -> ExecutorSettings:
    """Build settings from plain values, the inverse of `dataclasses.asdict` through JSON."""
    return ExecutorSettings(**{**values, "binary": tuple(values["binary"])})
