import math
from dataclasses import replace

import numpy as np
import pytest

from foreact.sim.outcome import OUTCOMES, Facts, Outcome, OutcomeTracker, closing_offsets

START = Facts(
    target_in_bowl=False,
    confuser_in_bowl=False,
    target_lift=0.0,
    confuser_lift=0.0,
    target_held=False,
    at_rest=True,
    gripper_open=True,
    release_commanded=True,
)
HELD = replace(START, target_lift=0.05, target_held=True, at_rest=False, gripper_open=False, release_commanded=False)
LOST = replace(HELD, target_held=False, target_lift=0.02)
RELEASED = replace(LOST, release_commanded=True)
IN_BOWL = replace(START, target_in_bowl=True)
CONFUSER_HELD = replace(START, confuser_lift=0.05, gripper_open=False, release_commanded=False)
CONFUSER_IN_BOWL = replace(START, confuser_in_bowl=True)

STORIES: dict[Outcome, list[Facts]] = {
    "success": [START, HELD, RELEASED, IN_BOWL],
    "confuser_in_bowl": [START, CONFUSER_HELD, CONFUSER_IN_BOWL],
    "picked_confuser": [START, CONFUSER_HELD, START],
    "never_picked": [START, replace(HELD, target_lift=0.02), START],
    "dropped": [START, HELD, LOST, START],
    "missed_bowl": [START, HELD, RELEASED, START],
    "timeout": [START, HELD],
}


def tell(story: list[Facts]) -> Outcome:
    tracker = OutcomeTracker()
    for facts in story:
        outcome = tracker.update(facts)
        if outcome is not None:
            return outcome
    return tracker.judge()


def test_there_is_a_story_for_every_outcome_in_order() -> None:
    assert tuple(STORIES) == OUTCOMES


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_each_outcome_is_reached(outcome: Outcome) -> None:
    assert tell(STORIES[outcome]) == outcome


def test_only_what_lies_in_the_bowl_ends_an_episode() -> None:
    for outcome, story in STORIES.items():
        tracker = OutcomeTracker()
        final = [tracker.update(facts) for facts in story][-1]
        assert (final is not None) == (outcome in ("success", "confuser_in_bowl"))


@pytest.mark.parametrize("unfinished", [{"gripper_open": False}, {"at_rest": False}])
def test_a_target_in_the_bowl_counts_once_let_go_and_at_rest(unfinished: dict[str, bool]) -> None:
    held_back = replace(IN_BOWL, **unfinished)
    assert tell([START, HELD, held_back]) == "timeout"
    assert tell([START, HELD, held_back, IN_BOWL]) == "success"


def test_success_goes_before_a_confuser_that_lies_in_the_bowl_too() -> None:
    assert tell([HELD, replace(IN_BOWL, confuser_in_bowl=True)]) == "success"


def test_a_target_pushed_into_the_bowl_is_a_success() -> None:
    assert tell([START, IN_BOWL]) == "success"


def test_a_raised_confuser_does_not_matter_once_the_target_was_raised() -> None:
    assert tell([CONFUSER_HELD, START, HELD, LOST]) == "dropped"


def test_what_was_lost_last_counts() -> None:
    assert tell([HELD, LOST, START, HELD, RELEASED, START]) == "missed_bowl"
    assert tell([HELD, RELEASED, START, HELD, LOST, START]) == "dropped"
    assert tell([HELD, LOST, HELD]) == "timeout"


def test_opening_after_a_drop_does_not_make_it_a_release() -> None:
    assert tell([HELD, LOST, RELEASED, START]) == "dropped"


def test_closing_offsets_are_distances_in_millimetres() -> None:
    jaws, target = np.array([0.20, 0.10]), np.array([0.23, 0.14])
    confusers = np.array([[0.20, 0.00], [0.26, 0.18]])
    assert closing_offsets(jaws, target, confusers) == pytest.approx((50.0, 100.0))
    assert closing_offsets(jaws, target, np.empty((0, 2)))[1] == math.inf
