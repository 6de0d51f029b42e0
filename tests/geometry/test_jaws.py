"""Is the arm's `gripper_closed` between open and closed? Grippers whose levels are known, and what is only noise."""

import re
from dataclasses import replace

import numpy as np
import pytest

from foreact.geometry.jaws import find_misplaced, two_levels
from foreact.records import Arm

IDENTITY = (1.0, 0.0, 0.0, 0.0)
ARM = Arm(
    joints=("base.pos",),
    positions=((0.0, 0.0, 0.1),),
    quaternions=(IDENTITY,),
    axes=((0.0, 0.0, 1.0),),
    limits=((-3.0, 3.0),),
    hand_position=(0.15, 0.0, 0.0),
    hand_quaternion=IDENTITY,
    gripper="gripper.pos",
    gripper_closed=20.0,
)


def recorded(*stays: tuple[float, int]) -> np.ndarray:
    """A gripper that stays at levels for so many frames, with ramps of five frames and an encoder's noise."""
    parts = [np.full(frames, level) for level, frames in stays]
    for at in range(len(stays) - 1, 0, -1):
        parts.insert(at, np.linspace(stays[at - 1][0], stays[at][0], 5))
    values = np.concatenate(parts)
    return values + np.random.default_rng(0).normal(0, 0.1, len(values)).clip(-0.1, 0.1)


GRASP = recorded((60, 120), (10, 150), (60, 40))


@pytest.mark.parametrize("threshold", [11.0, 20.0, 59.0])
def test_a_value_that_the_gripper_passes_is_right(threshold: float) -> None:
    assert find_misplaced(replace(ARM, gripper_closed=threshold), GRASP) is None


@pytest.mark.parametrize(
    ("threshold", "verdict"),
    [
        (0.3, "the jaws never count as closed"),
        (-100.0, "the jaws never count as closed"),
        (70.0, "the jaws always count as closed"),
    ],
)
def test_a_value_that_it_never_passes_is_named_with_the_range_and_one_that_it_does(
    threshold: float, verdict: str
) -> None:
    """By hand: half-way between 10 and 60 is 35."""
    found = find_misplaced(replace(ARM, gripper_closed=threshold), GRASP)
    assert found is not None
    assert verdict in found.said
    assert f"gripper_closed is {threshold:g}" in found.said
    assert "'gripper.pos' is between 9.9 and 60.1" in found.said
    assert found.levels == pytest.approx((10, 60), abs=0.1)
    assert found.proposed == pytest.approx(35, abs=0.1)
    assert re.match(
        r"set gripper_closed to 3[45]\S*, halfway between its levels (10|9.9)\S* and (60|59.9)", found.remedy
    )


def test_few_frames_with_closed_jaws_are_enough() -> None:
    """One in fifty: a set of which most grasps failed."""
    assert find_misplaced(ARM, recorded((60, 980), (10, 20))) is None


def test_a_glitch_of_the_encoder_is_no_closing() -> None:
    values = np.concatenate([GRASP + 20] * 10)
    values[700] = 0.0
    found = find_misplaced(ARM, values)
    assert found is not None
    assert found.proposed == pytest.approx(55, abs=0.1)


def test_jaws_that_rest_between_the_levels_do_not_draw_the_proposal_to_them() -> None:
    """Shut at the start, then opened, then around the block: what counts is between holding and open."""
    found = find_misplaced(replace(ARM, gripper_closed=100), recorded((0, 40), (60, 100), (30, 180)))
    assert found is not None
    assert found.proposed == pytest.approx(45, abs=0.5)


def test_jaws_that_do_not_move_are_never_closed_for_a_reason_but_not_always_closed() -> None:
    """Something is pushed: no value is right but one below all, and with one above the hand is never told the cue."""
    noise = recorded((25, 300))
    assert two_levels(noise) is None
    assert find_misplaced(ARM, noise) is None
    found = find_misplaced(replace(ARM, gripper_closed=30.0), noise)
    assert found is not None
    assert found.proposed is None
    assert "set gripper_closed below 24.9" in found.remedy


def test_noise_around_zero_is_one_level_however_small_the_level() -> None:
    assert two_levels(np.random.default_rng(1).normal(0, 0.1, 3000)) is None


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [25.0], [25.0, 25.0]])
def test_values_that_are_not_there_or_stand_still_tell_nothing(values: list[float]) -> None:
    assert two_levels(np.array(values)) is None
    assert find_misplaced(ARM, np.array(values)) is None
