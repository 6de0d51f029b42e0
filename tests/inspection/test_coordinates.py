"""Coordinates that a real recording has, and what becomes of them by the usual mistakes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from foreact.finding import Finding
from foreact.inspection.report import inspect
from foreact.records import Features
from inspection.conftest import EPISODES
from inspection.made_up import MadeUpSource

Change = Callable[[np.ndarray], np.ndarray]


def asked(source: MadeUpSource, change: Change, *, features: Features | None = None, first: int = EPISODES) -> Finding:
    """Return the answer for coordinates changed in the first so many episodes."""
    episodes = {
        index: replace(of, environment_state=change(of.environment_state).astype(np.float32)) if index < first else of
        for index, of in source.episodes.items()
        if of.environment_state is not None
    }
    changed = MadeUpSource(
        episodes=episodes, features=features or source.features, seed=0, scenes=dict(enumerate(range(EPISODES)))
    ).settle()
    return inspect(changed, frames=0).finding("coordinates")


def test_the_hand_closes_at_the_coordinates_of_a_real_recording(recorded: MadeUpSource) -> None:
    """By hand: the cue is off by a normal error of 1 cm an axis, which is 12 mm in the median; the hand is a little."""
    answer = asked(recorded, lambda xy: xy)
    assert answer.severity == "fine"
    assert 0.004 < answer.evidence["closing_distance_m"] < 0.025
    assert answer.evidence["share_of_frames_in_view_of_overhead"] == 1


@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        (lambda xy: 1000 * xy, "in millimetres"),
        (lambda xy: 100 * xy, "in centimetres"),
        (lambda xy: xy[:, ::-1], "exchanged, y before x"),
        (lambda xy: xy * [-1, 1], "mirrored along x"),
        (lambda xy: xy * [1, -1], "mirrored along y"),
        (lambda xy: -xy, "turned by half a turn"),
        (lambda xy: xy[:, ::-1] * [-1, 1], "turned by a quarter to the left"),
        (lambda xy: xy[:, ::-1] * [1, -1], "turned by a quarter to the right"),
    ],
)
def test_a_usual_mistake_is_a_fault_and_named(recorded: MadeUpSource, mistake: Change, named: str) -> None:
    answer = asked(recorded, mistake)
    assert answer.severity == "fault"
    assert named in answer.verdict
    assert f"the coordinates are {named}" in answer.remedy


def test_coordinates_that_are_elsewhere_for_no_known_reason_are_warned_of(recorded: MadeUpSource) -> None:
    answer = asked(recorded, lambda xy: xy + 0.07)
    assert answer.severity == "warning"
    assert answer.evidence["closing_distance_m"] == pytest.approx(0.1, abs=0.02)


def test_a_few_episodes_with_others_coordinates_are_named(recorded: MadeUpSource) -> None:
    answer = asked(recorded, lambda xy: xy + 0.07, first=3)
    assert answer.severity == "warning"
    assert answer.evidence["episodes"] == [0, 1, 2]
    assert "episodes 0, 1 and 2" in answer.verdict


def test_a_camera_that_sees_none_of_them_is_named(recorded: MadeUpSource) -> None:
    (camera,) = recorded.features.cameras
    assert camera.calibration is not None
    aside = replace(camera, calibration=replace(camera.calibration, position=(5.0, 5.0, 1.0)))
    answer = asked(recorded, lambda xy: xy, features=replace(recorded.features, cameras=(aside,)))
    assert answer.severity == "warning"
    assert "overhead has them in its picture in 0 % of the frames" in answer.verdict
    assert "calibration of overhead" in answer.remedy


def test_where_no_camera_is_calibrated_coordinates_may_mean_anything(recorded: MadeUpSource) -> None:
    (camera,) = recorded.features.cameras
    features = replace(recorded.features, cameras=(replace(camera, calibration=None),))
    answer = asked(recorded, lambda xy: 1000 * xy, features=features)
    assert answer.severity == "note"
    assert "no camera is calibrated" in answer.verdict


def test_an_answer_says_millimetres_of_lengths_below_a_metre(recorded: MadeUpSource) -> None:
    answer = asked(recorded, lambda xy: 1000 * xy)
    usual = answer.evidence["closing_distance_m"]
    assert f"closes {usual:.3g} m (median of {EPISODES})" in answer.verdict
    assert " mm" in answer.verdict
