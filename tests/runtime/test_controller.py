"""One robot's side of a policy: where the arm cannot follow, and where several actions come of one observation."""

import logging
from typing import Any

import numpy as np
import pytest

from foreact_runtime.alarm import AlarmSettings
from foreact_runtime.controller import Controller
from foreact_runtime.errors import UnreachableError
from foreact_runtime.limits import Limits
from foreact_runtime.observation import Observation
from foreact_runtime.records import Features
from foreact_runtime.settings import ExecutorSettings

FEATURES = Features(action_names=("pan", "lift"), state_names=("lift", "pan"), fps=10)


def ramp(observation: Observation) -> np.ndarray:
    """From where the arm is, 1 a tick."""
    lift, pan = observation["observation.state"]
    return np.array([pan, lift]) + np.arange(1, 7)[:, None]


def controller(features: Features = FEATURES, **options: Any) -> Controller:
    return Controller(ramp, ExecutorSettings(chunk_size=6, n_action_steps=3, **options), features)


def seen(lift: float, pan: float) -> Observation:
    return {"observation.state": np.array([lift, pan], np.float32)}


def out_of_reach_in(of: Controller, ticks: set[int]) -> None:
    """Make the arm too short in some ticks, where the executor's inverse kinematics would say so."""
    inner = of.executor._executor
    next_action, count = inner.next_action, iter(range(100))

    def reach() -> np.ndarray:
        action = next_action()
        if next(count) in ticks:
            raise UnreachableError("too far")
        return action

    inner.next_action = reach  # type: ignore[method-assign]


def test_an_arm_that_cannot_follow_stays_where_it_is_and_that_is_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    of = controller(limits=Limits(lead=(0.5, 0.5)))
    out_of_reach_in(of, {0, 2})
    actions = np.stack([of.act(seen(10, 20)) for _ in range(4)])
    # Not yet told anything, it is told where it is measured; what comes next leads from there by half a unit at most.
    np.testing.assert_allclose(actions, np.array([[20, 10], [20.5, 10.5], [20.5, 10.5], [21, 11]]))
    assert of.unreachable == 2
    assert [text for text in caplog.messages if "too far" in text] == [
        "too far; the arm stays where it is (1 times so far)",
        "too far; the arm stays where it is (2 times so far)",
    ]


def test_it_is_an_error_only_where_nothing_says_where_the_arm_is() -> None:
    of = controller(Features(action_names=("pan", "gripper"), state_names=("lift", "pan"), fps=10))
    out_of_reach_in(of, {0, 2})
    with pytest.raises(UnreachableError, match="too far"):
        of.act(seen(10, 20))
    assert of.act(seen(10, 20)).tolist() == of.act(seen(10, 20)).tolist()


def test_several_actions_of_one_observation_are_those_of_as_many_ticks_but_one_alarm() -> None:
    alarm, limits = AlarmSettings(action="warn", state=((-5.0, 5.0), None)), Limits(velocity=(7.0, None))
    ahead, ticks = (controller(alarm=alarm, limits=limits) for _ in range(2))
    np.testing.assert_array_equal(ahead.act_ahead(seen(10, 20), 3), [ticks.act(seen(10, 20)) for _ in range(3)])
    assert ahead._alarm.counts.tolist() == [1, 0]
    assert ticks._alarm.counts.tolist() == [3, 0]
    held = controller(alarm=AlarmSettings(action="hold", state=((-5.0, 5.0), None)))
    assert held.act_ahead(seen(10, 20), 3).tolist() == [[20, 10]] * 3
