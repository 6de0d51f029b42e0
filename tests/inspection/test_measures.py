"""The measures behind the verdicts, each with an answer by hand."""

from dataclasses import replace

import numpy as np
import pytest

from foreact.data.dimensions import is_gripper
from foreact.data.lags import clear_minimum
from foreact.data.lookup import spread_evenly
from foreact.inspection.alike import aligned_distance, neighbours
from foreact.inspection.cameras import count_repeats
from foreact.inspection.clock import measure_clock
from foreact.inspection.command import measure_command
from foreact.inspection.coverage import clusters, holes, hull, link_length
from foreact.inspection.gripper import GripperDimension, measure_gripper
from foreact.inspection.looks import Look, block_means, look_at
from foreact.inspection.plan import plan_looks, read_window
from foreact.inspection.ranges import measure_reach, runs
from foreact.inspection.scale import Scale
from foreact.inspection.timing import idle_tolerances, measure_idle
from foreact.inspection.words import episode_ranges
from foreact.records import Episode
from inspection.made_up import FEATURES, clean


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
    measured = measure_command(episode, [(0, 0), (1, 1)], scale(2, step=0.1), fps=20.0)
    assert measured is not None
    assert measured.lags[int(measured.distance.argmin())] == lag
    assert measured.distance.min() < 1e-5
    assert measured.lag == pytest.approx(lag, abs=0.05)


def test_a_lag_between_frames_is_told_and_a_flat_or_falling_distance_tells_none() -> None:
    lags = np.arange(-3, 16)
    assert clear_minimum(lags, np.abs(lags - 1.3)) == pytest.approx(1.3, abs=0.05)
    assert clear_minimum(lags, 1 + 0.1 * np.sin(lags.astype(float))) is None
    assert clear_minimum(lags, 20.0 - lags) is None


def test_the_moments_of_several_episodes_give_the_correlations_of_all_their_frames() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(60, 2)).cumsum(axis=0).astype(np.float32) for _ in range(3)]
    measured = [
        measure_command(
            Episode(index=0, task="", action=of + rng.normal(size=of.shape).astype(np.float32), state=of),
            [(0, 0), (1, 1)],
            scale(2, step=0.1),
            fps=20.0,
        )
        for of in parts
    ]
    episodes = [of for of in measured if of is not None]
    total = episodes[0].moments + episodes[1].moments + episodes[2].moments
    assert total.n == 180
    assert total.correlation.shape == (2, 2)
    state = np.concatenate(parts)
    mean, of_squares = total.state[0] / total.n, total.state[1] / total.n
    np.testing.assert_allclose(np.sqrt(of_squares - mean**2), state.std(axis=0), rtol=1e-4)


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


