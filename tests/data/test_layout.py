"""What most episodes hold is what the data set holds: by hand."""

import pytest

from foreact.data.layout import Layout, usual_layout
from foreact.data.lookup import spread_evenly

WHOLE: Layout = {"qpos": (14,), "high": (48, 64), "wrist": (32, 32)}
BLIND: Layout = {"qpos": (14,)}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_odd_episode_does_not_decide_wherever_it_stands(place: int) -> None:
    layouts = [WHOLE, WHOLE]
    layouts.insert(place, BLIND)
    assert list(usual_layout(layouts, "x").items()) == list(WHOLE.items())


def test_of_two_equal_halves_the_larger_set_counts() -> None:
    assert usual_layout([BLIND, WHOLE], "x") == WHOLE
    assert usual_layout([{"qpos": (7,)}, BLIND], "x") == BLIND


def test_what_fewer_than_half_have_is_left_out_and_pictures_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    layouts = [BLIND, BLIND, WHOLE, {**BLIND, "effort": (14,)}]
    assert usual_layout(layouts, "'set'") == BLIND
    warnings = capsys.readouterr().err.splitlines()
    assert warnings == [f"warning: 'set': only 1 of 4 episodes have '{name}', so it is left out" for name in WHOLE][1:]


def test_each_camera_counts_by_itself() -> None:
    """Seven of ten have either camera, though only four have both."""
    no_high, no_wrist = ({name: WHOLE[name] for name in WHOLE if name != without} for without in ("high", "wrist"))
    assert usual_layout([no_high] * 3 + [no_wrist] * 3 + [WHOLE] * 4, "x") == WHOLE


def test_the_most_frequent_size_counts_and_one_that_can_be_seen_before_others() -> None:
    small, unseen = {**WHOLE, "high": (24, 32)}, {**WHOLE, "high": ()}
    assert usual_layout([small, WHOLE, WHOLE], "x") == WHOLE
    assert usual_layout([unseen, unseen, small], "x") == small
    assert usual_layout([unseen], "x") == unseen


@pytest.mark.parametrize(("n", "expected"), [(2, (3, 9)), (3, (3, 6, 9)), (4, (3, 5, 7, 9)), (9, tuple(range(3, 10)))])
def test_some_of_many_are_spread_over_all(n: int, expected: tuple[int, ...]) -> None:
    assert spread_evenly(range(3, 10), n) == expected
