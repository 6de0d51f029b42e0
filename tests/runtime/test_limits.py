"""What an arm may be told, by hand: one joint, ten ticks a second."""

import logging
from itertools import pairwise

import numpy as np
import pytest

from foreact_runtime.errors import ActionError
from foreact_runtime.limits import KINDS, Limiter, Limits


def limiter(*, names: tuple[str, ...] = ("joint",), **limits: float | tuple[float | None, ...]) -> Limiter:
    bounds = {kind: of if isinstance(of, tuple) else (of,) for kind, of in limits.items()}
    return Limiter(Limits(**bounds), names, fps=10)


def sent(of: Limiter, asked: list[float], measured: float | None = None) -> list[float]:
    at = None if measured is None else np.array([measured])
    return [round(float(of.limit(np.array([a], np.float32), at)[0]), 6) for a in asked]


def counted(of: Limiter) -> dict[str, int]:
    return {kind: int(number) for kind, number in zip(KINDS, of.counts.sum(axis=1), strict=True) if number}


def test_positions_are_clipped_and_counted() -> None:
    of = limiter(lower=-1.0, upper=2.0)
    assert sent(of, [0.5, 2.5, -3.0, 2.0]) == [0.5, 2.0, -1.0, 2.0]
    assert counted(of) == {"position": 2}
    assert of.ticks == 2


def test_what_is_within_all_limits_leaves_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    bounds = {kind: (1.0,) * 4 for kind in ("upper", "velocity", "jump", "lead")}
    of = Limiter(Limits(lower=(-1.0,) * 4, **bounds), tuple("abcd"), fps=10)
    asked = (0.5 + np.cumsum(rng.uniform(-0.01, 0.01, (50, 4)), axis=0)).astype(np.float32)
    for row in asked:
        out = of.limit(row, measured=np.full(4, 0.4))
        assert out.dtype == np.float32
        assert out.tobytes() == row.tobytes()
    assert of.ticks == 0


def test_velocity_is_relative_to_what_was_sent_not_to_what_was_asked_for() -> None:
    of = limiter(velocity=1.0)  # 0.1 a tick
    assert sent(of, [0.0, 1.0, 1.0, 0.25, 0.25]) == [0.0, 0.1, 0.2, 0.25, 0.25]
    assert counted(of) == {"velocity": 2}


def test_a_jump_is_a_sudden_start_and_stopping_is_always_allowed() -> None:
    of = limiter(jump=0.5)  # 0.05 a tick more than the tick before
    assert sent(of, [0.0, 1.0, 1.0, 1.0]) == [0.0, 0.05, 0.15, 0.3]
    assert sent(of, [0.3]) == [0.3]  # from full speed to a halt at once
    assert sent(of, [0.0]) == [0.25]  # the other way it starts from rest again
    assert counted(of) == {"jump": 4}


def test_no_limit_carries_a_command_beyond_what_was_asked_for() -> None:
    rng = np.random.default_rng(1)
    of = limiter(lower=-1.0, upper=1.0, velocity=2.0, jump=0.7)
    asked = rng.uniform(-1, 1, 300)
    out = [asked[0], *sent(of, asked.tolist())[0:]]
    for goal, (before, after) in zip(asked, pairwise(out), strict=True):
        assert min(before, goal) - 1e-5 <= after <= max(before, goal) + 1e-5
    steps = np.diff(out[1:])
    assert np.abs(steps).max() <= 0.2 + 1e-5


def test_the_first_action_is_limited_relative_to_where_the_arm_is_and_later_ones_are_not() -> None:
    of = limiter(lead=0.3)
    assert sent(of, [1.0, 5.0], measured=0.1) == [0.4, 5.0]
    of.reset()
    assert sent(of, [-1.0], measured=0.1) == [-0.2]
    assert counted(of) == {"lead": 2}  # the counts go on
    of.reset()
    assert sent(of, [1.0]) == [1.0]  # nobody knows where it is
    of.reset()
    assert sent(of, [1.0], measured=np.nan) == [1.0]


def test_an_arm_that_begins_outside_of_its_range_is_led_back_as_fast_as_it_may_go() -> None:
    of = limiter(lower=0.0, upper=1.0, lead=0.2, velocity=3.0)
    assert sent(of, [0.5, 0.5, 0.5, 0.5], measured=2.0) == [1.8, 1.5, 1.2, 0.9]


def test_after_a_hold_it_starts_from_rest() -> None:
    of = limiter(jump=0.5)
    sent(of, [0.0, 1.0, 1.0])  # 0.1 a tick by now
    of.hold()
    assert sent(of, [1.0]) == [0.2]


def test_a_pinned_dimension_stays_and_is_counted_apart(caplog: pytest.LogCaptureFixture) -> None:
    """What a network predicts of a constant wavers, so that nearly every tick is one: no reason for a warning."""
    caplog.set_level(logging.DEBUG)
    of = Limiter(Limits(lower=(0.7, None), upper=(0.7, 8.0)), ("base", "free"), fps=10)
    for free in (7.0, 7.0, 7.0, 9.0):
        out = of.limit(np.array([0.71, free], np.float32))
        assert out.tolist() == pytest.approx([0.7, min(free, 8.0)])
    of.limit(np.array([0.7, 7.0], np.float32))
    assert of.pinned.tolist() == [4, 0]
    assert of.counts.sum(axis=0).tolist() == [0, 1]
    assert of.ticks == 1
    base = [(record.levelname, record.getMessage()) for record in caplog.records if "'base'" in record.message]
    assert [level for level, _ in base] == ["INFO", "INFO", "DEBUG", "INFO"]
    assert base[2][1] == "limited 'base': asked 0.71, sent 0.7 (pinned, 3 times so far)"


def test_no_limits_change_nothing() -> None:
    of = Limiter(Limits(), ("a", "b"), fps=10)
    for value in (0.0, 1e6, -1e6):
        assert of.limit(np.full(2, value, np.float32)).tolist() == [value, value]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_action_that_is_not_a_number_never_leaves(value: float) -> None:
    of = limiter(names=("a", "b"))
    with pytest.raises(ActionError, match=r"the policy asks for 'b' to be (nan|inf): .*; hold the arm and check them"):
        of.limit(np.array([0.0, value]))


def test_the_log_names_joint_asked_and_sent_and_soon_says_it_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    of = Limiter(Limits(upper=(1.0, None)), ("elbow", "wrist"), fps=10)
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            of.limit(np.array([1.5, 7.0]))
    assert len(caplog.messages) == 7  # at 1, 2, 4, 8, 16, 32, 64
    assert caplog.messages[0] == "limited 'elbow': asked 1.5, sent 1 (position limit, 1 times so far)"
    assert of.counts.sum() == of.ticks == 100


def test_every_limited_action_is_in_the_log_for_who_wants_them_all(caplog: pytest.LogCaptureFixture) -> None:
    of = limiter(upper=1.0)
    with caplog.at_level(logging.DEBUG):
        sent(of, [1.5, 1.6, 1.7, 0.5, 1.8])
    asked = [message.partition("asked ")[2].partition(",")[0] for message in caplog.messages]
    assert asked == ["1.5", "1.6", "1.7", "1.8"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "DEBUG", "WARNING"]
