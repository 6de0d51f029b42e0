import numpy as np
import pytest

from foreact.sim.env import PickPlaceEnv
from foreact.sim.expert import Expert
from foreact.sim.task import TaskConfig, level


def run(task: TaskConfig, seed: int, *, noise: float = 0.0) -> tuple[str, np.ndarray]:
    """Return the outcome of an expert's episode and the actions it asked for (T, 6)."""
    env = PickPlaceEnv(task)
    expert = Expert(env)
    env.reset(seed=seed)
    expert.reset()
    rng = np.random.default_rng(seed)
    actions = []
    while True:
        action = expert.act()
        actions.append(action)
        _, _, terminated, truncated, info = env.step(action + rng.normal(0.0, noise, 6).astype(np.float32))
        if terminated or truncated:
            env.close()
            return info["outcome"], np.stack(actions)


@pytest.mark.parametrize("name", ["L0", "L1", "L2", "L3"])
def test_the_expert_succeeds_at_every_level(name: str) -> None:
    task = level(name, cameras=())
    results = [run(task, seed) for seed in range(6)]
    assert [outcome for outcome, _ in results] == ["success"] * 6
    seconds = [len(actions) / task.fps for _, actions in results]
    assert min(seconds) > 2.0
    assert max(seconds) < 5.0


@pytest.mark.parametrize(
    "options",
    [
        {"fps": 5.0},
        {"fps": 30.0},
        {"positions": "clusters"},
        {"positions": ((0.155, 0.16), (0.245, 0.16), (0.245, -0.07))},
        {"confusers": (0, 0)},
        {"confusers": (3, 3), "bowl": "random"},
        {"start_noise": 0.3},
    ],
)
def test_the_expert_succeeds_with_any_option(options: dict[str, object]) -> None:
    task = level("L2", cameras=(), **options)
    assert [run(task, seed)[0] for seed in range(3)] == ["success"] * 3


def test_the_expert_corrects_what_action_noise_does() -> None:
    task = level("L2", cameras=())
    assert [run(task, seed, noise=0.02)[0] for seed in range(6)] == ["success"] * 6


def test_the_expert_goes_after_a_block_that_is_moved() -> None:
    env = PickPlaceEnv(level("L1", cameras=(), confusers=(0, 0)))
    expert = Expert(env)
    env.reset(seed=0)
    for _ in range(8):
        env.step(expert.act())
    x, y, _ = env.block_positions()[0]
    env.data.joint("block0").qpos[:2] = (x, y - 0.03)
    while True:
        _, _, terminated, truncated, info = env.step(expert.act())
        if terminated or truncated:
            break
    assert info["outcome"] == "success"
    env.close()


def test_the_expert_picks_a_block_up_again_that_it_lost() -> None:
    env = PickPlaceEnv(level("L1", cameras=(), confusers=(0, 0)))
    expert = Expert(env)
    env.reset(seed=0)
    while env.block_positions()[0, 2] < 0.05:
        env.step(expert.act())
    env.data.joint("block0").qpos[:] = (0.2, 0.05, 0.0125, 1, 0, 0, 0)
    while True:
        _, _, terminated, truncated, info = env.step(expert.act())
        if terminated or truncated:
            break
    assert info["outcome"] == "success"
    env.close()


def test_the_action_depends_on_the_present_state_alone() -> None:
    env = PickPlaceEnv(level("L2", cameras=()))
    env.reset(seed=1)
    used = Expert(env)
    for _ in range(12):
        action = used.act()
        np.testing.assert_array_equal(action, Expert(env).act())
        env.step(action)


def test_demonstrations_are_smooth() -> None:
    _, actions = run(level("L1", cameras=()), 0)
    assert np.abs(np.diff(actions[:, :5], axis=0)).max() < 0.3  # [rad] a tick of 0.1 s


def test_a_block_out_of_reach_leaves_the_arm_in_peace() -> None:
    env = PickPlaceEnv(level("L1", cameras=(), max_seconds=2.0))
    expert = Expert(env)
    env.reset(seed=0)
    env.data.joint("block0").qpos[:2] = (0.9, 0.9)
    while True:
        _, _, terminated, truncated, info = env.step(expert.act())
        if terminated or truncated:
            break
    assert info["outcome"] == "never_picked"
    env.close()
