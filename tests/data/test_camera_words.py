"""Where a camera stands, in words and in doubt."""

from dataclasses import replace

import numpy as np
import pytest

from data.cameras import looking
from foreact.data.calibration import quaternion_of
from foreact.data.camera_words import doubtful_place, place_in_words
from foreact.records import Calibration


def facing(position: tuple[float, float, float], forward: np.ndarray, right: np.ndarray) -> Calibration:
    """A camera by the directions of its axis and of its picture's right side."""
    turn = np.stack([right, np.cross(forward, right), forward], axis=1)
    return replace(looking(position, (0.2, 0.0, 0.0)), quaternion=quaternion_of(turn))


def test_a_camera_before_the_base_looks_back_and_down_at_the_table() -> None:
    """3-4-5: from 0.4 m above, 0.3 m along the table; 53 degrees."""
    camera = facing((0.5, -0.02, 0.4), np.array([-0.6, 0.0, -0.8]), np.array([0.0, 1.0, 0.0]))
    assert place_in_words(camera) == (
        "seen from the arm: 0.50 m in front of the base, 0.02 m to the right, 0.40 m above the table; looks back, "
        "53 degrees downwards, at the table 0.20 m in front of the base, 0.02 m to the right; the top of its picture "
        "points back"
    )
    assert doubtful_place(camera) is None


def test_a_camera_straight_above_says_by_the_top_of_its_picture_how_it_is_turned() -> None:
    for right, top in ((-1.0, "forward"), (1.0, "back")):
        camera = facing((0.2, 0.05, 0.6), np.array([0.0, 0.0, -1.0]), np.array([0.0, right, 0.0]))
        assert place_in_words(camera) == (
            "seen from the arm: 0.20 m in front of the base, 0.05 m to the left, 0.60 m above the table; looks "
            f"straight down, at the table 0.20 m in front of the base, 0.05 m to the left; the top of its "
            f"picture points {top}"
        )


def test_a_camera_at_the_side_that_looks_ahead_meets_no_table() -> None:
    level = facing((-0.1, 0.3, 0.2), np.array([0.0, -1.0, 0.0]), np.array([-1.0, 0.0, 0.0]))
    assert place_in_words(level) == (
        "seen from the arm: 0.10 m behind the base, 0.30 m to the left, 0.20 m above the table; looks to the right, "
        "level"
    )
    below = facing((0.3, 0.0, -0.2), np.array([0.6, 0.0, 0.8]), np.array([0.0, -1.0, 0.0]))
    assert place_in_words(below).endswith(
        "0.20 m below the table; looks forward, 53 degrees upwards, at the table 0.45 m in front of the base, 0.00 m "
        "to the left; the top of its picture points back"
    )


@pytest.mark.parametrize(
    ("position", "doubt"),
    [
        ((0.01, 0.3, 0.01), None),
        ((-0.1, 0.3, 0.2), "behind the base (x = -0.100 m)"),
        ((0.3, -0.1, -0.2), "below the table (z = -0.200 m)"),
        ((-0.3, 0.0, -0.2), "behind the base (x = -0.300 m) and below the table (z = -0.200 m)"),
    ],
)
def test_a_place_where_a_camera_hardly_is_is_named(position: tuple[float, float, float], doubt: str | None) -> None:
    assert doubtful_place(looking(position, (0.2, 0.0, 0.0))) == doubt
