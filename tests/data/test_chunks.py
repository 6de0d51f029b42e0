"""Chunks and downsampling, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreact.data.chunks import chunk_frames, downsample, downsampled_length
from foreact.records import Episode


def test_the_last_action_is_repeated_and_marked_as_padding() -> None:
    """LeRobot 0.6.1 on an episode of 12, frame 10, 5 steps (FORMATS.md 1.5)."""
    frames, is_pad = chunk_frames(np.array([10]), 12, 5)
    assert frames.tolist() == [[10, 11, 11, 11, 11]]
    assert is_pad.tolist() == [[False, False, True, True, True]]


def test_each_row_knows_the_length_of_its_own_episode() -> None:
    frames, is_pad = chunk_frames(np.array([0, 2]), np.array([2, 9]), 3)
    assert frames.tolist() == [[0, 1, 1], [2, 3, 4]]
    assert is_pad.tolist() == [[False, False, True], [False, False, False]]


@given(st.integers(1, 30), st.integers(1, 40), st.data())
def test_a_chunk_never_leaves_its_episode(length: int, chunk_size: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, length - 1))
    frames, is_pad = chunk_frames(np.array([start]), length, chunk_size)
    assert frames.max() < length
    assert (~is_pad).sum() == min(chunk_size, length - start)
    assert not is_pad[0, 0]


def episode(length: int) -> Episode:
    frames = np.arange(length, dtype=np.float32)[:, None]
    return Episode(index=0, task="count", action=frames, state=frames, environment_state=frames)


@pytest.mark.parametrize(
    ("length", "observations", "actions"),
    [(9, [0, 3, 6], [2, 5, 8]), (8, [0, 3, 6], [2, 5, 7]), (7, [0, 3, 6], [2, 5, 6]), (2, [0], [1])],
)
def test_downsampling_takes_the_first_observation_and_the_last_action_of_three(
    length: int, observations: list[int], actions: list[int]
) -> None:
    """il_lib: actions padded with the last one to a multiple of 3, taken at 2, 5, 8 ... (FORMATS.md 5.1)."""
    thinned = downsample(episode(length), 3)
    assert thinned.state is not None
    assert thinned.environment_state is not None
    assert thinned.state.ravel().tolist() == thinned.environment_state.ravel().tolist() == observations
    assert thinned.action.ravel().tolist() == actions
    assert thinned.length == downsampled_length(length, 3)


def test_a_factor_of_one_changes_nothing() -> None:
    whole = episode(5)
    assert downsample(whole, 1) is whole
    assert downsampled_length(5, 1) == 5
