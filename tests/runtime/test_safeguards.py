"""Limits and alarm changed after training: the same as if the policy had been configured so, wherever it is done."""

import argparse
import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from foreact.cli.executor_options import ExecutorOptions
from foreact.cli.options import parse
from foreact.config import PolicyConfig
from foreact.data.statistics import robot_statistics
from foreact.errors import ConfigError
from foreact.policy.settings import executor_settings
from foreact.records import Episode, Features
from foreact_runtime.executor_arguments import add_executor_arguments, executor_overrides
from foreact_runtime.settings import ExecutorSettings, settings_from_dict

FEATURES = Features(
    action_names=("pan", "lift", "gripper"), state_names=("lift", "pan"), environment_names=("x",), fps=10
)


def episode(index: int) -> Episode:
    """Pan and gripper wander, lift is constant."""
    rng = np.random.default_rng(index)
    action = rng.normal(0, 0.1, (20, 3)).cumsum(axis=0).astype(np.float32)
    action[:, 1] = 0.3
    state = action[:, [1, 0]] + rng.normal(0, 0.01, (20, 2)).astype(np.float32)
    return Episode(index=index, task="", action=action, state=state, environment_state=np.full((20, 1), index * 0.1))


def settings(**options: Any) -> ExecutorSettings:
    config = replace(PolicyConfig(chunk_size=4, n_action_steps=2, binary_actions=("gripper",)), **options)
    return executor_settings(config, FEATURES, robot_statistics([episode(i) for i in range(12)], FEATURES))


@pytest.mark.parametrize(
    "options",
    [
        {"limit_margin": None},
        {"limit_margin": 0.1, "on_alarm": "stop"},
        {"alarm_margin": 2.0},
        {"velocity_limits": (1.0, float("inf"), 3.0), "jump_limits": (0.5, 0.5, 0.5), "limit_margin": None},
        {"position_limits": ((-1.0, 1.0), (0.0, float("inf")), (-1.0, 1.0))},
        {"n_action_steps": 1, "temporal_ensemble_coeff": 0.1},
        {"asynchronous": True, "blend_steps": 1, "on_alarm": "hold"},
    ],
)
def test_a_bundle_changed_is_the_bundle_of_a_policy_that_was_configured_so(options: dict[str, Any]) -> None:
    stored = settings_from_dict(json.loads(json.dumps(asdict(settings()), allow_nan=False)))
    assert stored == settings()
    assert stored.changed(options) == settings(**options)


def test_a_change_of_one_margin_keeps_what_was_declared_and_the_alarm() -> None:
    declared = settings(velocity_limits=(1.0, 2.0, 3.0), on_alarm="stop")
    changed = declared.changed({"limit_margin": None})
    assert changed.limits.velocity == (1.0, 2.0, None)  # binary dimensions have no limits
    assert changed.limits.lower == (None, None, None)
    assert changed.alarm == declared.alarm


def test_a_bundle_from_before_has_its_alarm_changed_but_not_its_limits() -> None:
    old = asdict(settings())
    del old["safeguards"]
    of = settings_from_dict(json.loads(json.dumps(old)))
    assert of.limits == settings().limits
    assert of.changed({"on_alarm": "stop"}).alarm == settings(on_alarm="stop").alarm
    with pytest.raises(ConfigError, match="'limit_margin' cannot be changed in a bundle from before it was kept"):
        of.changed({"limit_margin": 0.1, "on_alarm": "stop"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_size": 3}, "'chunk_size' cannot be changed in a bundle; these can: n_action_steps"),
        ({"n_action_steps": 5}, "n_action_steps is 5; it must be 1 to 4"),
        ({"blend_steps": -1}, "blend_steps is -1; it must not be negative"),
        ({"blend_steps": 4}, "blend_steps is 4; it must be at most 3, one less than a chunk has actions"),
        ({"temporal_ensemble_coeff": 0.1}, "temporal_ensemble_coeff needs n_action_steps 1, not 2"),
        ({"limit_margin": -0.1}, r"limit_margin is -0\.1; it must not be negative"),
        ({"alarm_margin": float("nan")}, "alarm_margin is nan; it must not be negative"),
        ({"on_alarm": "scream"}, "unknown value of on_alarm 'scream'"),
        ({"velocity_limits": (1.0,)}, "velocity_limits has 1 entries, the action has 3 dimensions"),
        ({"jump_limits": (1.0, 0.0, 1.0)}, "jump_limits has a 0; they must be positive"),
        ({"position_limits": ((1.0, 0.0),) * 3}, "the lower limit is the higher one"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings().changed(options)


@pytest.mark.parametrize(
    ("words", "overrides"),
    [
        ("", {}),
        ("--asynchronous --blend-steps 2", {"asynchronous": True, "blend_steps": 2}),
        ("--synchronous --no-ensemble", {"asynchronous": False, "temporal_ensemble_coeff": None}),
        ("--no-limits --on-alarm hold", {"limit_margin": None, "on_alarm": "hold"}),
        ("--limit-margin 0.2 --n-action-steps 3", {"limit_margin": 0.2, "n_action_steps": 3}),
        ("--velocity-limits 1 2.5 inf", {"velocity_limits": (1.0, 2.5, float("inf"))}),
        ("--jump-limits 0.5 0.5 0.5 --no-limits", {"jump_limits": (0.5, 0.5, 0.5), "limit_margin": None}),
        ("--position-limits -1 1 -0.5 inf", {"position_limits": ((-1.0, 1.0), (-0.5, float("inf")))}),
    ],
)
def test_both_commands_mean_the_same_by_the_same_words(words: str, overrides: dict[str, Any]) -> None:
    parser = argparse.ArgumentParser()
    add_executor_arguments(parser)
    assert executor_overrides(parser.parse_args(words.split())) == overrides
    assert parse(ExecutorOptions, words.split(), command="serve").overrides() == overrides


def test_a_lower_limit_without_an_upper_one_is_refused() -> None:
    words = ["--position-limits", "-1", "1", "-2"]
    parser = argparse.ArgumentParser()
    add_executor_arguments(parser)
    for overrides in (
        lambda: executor_overrides(parser.parse_args(words)),
        parse(ExecutorOptions, words, command="serve").overrides,
    ):
        with pytest.raises(ConfigError, match="--position-limits has 3 numbers; give two a dimension"):
            overrides()


@pytest.mark.parametrize(
    "words",
    ["--asynchronous --synchronous", "--no-limits --limit-margin 1", "--no-ensemble --temporal-ensemble-coeff 0.1"],
)
def test_words_that_contradict_each_other_are_refused(words: str) -> None:
    parser = argparse.ArgumentParser()
    add_executor_arguments(parser)
    with pytest.raises(ConfigError, match=f"{words.split()[0]} and .* contradict each other"):
        executor_overrides(parser.parse_args(words.split()))
