"""Chunks that come late, in simulated time: who stalls, how long, and what stays as it was."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from foreact.records import Camera, Features
from foreact.sim.delayed import Delay, delayed_episode
from foreact.sim.env import PickPlaceEnv
from foreact.sim.scene import ACTION_NAMES
from foreact.sim.task import level
from foreact_runtime.settings import ExecutorSettings

TASK = level("L0", max_seconds=2.0, cameras=("overhead",), overhead_size=(16, 16))
FEATURES = Features(
    action_names=ACTION_NAMES,
    state_names=ACTION_NAMES,
    environment_names=("target_x", "target_y"),
    cameras=(Camera(name="overhead", height=16, width=16),),
)
SETTINGS = ExecutorSettings(chunk_size=8, n_action_steps=4, blend_steps=0)
LATE = replace(SETTINGS, asynchronous=True)


class Sweep:
    """Turns the shoulder at an even pace from wherever it is; looks at its camera as a network would."""

    features = FEATURES
    executor_settings = SETTINGS

    def __init__(self) -> None:
        self.pictures = 0

    def reset(self) -> None:
        """Keeps no state."""

    def predict_chunk(self, observation: Mapping[str, Any]) -> np.ndarray:
        assert observation["observation.images.overhead"].shape == (16, 16, 3)
        self.pictures += 1
        chunk = np.repeat(observation["observation.state"][None].astype(np.float32), 8, axis=0)
        chunk[:, 0] += 0.03 * np.arange(1, 9)
        return chunk


@pytest.fixture(scope="module")
def env() -> PickPlaceEnv:
    torch.set_num_threads(1)
    return PickPlaceEnv(replace(TASK, cameras=()))


def play(env: PickPlaceEnv, settings: ExecutorSettings, delay: Delay) -> Any:
    return delayed_episode(Sweep(), env, TASK, 3, delay, settings)


def test_without_delay_asynchronous_execution_is_the_queue(env: PickPlaceEnv) -> None:
    queue, late = (play(env, of, Delay(seconds=0)) for of in (SETTINGS, LATE))
    np.testing.assert_array_equal(queue.result.actions, late.result.actions)
    assert queue.stalls == late.stalls == 0
    assert queue.chunks == late.chunks == 5  # twenty ticks, four of each


def test_a_queue_holds_its_last_command_for_as_long_as_each_chunk_takes(env: PickPlaceEnv) -> None:
    of = play(env, SETTINGS, Delay(seconds=0.3))
    pan = of.result.actions[:, 0]
    held = np.flatnonzero(np.diff(pan) == 0) + 1
    assert held.tolist() == [4, 5, 6, 11, 12, 13, 18, 19]  # three ticks after every four, until the time is over
    assert of.stalls == len(held)


def test_asynchronously_the_same_delay_stalls_nothing(env: PickPlaceEnv) -> None:
    of = play(env, LATE, Delay(seconds=0.3))
    assert of.stalls == 0
    assert (np.diff(of.result.actions[:, 0]) > 0).all()


def test_a_delay_longer_than_a_chunk_stalls_asynchronous_execution_too(env: PickPlaceEnv) -> None:
    of = play(env, LATE, Delay(seconds=1.0))
    assert of.stalls >= 5


def test_jitter_is_drawn_from_the_seed_and_around_the_delay(env: PickPlaceEnv) -> None:
    jittering = Delay(seconds=0.3, jitter=0.5)
    one, two = (play(env, LATE, jittering) for _ in range(2))
    np.testing.assert_array_equal(one.result.actions, two.result.actions)
    drawn = [jittering.draw(np.random.default_rng(seed)) for seed in range(200)]
    assert 0.15 <= min(drawn) < 0.2 < 0.4 < max(drawn) <= 0.45
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.02)


def test_only_pictures_that_are_looked_at_are_rendered(env: PickPlaceEnv) -> None:
    policy = Sweep()
    of = delayed_episode(policy, env, TASK, 3, Delay(seconds=0.1), LATE)
    assert policy.pictures == of.chunks < of.result.steps