def look(shown: list[int], *, moving: bool = True, reach: int = 5) -> Look:
    """Look at pictures that are equal where their numbers are; -1 is black, -2 grey."""
    rng = np.random.default_rng(0)
    pictures = {
        n: np.kron(rng.integers(40, 200, (3, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8) for n in range(max(shown) + 1)
    }
    pictures |= {-1: np.zeros((24, 32, 3), np.uint8), -2: np.full((24, 32, 3), 128, np.uint8)}
    frames = [pictures[n] for n in shown]
    way = np.arange(len(shown))[:, None] * float(moving)
    moved = np.full(len(shown) - 1, moving)
    return look_at(frames[0], frames, 0, moving=moved, way=way, reach=reach, keep_picture=False)


def test_a_look_finds_black_and_grey_frames_and_what_a_second_changes() -> None:
    of = look([0, 1, 2, 2, 2, 2, 2, 2, 3, -2, -1, 4])
    assert (of.black.tolist(), of.uniform.tolist(), of.empty.tolist()) == ([10], [9], [9, 10])
    assert (of.change == 0).tolist() == [False, False, *[True] * 5, False, False, False, False]
    assert (of.sweep == 0).tolist() == [False, False, True, False, False, False, False]
    assert of.travel.tolist() == [5.0] * 7
    assert look([0, 1, 2]).sweep.shape == (0,)


def test_repeats_are_counted_in_runs_between_clear_changes() -> None:
    tenths = [n - n % 4 for n in range(32)]
    counted = count_repeats(look(tenths, reach=10))
    assert (counted.longest, counted.n) == (3, 3 * 6)  # nothing before the first run, nor after the last
    assert counted.n_distinct == 7
    assert counted.n_moving == 31
    assert count_repeats(look([*range(8), 8, 8, *range(10, 20)])).n == 1
    assert count_repeats(look(tenths, moving=False)).n == 0
    assert count_repeats(look(list(range(20)))).share == 0.0
    frozen = [*range(8), *[8] * 9, *range(17, 24)]
    assert count_repeats(look(frozen)).n == 0, "a second or more is another finding"


def test_cells_are_at_least_eight_pixels_either_way() -> None:
    from foreact.inspection.looks import grid

    assert grid((64, 96, 3)) == (8, 12)
    assert grid((480, 640, 3)) == (24, 32)
    assert grid((4, 4, 3)) == (1, 1)


def test_a_clock_has_its_rate_jitter_and_gaps() -> None:
    even = np.arange(50) / 9.9
    assert measure_clock(even).rate == pytest.approx(9.9)
    assert measure_clock(even).jitter == pytest.approx(0, abs=1e-9)
    gap = measure_clock(even + 0.5 * (np.arange(50) >= 20))
    ((frame, seconds),) = gap.gaps
    assert frame == 20
    assert seconds == pytest.approx(0.5 + 1 / 9.9)
    assert gap.rate == pytest.approx(9.9), "the gap is not part of the rate"
    uneven = measure_clock(even + np.tile([0, 0.04], 25))
    assert uneven.jitter == pytest.approx(0.08 / (1 / 9.9 + 0.04), rel=0.01)  # intervals alternate, +-0.04 s
    assert measure_clock(even[::-1]).backwards == 49


def test_a_plan_reads_some_episodes_whole_and_a_window_of_each_other() -> None:
    """6 frames of 1500 x 1500 pixels, twice, and a budget of 4e9 pixels: 888 of 2000 frames."""
    source = clean(2, n_episodes=20)
    cameras = tuple(replace(camera, height=1500, width=1500) for camera in source.features.cameras)
    source.features = replace(source.features, cameras=cameras)
    source.settle()
    source.lengths = dict.fromkeys(source.lengths, 100)
    plan = plan_looks(source, None)
    assert not plan.is_all
    assert plan.n_seen <= 1.05 * 4e9 / (2 * 1500 * 1500)
    whole = [index for index, window in plan.windows.items() if window == (0, 100)]
    assert len(whole) == 4
    others = [window for index, window in plan.windows.items() if index not in whole and window[1] > 1]
    assert all(stop - start >= 60 for start, stop in others), "three seconds"
    assert len({start for start, _ in others}) == len(others), "at another place in each"
    assert "4 of 20 episodes whole" in plan.text(source.lengths)
    assert plan_looks(source, 5).n_seen <= 20 * 6


def test_a_window_has_the_frames_from_its_start_on() -> None:
    source = clean(2, n_episodes=1).settle()
    frames = list(source.frames(0, "top"))
    for window in ((0, 3), (7, 9), (0, len(frames))):
        first, rest = read_window(source, 0, "top", window)
        np.testing.assert_array_equal(first, frames[0])
        np.testing.assert_array_equal(list(rest), frames[slice(*window)])


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("left_gripper.pos", True),
        ("panda_finger_joint1", True),
        ("robotiq_jaw", True),
        ("right_hand", True),
        ("hand_x", False),
        ("gripper_vel", False),
        ("shoulder_pan", False),
    ],
)
def test_a_gripper_is_known_by_its_name(name: str, is_one: bool) -> None:
    assert is_gripper(replace(FEATURES, arm=None), name) == is_one


def test_clusters_are_single_linkage_components() -> None:
    points = np.array([[0, 0], [1, 0], [2, 0], [5, 0], [6, 0]], float)
    assert clusters(points, 1.1).tolist() == [0, 0, 0, 1, 1]
    assert clusters(points, 3.1).tolist() == [0] * 5


def test_chance_leaves_no_gap_in_evenly_drawn_places_or_along_a_line() -> None:
    """80 sets of 10 to 200 places: the linking distance holds nearly all of each set together."""
    rng = np.random.default_rng(0)
    apart = 0
    for n in (10, 20, 30, 200):
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
    assert found.which[found.episodes == 7] == [250]


def test_a_copy_lies_upon_its_original_wherever_it_was_cut() -> None:
    rng = np.random.default_rng(2)
    way = rng.normal(size=(40, 3)).cumsum(axis=0)
    assert aligned_distance(way, way[4:]) == 0
    assert aligned_distance(way[:-3], way) == 0
    assert aligned_distance(way, way + 0.01) == pytest.approx(0.01)
    assert aligned_distance(way, rng.normal(size=(40, 3)).cumsum(axis=0)) > 0.5


def test_episode_ranges_are_what_convert_takes() -> None:
    assert episode_ranges([0, 1, 2, 5, 7, 8]) == "0:3,5,7:9"


def test_items_are_spread_evenly_with_both_ends() -> None:
    assert list(spread_evenly(range(9), 3)) == [0, 4, 8]
    assert list(spread_evenly((4, 5), 3)) == [4, 5]


@pytest.mark.parametrize("share", [1e-6, 0.02, 0.1, 0.5, 0.9])
def test_however_little_is_affordable_every_episode_is_looked_at(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    source = clean(seed=1, n_episodes=12).settle()
    pixels = sum(camera.height * camera.width for camera in source.features.cameras)
    total = sum(source.lengths.values())
    monkeypatch.setattr("foreact.inspection.plan._BUDGET", int(share * total * pixels))
    windows = plan_looks(source, None).windows
    assert set(windows) == set(source.lengths)
    for index, (first, stop) in windows.items():
        assert 0 <= first < stop <= source.lengths[index]
    looked_at = sum(stop - first for first, stop in windows.values())
    if share >= 0.5:
        assert 0.5 * share < looked_at / total <= 1
