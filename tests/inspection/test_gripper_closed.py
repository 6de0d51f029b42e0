"""The arm's `gripper_closed` in a real recording, and what a wrong one does to what hangs on it."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from foreact.inspection.report import Report, inspect
from foreact.records import Episode, Features
from inspection.made_up import MadeUpSource, clean


def with_arm(features: Features, **changes: object) -> Features:
    assert features.arm is not None
    return replace(features, arm=replace(features.arm, **changes))  # type: ignore[arg-type]


def asked(episodes: Mapping[int, Episode], features: Features) -> Report:
    source = MadeUpSource(
        episodes=dict(episodes), features=features, seed=0, scenes={index: index for index in episodes}
    )
    return inspect(source.settle(), frames=0)


def with_gripper(source: MadeUpSource, edit: Callable[[np.ndarray], np.ndarray], n: int) -> dict[int, Episode]:
    """The episodes with other values of the gripper, the last dimension, in the first so many of them."""

    def changed(state: np.ndarray | None) -> np.ndarray:
        assert state is not None
        return np.column_stack([state[:, :-1], edit(state[:, -1])]).astype(np.float32)

    return {i: replace(of, state=changed(of.state)) if i < n else of for i, of in source.episodes.items()}


@pytest.mark.parametrize(("wrong", "verdict"), [(-1.0, "never"), (0.0, "never"), (0.6, "always"), (20.0, "always")])
def test_a_value_that_the_gripper_never_passes_is_a_fault_with_the_one_to_take(
    recorded: MadeUpSource, wrong: float, verdict: str
) -> None:
    """The simulated jaws are at 0.5 rad when open, and the recording says which value is right."""
    answer = asked(recorded.episodes, with_arm(recorded.features, gripper_closed=wrong)).finding("gripper")
    assert answer.severity == "fault"
    assert f"the jaws {verdict} count as closed" in answer.verdict
    assert f"gripper_closed is {wrong:g}, and 'gripper.pos' is between 0." in answer.verdict
    for where in ("robot.yaml", "foreact convert", "--calibration", "meta/foreact.json"):
        assert where in answer.remedy
    low, high = answer.evidence["range"]
    proposed = answer.evidence["proposed"]
    assert f"set gripper_closed to {proposed:.4g}" in answer.remedy
    assert low < proposed < high
    mended = asked(recorded.episodes, with_arm(recorded.features, gripper_closed=proposed))
    assert mended.finding("gripper").severity == "fine"
    assert mended.finding("coordinates").severity == "fine"


def test_the_right_value_stays_fine_and_says_when_it_closes(recorded: MadeUpSource) -> None:
    answer = inspect(recorded, frames=0).finding("gripper")
    assert answer.severity == "fine"
    assert "it closes 1 time an episode, first after" in answer.verdict


@pytest.mark.parametrize("wrong", [0.0, 20.0])
def test_coordinates_that_no_closing_is_held_against_are_not_called_fine(recorded: MadeUpSource, wrong: float) -> None:
    answer = asked(recorded.episodes, with_arm(recorded.features, gripper_closed=wrong)).finding("coordinates")
    assert answer.severity == "note"
    assert "not held against where the hand closes: the gripper closes in no episode" in answer.verdict
    assert "overhead has them in its picture in 100 %" in answer.verdict


def test_coordinates_of_an_unknown_arm_are_not_called_fine_either(recorded: MadeUpSource) -> None:
    answer = asked(recorded.episodes, replace(recorded.features, arm=None)).finding("coordinates")
    assert answer.severity == "note"
    assert "not held against where the hand closes: the arm's kinematics are not known" in answer.verdict


def test_a_few_episodes_that_never_close_are_no_wrong_value(recorded: MadeUpSource) -> None:
    episodes = with_gripper(recorded, lambda values: np.maximum(values, 0.5), n=3)
    report = asked(episodes, recorded.features)
    answer = report.finding("gripper")
    assert answer.severity == "warning"
    assert "never in episodes 0, 1 and 2" in answer.verdict
    assert "median of 7" in report.finding("coordinates").verdict


def test_episodes_that_only_open_are_not_accused(recorded: MadeUpSource) -> None:
    """Something is handed over and put down: closed at first, open at the end."""
    episodes = with_gripper(recorded, lambda values: np.linspace(0.1, 0.5, len(values)).round(1), n=10)
    assert asked(episodes, recorded.features).finding("gripper").severity == "fine"


def test_jaws_that_do_not_move_are_only_accused_of_being_always_closed(recorded: MadeUpSource) -> None:
    """A closed gripper pushes something: conditioning `frame` would never tell it where."""
    noise = np.random.default_rng(0)
    episodes = with_gripper(recorded, lambda values: 0.1 + noise.normal(0, 0.001, len(values)), n=10)
    always = asked(episodes, recorded.features).finding("gripper")
    assert always.severity == "warning"
    assert "always count as closed" in always.verdict
    assert "set gripper_closed below 0.09" in always.remedy
    assert asked(episodes, with_arm(recorded.features, gripper_closed=0.0)).finding("gripper").severity == "fine"


def test_a_gripper_that_the_state_does_not_have_tells_nothing() -> None:
    """The action's is judged by its own range then, as before."""
    source = clean(3, n_episodes=8)
    names = ("pan", "lift", "elbow", "roll", "unnamed")
    features = with_arm(replace(source.features, state_names=names), gripper_closed=-5.0)
    assert asked(source.episodes, features).finding("gripper").severity == "fine"
