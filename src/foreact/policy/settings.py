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
from foreact_runtime.alarm import AlarmSettings, Range
from foreact_runtime.limits import Bounds, Limits
from foreact_runtime.settings import ExecutorSettings

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
    binary = binary_dimensions(config, features)
    return ExecutorSettings(
        chunk_size=config.chunk_size,
        n_action_steps=config.n_action_steps,
        temporal_ensemble_coeff=config.temporal_ensemble_coeff,
        asynchronous=config.asynchronous,
        blend_steps=config.blend_steps,
        hand_poses="frame" in config.conditioning,
        binary=tuple(bool(of) for of in binary),
        limits=_limits(config, features, statistics, free=binary),
        alarm=_alarm(config, features, statistics),
    )


def _limits(config: PolicyConfig, features: Features, statistics: Statistics, *, free: np.ndarray) -> Limits:
    """Declared limits, else those of the data. Free dimensions (A,) have none: what leaves as +1 or -1 only leaps."""
    lower = upper = velocity = jump = lead = np.full(features.action_dim, np.nan)
    if config.limit_margin is not None:
        widened = 1 + 2 * config.limit_margin  # of a range that reaches as far down as up
        ranges = _ranges(keys.ACTION, features.action_names, config, features, statistics, config.limit_margin)
        lower, upper = ranges.T
        middle, narrow = (lower + upper) / 2, upper - lower < config.narrowest
        lower, upper = np.where(narrow, middle, lower), np.where(narrow, middle, upper)
        if STEP in statistics:
            velocity = widened * _largest(statistics[STEP]) * features.fps
            jump = widened * _largest(statistics[JUMP]) * features.fps
            known = [name in features.state_names for name in features.action_names]
            lead = np.where(known, widened * _largest(statistics[LEAD]), np.nan)
        elif statistics:
            _say_older()
    if config.position_limits is not None:
        lower, upper = np.array(_declared("position_limits", config.position_limits, features), np.float64).T
    if config.velocity_limits is not None:
        velocity = np.array(_declared("velocity_limits", config.velocity_limits, features))
    if config.jump_limits is not None:
        jump = np.array(_declared("jump_limits", config.jump_limits, features))
    bounds = {"lower": lower, "upper": upper, "velocity": velocity, "jump": jump, "lead": lead}
    return Limits(**{name: _bounds(np.where(free, np.nan, values)) for name, values in bounds.items()})


@cache
def _say_older() -> None:
    """Once a process, however many policies it loads."""
    _log.warning(
        "the checkpoint is from before limits were learned: positions are limited where its statistics have them, "
        "velocities and jumps are not (policy.velocity_limits and policy.jump_limits declare them)"
    )


def _alarm(config: PolicyConfig, features: Features, statistics: Statistics) -> AlarmSettings:
    def ranges(key: str, names: tuple[str, ...]) -> tuple[Range, ...]:
        found = _ranges(key, names, config, features, statistics, config.alarm_margin, spread_constant=True)
        return tuple((float(low), float(high)) if np.isfinite([low, high]).all() else None for low, high in found)

    return AlarmSettings(
        action=config.on_alarm,
        state=ranges(keys.STATE, features.state_names),
        environment_state=ranges(keys.ENVIRONMENT_STATE, features.environment_names),
    )


def _ranges(
    key: str,
    names: tuple[str, ...],
    config: PolicyConfig,
    features: Features,
    statistics: Statistics,
    margin: float,
    *,
    spread_constant: bool = False,
) -> np.ndarray:
    """Return (D, 2): the 1 % to 99 % range widened by a margin, but what was recorded; nan where not known.

    Of what was recorded the one episode that goes furthest does not count (`robot_statistics`). A constant dimension
    stays as it is; with `spread_constant` it may differ by 1, which is what the normaliser makes a deviation of 1 of
    it.
    """
    ranges = np.full((len(names), 2), np.nan)
    of = statistics.get(f"{ROBOT}{key}", statistics.get(key))
    if of is None:
        return ranges
    columns = names
    if f"{ROBOT}{key}" not in statistics and "frame" in config.conditioning:  # what the network saw: a few are alike
        seen = network_features(config, features)
        columns = {keys.STATE: seen.state_names, keys.ACTION: seen.action_names}.get(key, seen.environment_names)
    lowest, highest = (statistics.get(f"{ROBOT}{key}{end}") for end in (LOW, HIGH))
    recorded = (of.min if lowest is None else lowest.min, of.max if highest is None else highest.max)
    least, most, q01, q99 = (np.where(np.isfinite(end), end, np.nan) for end in (*recorded, of.q01, of.q99))
    span = np.where(most - least < config.narrowest, float(spread_constant) / (margin or 1), q99 - q01)
    low = np.minimum(q01 - margin * span, least)
    high = np.maximum(q99 + margin * span, most)
    for place, name in enumerate(names):
        if name in columns:
            ranges[place] = low[columns.index(name)], high[columns.index(name)]
    return ranges


def _largest(of: VectorStatistics) -> np.ndarray:
    """Of each episode's largest, what all but one in a hundred stay below; the largest of all where that is 0.

    So a dimension that moves in few episodes may still move.
    """
    return np.where(of.q99 > 0, of.q99, of.max)


def _declared(option: str, values: tuple, features: Features) -> tuple:
    if len(values) != features.action_dim:
        raise ConfigError(
            f"policy.{option} has {len(values)} entries, the action has {features.action_dim} dimensions: "
            f"{', '.join(features.action_names)}"
        )
    return values


def _bounds(values: np.ndarray) -> Bounds:
    return tuple(float(value) if np.isfinite(value) else None for value in values)
