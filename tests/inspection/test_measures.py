"""The measures behind the verdicts, each with an answer by hand."""

import numpy as np
import pytest

from foreact.inspection.alike import neighbours, same_groups
from foreact.inspection.command import LAGS, measure_command
from foreact.inspection.coverage import clusters, holes, hull, link_length
from foreact.inspection.gripper import GripperDimension, measure_gripper
from foreact.inspection.looks import block_means, look_at
from foreact.inspection.ranges import measure_reach, runs
from foreact.inspection.scale import Scale, spread_evenly
from foreact.inspection.timing import idle_tolerances, measure_idle
from foreact.inspection.words import episode_ranges
from foreact.records import Episode


def scale(dims: int, step: float = 1.0) -> Scale:
    ones = np.ones(dims)
    return Scale(low=0 * ones, high=10 * ones, mean=0 * ones, std=ones, step=step * ones)


def test_runs_are_the_stretches_of_true() -> None:
    assert runs(np.array([True, True, False, False, True])) == [(0, 2), (4, 5)]
    assert runs(np.zeros(3, bool)) == []


def test_a_clipped_ramp_counts_and_a_gentle_stop_does_not() -> None:
    ramp = np.minimum(np.arange(12.0), 6)[:, None]
    gentle = (10 * (1 - 0.5 ** np.arange(40.0)))[:, None]
    assert measure_reach(ramp, scale(1)).clipped_high.tolist() == [6]  # 6, 7, ... 11 are all 6
    assert measure_reach(ramp, scale(1)).clipped_low.tolist() == [1]
    assert measure_reach(gentle, scale(1)).n_clipped_high.tolist() == [0]


def test_the_largest_step_is_found_where_it_is() -> None:
    values = np.array([[0.0], [1], [2], [9], [10]])
    reach = measure_reach(values, scale(1))
    assert (reach.step[0], reach.step_at[0], reach.min[0], reach.max[0], reach.total[0]) == (7, 3, 0, 10, 22)


@pytest.mark.parametrize("lag", [-2, 0, 1, 5])
def test_the_lag_is_that_by_which_the_state_was_shifted(lag: int) -> None:
    t = np.arange(200.0)
    way = np.column_stack([np.sin(t / 9), np.cos(t / 7)])
    state = np.roll(way, lag, axis=0)[20:-20].astype(np.float32)
    episode = Episode(index=0, task="", action=way[20:-20].astype(np.float32), state=state)
    measured = measure_command(episode, [(0, 0), (1, 1)], scale(2, step=0.1))
    assert measured is not None
    assert LAGS[int(measured.distance.argmin())] == lag
    assert measured.distance.min() < 1e-5


def test_idle_frames_are_counted_at_both_ends_and_a_pause_between_is_not() -> None:
    values = np.array([0, 0, 0, 1, 2, 2, 2, 3, 4, 4], np.float32)[:, None]
    episode = Episode(index=0, task="", action=values, state=values)
    tolerances = idle_tolerances({"action": scale(1), "observation.state": scale(1)})
    idle = measure_idle(episode, tolerances)
    assert (idle.start, idle.end) == (2, 1)
    waiting = Episode(index=0, task="", action=values * 0)
    assert measure_idle(waiting, tolerances).start == 10


def test_the_gripper_closes_where_it_crosses_the_band_and_chatter_within_does_not_count() -> None:
    values = np.array([1, 0.55, 0.45, 0.52, 0.2, 0.1, 0.48, 0.55, 0.9, 0.3], np.float32)[:, None]
    gripper = GripperDimension(key="action", dim=0, name="gripper", threshold=0.5, band=0.1)
    events = measure_gripper(Episode(index=0, task="", action=values), [gripper])
    assert (events.closings, events.openings) == ((4, 9), (8,))


def test_block_means_are_the_means_of_the_blocks() -> None:
    frame = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    means = block_means(frame, (2, 3))
    np.testing.assert_allclose(means[1, 2], frame[2:, 4:].reshape(-1, 3).mean(axis=0))
    assert block_means(frame, (24, 32)).shape == (4, 6, 3)


def test_a_look_counts_black_frozen_and_doubled_frames() -> None:
    rng = np.random.default_rng(0)
    shown = [0, 1, 2, 2, 4, 5, 6, 6, 6, 6, 10, 11]
    pictures = [rng.integers(40, 200, (24, 32, 3)).astype(np.uint8) for _ in shown]
    pictures[11][:] = 0
    look = look_at(iter([pictures[i] for i in shown]), np.ones(11, bool), None, keep_picture=False)
    assert (look.n_frames, look.n_black, look.first_black) == (12, 1, 11)
    assert look.n_repeats == 1
    assert (look.frozen_run, look.frozen_at) == (3, 6)
    still = look_at(iter([pictures[i] for i in shown]), np.zeros(11, bool), 5, keep_picture=True)
    assert (still.n_frames, still.n_repeats, still.frozen_run) == (5, 0, 0)
    assert still.picture is not None


def test_clusters_are_single_linkage_components() -> None:
    points = np.array([[0, 0], [1, 0], [2, 0], [5, 0], [6, 0]], float)
    assert clusters(points, 1.1).tolist() == [0, 0, 0, 1, 1]
    assert clusters(points, 3.1).tolist() == [0] * 5


def test_chance_leaves_no_gap_in_evenly_drawn_places_or_along_a_line() -> None:
    """60 sets each of 15 to 200 places: the linking distance holds nearly all of each set together."""
    rng = np.random.default_rng(0)
    apart = 0
    for n in (15, 40, 200):
        for line in (True, False):
            for _ in range(10):
                points = rng.uniform(0, 1, (n, 2)) * ([1, 0.001] if line else [1, 0.7])
                label = clusters(points, link_length(points)[0])
                apart += int((np.bincount(label) >= max(3, 0.05 * n)).sum() > 1)
    assert apart <= 1


def test_the_hull_of_a_square_and_the_hole_in_its_middle() -> None:
    side = np.linspace(-1, 1, 9)
    ring = np.array([(x, y) for x in side for y in side if max(abs(x), abs(y)) > 0.6])
    assert {tuple(corner) for corner in hull(ring)} == {(-1, -1), (1, -1), (1, 1), (-1, 1)}
    x, y, radius = holes(ring, 1)[0]
    assert (x, y) == pytest.approx((0, 0), abs=0.04)
    assert radius == pytest.approx(0.75, abs=0.04)
    assert holes(ring[:2], 3) == []


def test_the_nearest_are_those_that_all_pairs_give() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(300, 20)).astype(np.float32)
    values[7] = values[250]
    found = neighbours(dict(enumerate(values)))
    assert found is not None
    distance = np.sqrt(((values[:, None].astype(float) - values) ** 2).mean(axis=2))
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_allclose(found.nearest, distance.min(axis=1), atol=1e-12)
    np.testing.assert_allclose(found.second, np.sort(distance, axis=1)[:, 1], atol=1e-12)
    assert same_groups(found, dict.fromkeys(range(300), 9)) == [[7, 250]]
    assert same_groups(found, {i: 9 + 9 * i for i in range(300)}) == []


def test_episode_ranges_are_what_convert_takes() -> None:
    assert episode_ranges([0, 1, 2, 5, 7, 8]) == "0:3,5,7:9"


def test_items_are_spread_evenly_with_both_ends() -> None:
    assert list(spread_evenly(range(9), 3)) == [0, 4, 8]
    assert list(spread_evenly((4, 5), 3)) == [4, 5]
