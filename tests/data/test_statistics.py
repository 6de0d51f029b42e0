"""Statistics against numpy in one shot, in higher precision."""

import numpy as np
import pytest

from foreact.data.lerobot_stats import FeatureStats, PictureStats, merge_stats, vector_stats
from foreact.data.statistics import check_episode, compute_statistics, robot_statistics
from foreact.errors import DataError
from foreact.records import Episode, Features


def episodes(n: int = 5, offset: float = 0.0) -> list[Episode]:
    rng = np.random.default_rng(0)
    made = []
    for index in range(n):
        length = int(rng.integers(5, 40))
        action = rng.normal(offset, 1 + index, (length, 3)).astype(np.float32)
        made.append(Episode(index=index, task="", action=action, state=action[:, :2] ** 2))
    return made


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_statistics_equal_those_of_all_frames_at_once(offset: float) -> None:
    """Far from zero too, where E[x^2] - E[x]^2 would lose every digit."""
    made = episodes(offset=offset)
    statistics = compute_statistics(made)
    assert set(statistics) == {"action", "observation.state"}
    values = np.concatenate([episode.action for episode in made]).astype(np.longdouble)
    of = statistics["action"]
    np.testing.assert_allclose(of.mean, values.mean(0).astype(float), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(of.std, values.std(0).astype(float), rtol=1e-10)
    np.testing.assert_array_equal(of.min, values.min(0).astype(float))
    np.testing.assert_array_equal(of.max, values.max(0).astype(float))
    assert of.count == len(values)
    assert of.mean.dtype == np.float64


def test_quantiles_are_those_of_all_frames_not_means_of_episodes() -> None:
    """An episode of zeros and one of ones: the true 99 % quantile is 1, the mean of the episodes' is 0.5."""
    made = [Episode(index=i, task="", action=np.full((100, 1), i, np.float32)) for i in (0, 1)]
    of = compute_statistics(made)["action"]
    assert (of.q01.tolist(), of.q99.tolist()) == ([0.0], [1.0])
    ramp = Episode(index=0, task="", action=np.arange(101, dtype=np.float32)[:, None])
    of = compute_statistics([ramp])["action"]
    assert (of.q01.tolist(), of.q99.tolist()) == ([1.0], [99.0])


def test_a_constant_dimension_has_no_deviation_at_all() -> None:
    """0.1 has no exact float: a mean in the last bit off would give a std of 1e-17 and not 0."""
    of = compute_statistics([Episode(index=0, task="", action=np.full((997, 1), 0.1, np.float32))])["action"]
    assert of.std.tolist() == [0.0]


def test_no_episodes_have_no_statistics() -> None:
    with pytest.raises(DataError, match="no episodes to compute statistics of"):
        compute_statistics([])


@pytest.mark.parametrize(("value", "word"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_a_number_that_is_not_finite_is_named(value: float, word: str) -> None:
    action = np.zeros((6, 3), np.float32)
    state = action.copy()
    state[4, 1] = state[5, 2] = value
    message = rf"episode 7: 'observation.state' is {word} at frame 4, dimension 1 and 1 more; leave"
    with pytest.raises(DataError, match=message):
        check_episode(Episode(index=7, task="", action=action, state=state), "episode 7")
    check_episode(Episode(index=7, task="", action=action), "episode 7")


def test_merged_statistics_equal_those_of_the_whole() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(3, 2, (30, 4)), rng.normal(-1, 5, (7, 4))
    merged, whole = (
        merge_stats(vector_stats(first), vector_stats(second)),
        vector_stats(np.concatenate([first, second])),
    )
    for name in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(merged[name], whole[name], rtol=1e-12)
    expected = (30 * np.quantile(first, 0.9, 0) + 7 * np.quantile(second, 0.9, 0)) / 37
    np.testing.assert_allclose(merged["q90"], expected, rtol=1e-12)


def image_stats(frames: list[np.ndarray]) -> FeatureStats:
    stats = PictureStats(len(frames))
    for given, passed in zip(frames, stats.watch(frames), strict=True):
        assert passed is given
    return stats.result()


def test_picture_statistics_equal_those_of_all_pixels() -> None:
    frames = np.random.default_rng(2).integers(0, 200, (9, 20, 30, 3), dtype=np.uint8)
    stats, scaled = image_stats(list(frames)), frames / 255
    for name, expected in (("mean", scaled.mean((0, 1, 2))), ("std", scaled.std((0, 1, 2)))):
        np.testing.assert_allclose(stats[name].ravel(), expected, rtol=1e-12)
    np.testing.assert_array_equal(stats["max"].ravel(), scaled.max((0, 1, 2)))
    for name, share in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        expected = np.quantile(scaled, share, axis=(0, 1, 2), method="inverted_cdf")
        np.testing.assert_array_equal(stats[name].ravel(), expected)
    assert stats["count"].tolist() == [9]


def test_only_a_sample_of_many_frames_is_looked_at() -> None:
    """n^0.75 of 400 is 89, so the least, 100."""
    frames = [np.zeros((2, 2, 3), np.uint8)] * 400
    assert image_stats(frames)["count"].tolist() == [100]


def test_robot_statistics_know_the_largest_step_growth_and_lead_of_each_episode_by_hand() -> None:
    action = np.array([[0.0], [1.0], [3.0], [3.0], [0.0], [0.0]], np.float32)
    made = [
        Episode(index=0, task="", action=action, state=np.hstack([action + 5, action - 0.25])),
        Episode(index=1, task="", action=action[:1], state=np.hstack([action[:1] + 5, action[:1] + 0.5])),
    ]
    features = Features(action_names=("elbow",), state_names=("other", "elbow"))
    of = robot_statistics(made, features)
    # steps 1, 2, 0, -3, 0: from 2 to 0 it slows down, from 0 to -3 it starts; an episode of one frame never moves
    assert of["robot.action.step"].max.tolist() == [3.0]
    assert of["robot.action.jump"].max.tolist() == [3.0]
    assert of["robot.action.step"].min.tolist() == [0.0]
    assert of["robot.action.lead"].max.tolist() == [0.5]
    assert of["robot.action.lead"].min.tolist() == [0.25]
    assert of["robot.action.step"].count == 2
    assert of["robot.observation.state"].max.tolist() == [8.0, 2.75]
    assert of["robot.action"].count == 7


def test_growth_is_counted_in_both_directions_and_reversals_start_from_rest() -> None:
    action = np.array([[0.0], [-1.0], [-3.0], [1.0]], np.float32)  # steps -1, -2, 4
    features = Features(action_names=("elbow",))
    of = robot_statistics([Episode(index=0, task="", action=action)], features)
    assert of["robot.action.jump"].max.tolist() == [4.0]
    slow = robot_statistics([Episode(index=0, task="", action=action[:3])], features)
    assert slow["robot.action.jump"].max.tolist() == [1.0]
    assert slow["robot.action.lead"].max.tolist() == [0.0]
