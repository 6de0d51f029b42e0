"""Still frames at an episode's ends, by hand."""

import numpy as np
import pytest

from foreact.data.trim import moving_part, still_tolerances
from foreact.records import Episode

RANGES = {key: np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 0.0]]) for key in ("observation.state", "action")}


def episode(action: np.ndarray, state: np.ndarray | None = None) -> Episode:
    def three(values: np.ndarray) -> np.ndarray:
        return np.stack([values, np.zeros_like(values), np.full_like(values, 5.0)], axis=1).astype(np.float32)

    return Episode(index=0, task="go", action=three(action), state=None if state is None else three(state))


def test_a_dimension_is_still_within_two_percent_of_its_range_or_of_the_middle_one() -> None:
    tolerances = still_tolerances({**RANGES, "observation.environment_state": np.ones((2, 2))})
    assert tolerances.keys() == {"observation.state", "action"}, "coordinates do not move"
    np.testing.assert_allclose(tolerances["action"], [0.02, 0.04, 0.02])


@pytest.mark.parametrize(("margin", "expected"), [(0, (4, 8)), (1, (3, 9)), (3, (1, 11)), (9, (0, 12))])
def test_still_frames_at_the_ends_are_cut_but_for_a_margin(margin: int, expected: tuple[int, int]) -> None:
    """Frames 0 to 3 are still, 4 is the first that has moved; 8 to 11 are as the last, 7 is the last that is not."""
    action = np.array([0, 0.01, 0.0, 0.015, 0.3, 0.5, 0.5, 0.7, 1.0, 1.0, 0.99, 1.0])
    assert moving_part(episode(action), still_tolerances(RANGES), margin) == expected


def test_the_state_counts_as_much_as_the_action() -> None:
    action = np.array([0, 0, 0, 0.5, 1, 1, 1, 1])
    state = np.array([0, 0, 0, 0.0, 0.5, 0.9, 1, 1])  # it follows and arrives later
    assert moving_part(episode(action), still_tolerances(RANGES), 0) == (3, 4)
    assert moving_part(episode(action, state), still_tolerances(RANGES), 0) == (3, 6)


def test_stillness_in_the_middle_stays() -> None:
    action = np.concatenate([[0, 0.5], np.full(30, 0.5), [1.0, 1.0]])
    assert moving_part(episode(action), still_tolerances(RANGES), 0) == (1, 32)


def test_a_slow_start_is_not_taken_for_stillness_for_long() -> None:
    """A hundredth of the range a frame: two frames are within two percent, whatever the length of the start."""
    action = np.linspace(0, 1, 101)
    assert moving_part(episode(action), still_tolerances(RANGES), 0)[0] in (2, 3)


def test_an_episode_without_movement_is_kept_whole() -> None:
    assert moving_part(episode(np.full(20, 0.3)), still_tolerances(RANGES), 2) == (0, 20)
