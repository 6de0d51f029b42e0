"""How chunks are executed: what a checkpoint and a bundle say of it, and what whoever runs the policy may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from foreact_runtime.alarm import AlarmSettings, OnAlarm
from foreact_runtime.errors import ConfigError
from foreact_runtime.limits import Limits
from foreact_runtime.safeguards import SAFEGUARD_OPTIONS, Safeguards, check_on_alarm, safeguards_from_dict

_EXECUTION = ("n_action_steps", "temporal_ensemble_coeff", "asynchronous", "blend_steps")
AT_INFERENCE = (*_EXECUTION, *SAFEGUARD_OPTIONS)
"""Options of a policy that whoever runs it may change."""


@dataclass(frozen=True, kw_only=True)
class ExecutorSettings:
    """All that an executor needs to know besides the robot's features.

    Raises:
        ConfigError: If a value cannot be meant or contradicts another.
    """

    chunk_size: int
    """Actions in a chunk (T)."""
    n_action_steps: int
    """Actions executed before the next chunk takes over; 1 with temporal ensembling."""
    temporal_ensemble_coeff: float | None = None
    """The paper's m in w_i = exp(-m i), i = 0 the oldest prediction; None executes a queue instead."""
    asynchronous: bool = False
    """Compute the next chunk while the present one is executed."""
    blend_steps: int | None = None
    """Ticks over which a queue goes over from one chunk to the next, fewer than a chunk has: the new one must take over
    before it ends. None takes half a chunk where `asynchronous`, which of what was tried leaves the least jerk
    (docs/executor.md), else 0."""
    hand_poses: bool = False
    """Chunks hold hand poses, which the arm's inverse kinematics turn into joint positions."""
    binary: tuple[bool, ...] = ()
    """Per action dimension, whether it leaves as +1 where positive, else -1; empty: none does."""
    limits: Limits = field(default_factory=Limits)
    """Of what leaves; by default none."""
    alarm: AlarmSettings = field(default_factory=AlarmSettings)
    """Of what comes in; by default none."""
    safeguards: Safeguards | None = None
    """What limits and alarm were made of; None in bundles from before this was kept."""

    def __post_init__(self) -> None:
        if not 1 <= self.n_action_steps <= self.chunk_size:
            raise ConfigError(f"n_action_steps is {self.n_action_steps}; it must be 1 to {self.chunk_size}")
        if self.temporal_ensemble_coeff is not None and self.n_action_steps != 1:
            raise ConfigError(f"temporal_ensemble_coeff needs n_action_steps 1, not {self.n_action_steps}")
        if self.blend_steps is not None and self.blend_steps < 0:
            raise ConfigError(f"blend_steps is {self.blend_steps}; it must not be negative")
        if self.blend_steps is not None and self.blend_steps >= self.chunk_size:
            raise ConfigError(
                f"blend_steps is {self.blend_steps}; it must be at most {self.chunk_size - 1}, one less than a chunk "
                "has actions, or no chunk ever takes over from the one before"
            )

    @property
    def blending(self) -> int:
        """Ticks over which a queue goes over from one chunk to the next."""
        if self.blend_steps is not None:
            return self.blend_steps
        return self.chunk_size // 2 if self.asynchronous else 0

    def waiting(self) -> ExecutorSettings:
        """Return the settings for a robot that waits for each chunk: no chunk is late, and seams are as they were."""
        return replace(self, asynchronous=False, blend_steps=self.blending)

    def ahead(self, n_actions: int) -> ExecutorSettings:
        """Return the settings for a robot that executes so many actions of each chunk before it asks again.

        It is elsewhere by then, so chunks are not averaged; they are blended where the one before has actions left.
        """
        blend_steps = min(self.blend_steps or 0, self.chunk_size - n_actions)
        return replace(
            self,
            n_action_steps=n_actions,
            blend_steps=blend_steps,
            temporal_ensemble_coeff=None,
            asynchronous=False,
        )

    def changed(self, overrides: Mapping[str, Any]) -> ExecutorSettings:
        """Return the same with some options changed.

        Args:
            overrides: Values by the names in `AT_INFERENCE`.

        Raises:
            ConfigError: If one is unknown or cannot be meant, or the bundle is too old to have its limits changed.
        """
        for name in overrides:
            if name not in AT_INFERENCE:
                raise ConfigError(f"'{name}' cannot be changed in a bundle; these can: {', '.join(AT_INFERENCE)}")
        execution = {name: value for name, value in overrides.items() if name in _EXECUTION}
        guarding = {name: value for name, value in overrides.items() if name in SAFEGUARD_OPTIONS}
        settings = replace(self, **execution)
        if not guarding:
            return settings
        if self.safeguards is not None:
            return guarded(settings, self.safeguards.changed(guarding))
        for name in guarding:
            if name != "on_alarm":
                raise ConfigError(f"'{name}' cannot be changed in a bundle from before it was kept; export it again")
        check_on_alarm(guarding["on_alarm"])
        return replace(settings, alarm=replace(self.alarm, action=guarding["on_alarm"]))


def guarded(settings: ExecutorSettings, safeguards: Safeguards) -> ExecutorSettings:
    """Return settings with the limits and the alarm that some safeguards ask for."""
    return replace(settings, safeguards=safeguards, limits=safeguards.limits(settings.binary), alarm=safeguards.alarm())


def overrides_of(
    *,
    n_action_steps: int | None = None,
    temporal_ensemble_coeff: float | None = None,
    no_ensemble: bool = False,
    asynchronous: bool = False,
    synchronous: bool = False,
    blend_steps: int | None = None,
    on_alarm: OnAlarm | None = None,
    limit_margin: float | None = None,
    no_limits: bool = False,
    position_limits: Sequence[float] | None = None,
    velocity_limits: Sequence[float] | None = None,
    jump_limits: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Return what a command's options change of the settings, by the settings' names.

    Positions are a lower and an upper limit for each dimension in turn.

    Raises:
        ConfigError: If two contradict each other, or a lower limit has no upper one.
    """
    for one, other, both in (
        ("--asynchronous", "--synchronous", asynchronous and synchronous),
        ("--no-limits", "--limit-margin", no_limits and limit_margin is not None),
        ("--no-ensemble", "--temporal-ensemble-coeff", no_ensemble and temporal_ensemble_coeff is not None),
    ):
        if both:
            raise ConfigError(f"{one} and {other} contradict each other; give one of them")
    if position_limits is not None and len(position_limits) % 2:
        raise ConfigError(f"--position-limits has {len(position_limits)} numbers; give two a dimension: lower upper")
    given: dict[str, Any] = {
        "n_action_steps": n_action_steps,
        "temporal_ensemble_coeff": temporal_ensemble_coeff,
        "asynchronous": asynchronous if asynchronous or synchronous else None,
        "blend_steps": blend_steps,
        "on_alarm": on_alarm,
        "limit_margin": limit_margin,
        "position_limits": position_limits and tuple(zip(position_limits[::2], position_limits[1::2], strict=True)),
        "velocity_limits": velocity_limits and tuple(velocity_limits),
        "jump_limits": jump_limits and tuple(jump_limits),
    }
    switched_off = {"limit_margin": no_limits, "temporal_ensemble_coeff": no_ensemble}
    return {
        **{name: value for name, value in given.items() if value is not None},
        **{name: None for name, is_off in switched_off.items() if is_off},
    }


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
    if of.get("safeguards") is not None:
        of["safeguards"] = safeguards_from_dict(of["safeguards"])
    return ExecutorSettings(**{**of, "binary": tuple(of["binary"])})
