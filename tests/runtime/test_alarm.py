"""An observation far outside of the training range: nothing, a warning, a hold or an error, by choice."""

import logging

import numpy as np
import pytest

from foreact_runtime.alarm import Alarm, AlarmSettings, OnAlarm
from foreact_runtime.errors import OutOfRangeError
from foreact_runtime.records import Features

FEATURES = Features(action_names=("a",), state_names=("elbow", "wrist"), environment_names=("x",))


def alarm(action: OnAlarm) -> Alarm:
    return Alarm(AlarmSettings(action=action, state=((-1.0, 1.0), None), environment_state=((0.0, 0.5),)), FEATURES)


def check(of: Alarm, elbow: float, x: float) -> bool:
    return of.check(np.array([elbow, 1e9]), np.array([x]))


def test_within_the_ranges_nothing_happens_and_a_dimension_without_one_is_free() -> None:
    assert not check(alarm("stop"), 1.0, 0.0)


def test_off_looks_at_nothing() -> None:
    of = alarm("off")
    assert not check(of, 99.0, 99.0)
    assert of.counts.sum() == 0


def test_a_warning_names_the_dimension_its_value_and_the_range(caplog: pytest.LogCaptureFixture) -> None:
    of = alarm("warn")
    with caplog.at_level(logging.WARNING):
        assert not any(check(of, 1.5, 0.7) for _ in range(5))
    assert of.counts.tolist() == [5, 0, 5]
    assert len(caplog.messages) == 6  # each at its first, second and fourth time
    assert caplog.messages[0] == (
        "'elbow' is 1.5, far outside of the -1 to 1 that the policy knows from training (1 times so far)"
    )


def test_hold_lasts_as_long_as_the_observation_is_outside() -> None:
    of = alarm("hold")
    assert [check(of, elbow, 0.1) for elbow in (0.0, 1.1, 1.2, 0.9)] == [False, True, True, False]


def test_stop_is_an_error_that_names_the_first_dimension() -> None:
    with pytest.raises(
        OutOfRangeError, match=r"stopped: 'x' is -0.2, far outside of the 0 to 0.5 .*; check the sensor"
    ):
        check(alarm("stop"), 0.0, -0.2)


def test_what_the_policy_does_not_take_is_not_looked_at() -> None:
    features = Features(action_names=("a",), state_names=("elbow",))
    of = Alarm(AlarmSettings(action="stop", state=((-1.0, 1.0),)), features)
    assert not of.check(np.array([0.5]), None)
    assert not Alarm(AlarmSettings(action="stop"), Features(action_names=("a",))).check(None, None)
