"""What limits and alarm are made of: where the training data went, by how much more is allowed, what was declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, get_args

from foreact_runtime.alarm import AlarmSettings, OnAlarm, Range
from foreact_runtime.errors import ConfigError, unknown_name
from foreact_runtime.limits import Bounds, Limits

_MARGIN = 0.5


@dataclass(frozen=True, kw_only=True)
class DataRange:
    """Where one dimension was in the training data; None where that is not known."""

    low: float | None
    """1 % quantile."""
    high: float | None
    """99 % quantile."""
    least: float | None
    """The lowest that was recorded, but for the episode that goes furthest."""
    most: float | None
    """The same of the highest."""
    is_constant: bool = False

    def widened(self, margin: float, *, constant_by: float = 0.0) -> tuple[float | None, float | None]:
        """Return the ends, widened by a share of the range, or where it is constant by a distance."""
        if self.low is None or self.high is None:
            return None, None
        by = constant_by if self.is_constant else margin * (self.high - self.low)
        lowest = None if self.least is None else min(self.low - by, self.least)
        return lowest, None if self.most is None else max(self.high + by, self.most)


@dataclass(frozen=True, kw_only=True)
class Safeguards:
    """Options have the names of the policy's (`foreact.config.PolicyConfig`); the rest is the training data's."""

    limit_margin: float | None = _MARGIN
    """Share of its range by which a limit is wider than the data; None limits only what is declared."""
    position_limits: tuple[tuple[float | None, float | None], ...] | None = None
    """Declared (lower, upper) a dimension of the action, instead of the data's; None where there is none."""
    velocity_limits: Bounds | None = None
    """Declared [unit/s]."""
    jump_limits: Bounds | None = None
    """Declared [unit/s]."""
    on_alarm: OnAlarm = "warn"
    alarm_margin: float = _MARGIN
    """Share of its range by which an observation may be outside of it."""

    action: tuple[DataRange, ...] = ()
    """One a dimension of the action."""
    velocity: Bounds = ()
    """Largest change of the action in the data [unit/s], for each dimension."""
    jump: Bounds = ()
    """Largest growth of that [unit/s]."""
    lead: Bounds = ()
    """Largest distance of the action from the measured position [unit]."""
    state: tuple[DataRange, ...] = ()
    """One a dimension of the state."""
    environment_state: tuple[DataRange, ...] = ()
    """One a coordinate."""

    def __post_init__(self) -> None:
        for name in ("limit_margin", "alarm_margin"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigError(f"{name} is {value}; it must not be negative")
        check_on_alarm(self.on_alarm)
        for low, high in self.position_limits or ():
            if low is not None and high is not None and not low <= high:
                raise ConfigError(f"position_limits has ({low:g}, {high:g}): the lower limit is the higher one")
        for name in ("velocity_limits", "jump_limits"):
            for value in getattr(self, name) or ():
                if value is not None and not value > 0:
                    raise ConfigError(f"{name} has a {value:g}; they must be positive, infinite for none")
        for name in ("position_limits", "velocity_limits", "jump_limits"):
            declared = getattr(self, name)
            if declared is not None and len(declared) != len(self.action):
                raise ConfigError(f"{name} has {len(declared)} entries, the action has {len(self.action)} dimensions")

    def limits(self, free: tuple[bool, ...] = ()) -> Limits:
        """Return declared limits, else those of the data.

        Args:
            free: Dimensions of the action without limits: what leaves as +1 or -1 only leaps. Empty: none.
        """
        none: Bounds = (None,) * len(self.action)
        positions: Iterable[tuple[float | None, float | None]] = [(None, None)] * len(self.action)
        velocity = jump = lead = none
        if self.limit_margin is not None:
            margin = self.limit_margin
            positions = [of.widened(margin) for of in self.action]
            # Of a range that reaches as far down as up: its width is twice the largest.
            velocity, jump, lead = (
                tuple(None if value is None else (1 + 2 * margin) * value for value in of)
                for of in (self.velocity, self.jump, self.lead)
            )
        lower, upper = zip(*(self.position_limits or positions), strict=True) if self.action else ((), ())
        bounds = {
            "lower": lower,
            "upper": upper,
            "velocity": velocity if self.velocity_limits is None else self.velocity_limits,
            "jump": jump if self.jump_limits is None else self.jump_limits,
            "lead": lead,
        }
        return Limits(**{name: _without(free, of) for name, of in bounds.items()})

    def alarm(self) -> AlarmSettings:
        """Return the ranges of what comes in, and what happens beyond them."""

        def ranges(of: tuple[DataRange, ...]) -> tuple[Range, ...]:
            ends = [each.widened(self.alarm_margin, constant_by=1.0) for each in of]
            return tuple(None if low is None or high is None else (low, high) for low, high in ends)

        return AlarmSettings(
            action=self.on_alarm, state=ranges(self.state), environment_state=ranges(self.environment_state)
        )

    def changed(self, options: Mapping[str, Any]) -> Safeguards:
        """Return the same with some options changed.

        Raises:
            ConfigError: If a value cannot be meant.
        """
        values = dict(options)
        if values.get("position_limits") is not None:
            values["position_limits"] = tuple((_finite(low), _finite(high)) for low, high in values["position_limits"])
        for name in ("velocity_limits", "jump_limits"):
            if values.get(name) is not None:
                values[name] = tuple(_finite(value) for value in values[name])
        return replace(self, **values)


SAFEGUARD_OPTIONS = ("limit_margin", "position_limits", "velocity_limits", "jump_limits", "on_alarm", "alarm_margin")
"""Those fields of `Safeguards` that whoever runs the policy may change."""


def check_on_alarm(action: str) -> None:
    """Refuse what an alarm cannot do.

    Raises:
        ConfigError: Naming the nearest that it can.
    """
    if action not in get_args(OnAlarm):
        raise ConfigError(unknown_name("value of on_alarm", action, get_args(OnAlarm)))


def safeguards_from_dict(values: Mapping[str, Any]) -> Safeguards:
    """Build safeguards from plain values, the inverse of `dataclasses.asdict` through JSON."""
    of = dict(values)
    for name in ("action", "state", "environment_state"):
        of[name] = tuple(DataRange(**each) for each in of[name])
    for name in ("velocity", "jump", "lead", "velocity_limits", "jump_limits"):
        of[name] = None if of[name] is None else tuple(of[name])
    if of["position_limits"] is not None:
        of["position_limits"] = tuple(tuple(pair) for pair in of["position_limits"])
    return Safeguards(**of)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and isfinite(value) else None


def _without(free: tuple[bool, ...], of: Bounds) -> Bounds:
    """The bounds of all dimensions but the free ones."""
    return tuple(None if is_free else value for is_free, value in zip(free, of, strict=True)) if free else of
