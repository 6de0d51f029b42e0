"""Properties of the split."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreact.data.split import split_episodes
from foreact.errors import DataError

episodes = st.dictionaries(
    st.integers(0, 500), st.tuples(st.sampled_from(["pick", "place", "stack"]), st.integers(5, 300)), min_size=1
)


def parts(of: dict[int, tuple[str, int]]) -> tuple[dict[int, str], dict[int, int]]:
    return {i: task for i, (task, _) in of.items()}, {i: length for i, (_, length) in of.items()}


@given(episodes, st.floats(0, 0.99), st.integers(0, 5))
def test_every_episode_is_in_exactly_one_part(of: dict[int, tuple[str, int]], fraction: float, seed: int) -> None:
    training, validation = split_episodes(*parts(of), fraction, seed)
    assert sorted((*training, *validation)) == sorted(of)
    assert list(training) == sorted(training)
    assert training
    assert bool(validation) == (fraction > 0 and len(of) > 1)


@given(episodes, st.floats(0, 0.99), st.integers(0, 5))
def test_the_number_held_out_is_the_fraction(of: dict[int, tuple[str, int]], fraction: float, seed: int) -> None:
    _, validation = split_episodes(*parts(of), fraction, seed)
    if fraction > 0 and len(of) > 1:
        assert len(validation) == min(max(1, round(fraction * len(of))), len(of) - 1)


@given(episodes, st.floats(0.05, 0.5), st.integers(0, 5))
def test_every_task_is_held_out_in_proportion(of: dict[int, tuple[str, int]], fraction: float, seed: int) -> None:
    tasks, lengths = parts(of)
    _, validation = split_episodes(tasks, lengths, fraction, seed)
    total, held_out = Counter(tasks.values()), Counter(tasks[i] for i in validation)
    share = len(validation) / len(of)
    for task, n in total.items():
        assert abs(held_out[task] - share * n) < 2  # an interval of the ordered list, both ends rounded


@given(episodes, st.floats(0.05, 0.5), st.integers(0, 5))
def test_the_same_seed_gives_the_same_split_whatever_the_order(
    of: dict[int, tuple[str, int]], fraction: float, seed: int
) -> None:
    backwards = dict(reversed(of.items()))
    assert split_episodes(*parts(of), fraction, seed) == split_episodes(*parts(backwards), fraction, seed)


def test_another_seed_gives_another_split() -> None:
    tasks, lengths = dict.fromkeys(range(100), "pick"), dict.fromkeys(range(100), 50)
    splits = {split_episodes(tasks, lengths, 0.1, seed)[1] for seed in range(10)}
    assert len(splits) == 10  # two of ten alike: about 1 in 10^11


def test_long_and_short_episodes_are_held_out_alike() -> None:
    """Of ten length classes of ten episodes each, one tenth held out takes one of each class."""
    lengths = {i: 10 * (i % 10 + 1) for i in range(100)}
    for seed in range(5):
        _, validation = split_episodes(dict.fromkeys(lengths, "pick"), lengths, 0.1, seed)
        assert sorted(lengths[i] for i in validation) == list(range(10, 101, 10))


def test_no_episodes_are_refused() -> None:
    with pytest.raises(DataError, match="no episodes to split"):
        split_episodes({}, {}, 0.1, 0)


def test_without_scenes_the_split_is_what_it_always_was() -> None:
    """Written down from the version that knew no scenes; runs that are resumed depend on it."""
    tasks = {i: ("pick", "place", "stack")[i % 3] for i in range(0, 60, 2)}
    lengths = {i: 20 + (i * 37) % 50 for i in tasks}
    own = {i: 1000 - i for i in tasks}
    for fraction, seed, expected in (
        (0.1, 0, (28, 36, 44)),
        (0.1, 1, (22, 26, 30)),
        (0.2, 3, (10, 12, 14, 18, 20, 58)),
        (0.34, 5, (0, 18, 22, 32, 36, 38, 40, 54, 56, 58)),
    ):
        assert split_episodes(tasks, lengths, fraction, seed)[1] == expected
        assert split_episodes(tasks, lengths, fraction, seed, scenes=own)[1] == expected


@given(episodes, st.floats(0.05, 0.9), st.integers(0, 5), st.integers(1, 20))
def test_a_scene_is_never_in_both_parts(
    of: dict[int, tuple[str, int]], fraction: float, seed: int, n_scenes: int
) -> None:
    scenes = {i: i * i % n_scenes for i in of}
    training, validation = split_episodes(*parts(of), fraction, seed, scenes=scenes)
    assert sorted((*training, *validation)) == sorted(of)
    assert not {scenes[i] for i in training} & {scenes[i] for i in validation}
    assert bool(validation) == (len(set(scenes.values())) > 1)


def test_pairs_are_held_out_by_length_and_task_like_single_episodes() -> None:
    """Two tasks, five lengths of pairs, four pairs of each: a quarter takes one of each."""
    tasks, lengths, scenes = {}, {}, {}
    for scene in range(40):
        for episode in (2 * scene, 2 * scene + 1):
            tasks[episode] = ("pick", "place")[scene % 2]
            lengths[episode] = 50 + 20 * (scene // 2 % 5) + episode % 2  # one of a pair a frame longer
            scenes[episode] = scene
    for seed in range(5):
        _, validation = split_episodes(tasks, lengths, 0.25, seed, scenes=scenes)
        kinds = Counter((tasks[i], lengths[i]) for i in validation)
        assert len(kinds) == 20
        assert set(kinds.values()) == {1}
