"""How a policy's chunks are executed and guarded: the options that commands share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import tyro

from foreact_runtime.settings import overrides_of

_Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclass(frozen=True, kw_only=True)
class ExecutorOptions:
    """Each changes what the policy was trained with (docs/executor.md)."""

    n_action_steps: int | None = None
    """Actions executed before the next chunk takes over."""
    temporal_ensemble_coeff: float | None = None
    """Average all chunks with this coefficient; needs --n-action-steps 1."""
    no_ensemble: _Flag = False
    """Execute a queue, not the ensemble that was trained with."""
    asynchronous: _Flag = False
    """Compute the next chunk while the present one is executed."""
    synchronous: _Flag = False
    """Wait for each chunk, though it was trained as asynchronous."""
    blend_steps: int | None = None
    """Ticks over which one chunk goes over into the next."""
    on_alarm: Literal["off", "warn", "hold", "stop"] | None = None
    """Where an observation is far outside of the training data: say so in the log, hold the arm until it is back, stop
    with an error, or nothing."""
    limit_margin: float | None = None
    """Share of the training data's range by which an action's limits are wider."""
    no_limits: _Flag = False
    """Limit only what the configuration declares, not to the training data."""
    position_limits: tuple[float, ...] | None = None
    """Declared instead of the training data's: lower and upper position of each dimension of the action in turn."""
    velocity_limits: tuple[float, ...] | None = None
    """Declared: largest velocity [unit/s] of each dimension of the action; inf for none."""
    jump_limits: tuple[float, ...] | None = None
    """Declared: largest growth of the velocity from one tick to the next [unit/s] of each dimension; inf for none."""

    def overrides(self) -> dict[str, Any]:
        """Return what was given, as `load_policy` takes it.

        Raises:
            ConfigError: If two options contradict each other, or a lower limit has no upper one.
        """
        return overrides_of(**{of.name: getattr(self, of.name) for of in fields(ExecutorOptions)})
