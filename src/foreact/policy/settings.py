"""What a policy's configuration and its training data mean for the executor: chunks, limits, alarm."""

from __future__ import annotations

import logging
from functools import cache

import numpy as np

from foreact.config import PolicyConfig
from foreact.data.statistics import HIGH, JUMP, LEAD, LOW, ROBOT, STEP
from foreact.errors import ConfigError
from foreact.normalizer import binary_dimensions
from foreact.policy.inputs import network_features
from foreact.records import Features, Statistics, VectorStatistics
from foreact_runtime import keys
from foreact_runtime.limits import Bounds
from foreact_runtime.safeguards import SAFEGUARD_OPTIONS, DataRange, Safeguards
from foreact_runtime.settings import ExecutorSettings, guarded

_log = logging.getLogger(__name__)


def executor_settings(config: PolicyConfig, features: Features, statistics: Statistics) -> ExecutorSettings:
    """Return the settings of the executor for a robot with these features.

    Args:
        config: The policy's.
        features: What goes in and out on the robot.
        statistics: Of the training split; what they lack is not limited.

    Raises:
        ConfigError: If limits are declared for another number of dimensions, or `binary_actions` names none.
    """
    settings = ExecutorSettings(
        chunk_size=config.chunk_size,
        n_action_steps=config.n_action_steps,
        temporal_ensemble_coeff=config.temporal_ensemble_coeff,
        asynchronous=config.asynchronous,
        blend_steps=config.blend_steps,
        hand_poses="frame" in config.conditioning,
        binary=tuple(bool(of) for of in binary_dimensions(config, features)),
    )
    return guarded(settings, _safeguards(config, features, statistics))


def _safeguards(config: PolicyConfig, features: Features, statistics: Statistics) -> Safeguards:
    """What the training data say of limits and alarm, with the configuration's options."""
    for option in ("position_limits", "velocity_limits", "jump_limits"):
        _check_declared(option, getattr(config, option), features)
    velocity = jump = lead = np.full(features.action_dim, np.nan)
    if STEP in statistics:
        velocity = _largest(statistics[STEP]) * features.fps
        jump = _largest(statistics[JUMP]) * features.fps
        measured = [name in features.state_names for name in features.action_names]
        lead = np.where(measured, _largest(statistics[LEAD]), np.nan)

    def ranges(key: str, names: tuple[str, ...]) -> tuple[DataRange, ...]:
        return _ranges(key, names, config, features, statistics)

    action = tuple(_pinned(of, config.narrowest) for of in ranges(keys.ACTION, features.action_names))
    known = Safeguards(
        action=action,
        velocity=_bounds(velocity),
        jump=_bounds(jump),
        lead=_bounds(lead),
        state=ranges(keys.STATE, features.state_names),
        environment_state=ranges(keys.ENVIRONMENT_STATE, features.environment_names),
    )
    safeguards = known.changed({option: getattr(config, option) for option in SAFEGUARD_OPTIONS})
    if statistics and config.limit_margin is not None:
        _say_unlimited(safeguards)
    return safeguards


def _say_unlimited(safeguards: Safeguards) -> None:
    """Warn of what is neither learned nor declared."""
    limits = safeguards.limits()
    bounds = {
        "position": (safeguards.position_limits, (*limits.lower, *limits.upper)),
        "velocity": (safeguards.velocity_limits, limits.velocity),
        "jump": (safeguards.jump_limits, limits.jump),
    }
    free = [kind for kind, (declared, of) in bounds.items() if declared is None and all(bound is None for bound in of)]
    if free:
        options = ", ".join(f"{kind}_limits" for kind in free)
        _say_once(
            f"nothing limits the action's {' and '.join(free)}: the checkpoint does not hold what its training data "
            f"did (imported without --data, or older than limits); declare {options}"
        )


@cache
def _say_once(message: str) -> None:
    """Once a process, however many policies it loads."""
    _log.warning("%s", message)


def _ranges(
    key: str, names: tuple[str, ...], config: PolicyConfig, features: Features, statistics: Statistics
) -> tuple[DataRange, ...]:
    """Return the range of each dimension, its ends None where they are not known.

    Of what was recorded the one episode that goes furthest does not count (`robot_statistics`).
    """
    of = statistics.get(f"{ROBOT}{key}", statistics.get(key))
    if of is None:
        return (_UNKNOWN,) * len(names)
    columns = names
    if f"{ROBOT}{key}" not in statistics and "frame" in config.conditioning:  # what the network saw: a few are alike
        seen = network_features(config, features)
        columns = {keys.STATE: seen.state_names, keys.ACTION: seen.action_names}.get(key, seen.environment_names)
    lowest, highest = (statistics.get(f"{ROBOT}{key}{end}") for end in (LOW, HIGH))
    recorded = (of.min if lowest is None else lowest.min, of.max if highest is None else highest.max)
    least, most, low, high = (_bounds(end) for end in (*recorded, of.q01, of.q99))
    return tuple(
        _range(*(end[columns.index(name)] for end in (low, high, least, most)), narrowest=config.narrowest)
        if name in columns
        else _UNKNOWN
        for name in names
    )


_UNKNOWN = DataRange(low=None, high=None, least=None, most=None)


def _range(
    low: float | None, high: float | None, least: float | None, most: float | None, *, narrowest: float
) -> DataRange:
    is_constant = least is not None and most is not None and most - least < narrowest
    return DataRange(low=low, high=high, least=least, most=most, is_constant=is_constant)


def _pinned(of: DataRange, narrowest: float) -> DataRange:
    """A dimension that hardly moves at its middle: the network knows it no better, and would be limited every tick."""
    lower, upper = of.widened(0.0)
    if not of.is_constant or lower is None or upper is None or upper - lower >= narrowest:
        return of
    middle = (lower + upper) / 2
    return DataRange(low=middle, high=middle, least=middle, most=middle, is_constant=True)


def _largest(of: VectorStatistics) -> np.ndarray:
    """Of each episode's largest, what all but one in a hundred stay below; the largest of all where that is 0.

    So a dimension that moves in few episodes may still move.
    """
    return np.where(of.q99 > 0, of.q99, of.max)


def _check_declared(option: str, values: tuple | None, features: Features) -> None:
    if values is not None and len(values) != features.action_dim:
        raise ConfigError(
            f"policy.{option} has {len(values)} entries, the action has {features.action_dim} dimensions: "
            f"{', '.join(features.action_names)}"
        )


def _bounds(values: np.ndarray) -> Bounds:
    return tuple(float(value) if np.isfinite(value) else None for value in values)
