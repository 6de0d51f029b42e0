import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import foreact.sim
from foreact.errors import ConfigError, SimulationError
from foreact.sim.env import OPEN_ANGLE, PickPlaceEnv
from foreact.sim.expert import CARRY_HEIGHT, Expert
from foreact.sim.task import level
from foreact_runtime.keys import ENVIRONMENT_STATE, STATE, image_key

SMALL = {"overhead_size": (24, 32), "wrist_size": (16, 16)}


@pytest.fixture
def env() -> Iterator[PickPlaceEnv]:
    """One confuser, no pictures."""
    made = PickPlaceEnv(level("L1", cameras=(), max_seconds=6.0))
    yield made
    made.close()


def finish(env: PickPlaceEnv, action: np.ndarray) -> dict[str, Any]:
    """Repeat an action until the episode ends."""
    while True:
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            assert terminated != truncated
            return info


def follow(env: PickPlaceEnv, expert: Expert) -> dict[str, Any]:
    while True:
        _, _, terminated, truncated, info = env.step(expert.act())
        if terminated or truncated:
            return info


def carry(env: PickPlaceEnv, expert: Expert) -> np.ndarray:
    """Follow the expert until the block is well above the table; return its last action."""
    while True:
        action = expert.act()
        _, _, terminated, truncated, _ = env.step(action)
        assert not terminated
        assert not truncated
        if env.grip_position()[2] > CARRY_HEIGHT - 0.01 and env.held(0):
            return action


# gymnasium recommends actions in [-1, 1]; a LeRobot arm is told joint positions.
@pytest.mark.filterwarnings("ignore:.*symmetric and normalized space:UserWarning")
@pytest.mark.parametrize("name", ["L0", "L3"])
def test_gymnasiums_checker_finds_nothing(name: str) -> None:
    made = gymnasium.make(foreact.sim.ENV_ID, task=level(name, **SMALL), render_mode="rgb_array")
    check_env(made.unwrapped)


def test_the_observation_has_lerobots_keys_and_the_sizes_asked_for() -> None:
    env = PickPlaceEnv(level("L1", **SMALL))
    observation, info = env.reset(seed=0)
    env.close()
    assert env.observation_space.contains(observation)
    shapes = {key: (value.shape, str(value.dtype)) for key, value in observation.items()}
    assert shapes == {
        STATE: ((6,), "float32"),
        ENVIRONMENT_STATE: ((2,), "float32"),
        image_key("overhead"): ((24, 32, 3), "uint8"),
        image_key("wrist"): ((16, 16, 3), "uint8"),
    }
    np.testing.assert_allclose(observation[ENVIRONMENT_STATE], info["cue"], atol=1e-7)


def test_without_cameras_no_picture_is_made(env: PickPlaceEnv) -> None:
    observation, _ = env.reset(seed=0)
    assert set(observation) == {STATE, ENVIRONMENT_STATE}
    assert env._renderer is None


def test_the_same_seed_gives_the_same_episode_bit_for_bit() -> None:
    first, second = (PickPlaceEnv(level("L3", **SMALL)) for _ in range(2))
    second.reset(seed=5)  # what went before does not matter
    actions = np.random.default_rng(0)
    results = [env.reset(seed=3)[0] for env in (first, second)]
    for _ in range(15):
        for key in results[0]:
            np.testing.assert_array_equal(results[0][key], results[1][key])
        action = first.action_space.low + actions.random(6).astype(np.float32) * 0.5
        results = [env.step(action)[0] for env in (first, second)]
    first.close()
    second.close()


def test_another_seed_gives_another_episode(env: PickPlaceEnv) -> None:
    (one, _), (other, _) = env.reset(seed=1), env.reset(seed=2)
    assert not np.allclose(one[STATE], other[STATE])
    assert not np.allclose(one[ENVIRONMENT_STATE], other[ENVIRONMENT_STATE])


def test_the_cue_stays_the_same_all_episode(env: PickPlaceEnv) -> None:
    observation, info = env.reset(seed=0)
    cue = observation[ENVIRONMENT_STATE]
    assert np.linalg.norm(cue - info["target"]) > 1e-3  # L1: it is not exact
    for _ in range(5):
        observation, *_ = env.step(env.action_space.low)
        np.testing.assert_array_equal(observation[ENVIRONMENT_STATE], cue)


def test_spawned_processes_simulate_like_this_one() -> None:
    task = level("L3", **SMALL)
    vector = gymnasium.make_vec(
        foreact.sim.ENV_ID, 2, vectorization_mode="async", vector_kwargs={"context": "spawn"}, task=task
    )
    single = PickPlaceEnv(task)
    pictures, _ = vector.reset(seed=[7, 8])  # type: ignore[arg-type]
    for index, seed in enumerate((7, 8)):
        alone, _ = single.reset(seed=seed)
        for key, value in alone.items():
            np.testing.assert_array_equal(pictures[key][index], value)
    _, _, _, _, info = vector.step(vector.action_space.sample() * 0)
    assert info["outcome"].tolist() == [None, None]
    vector.close()
    single.close()


@pytest.mark.parametrize("imports", ["import foreact.sim, gymnasium", "import gymnasium, foreact.sim"])
def test_gymnasium_knows_the_environment_whichever_is_imported_first(imports: str) -> None:
    code = f"{imports}\nprint(gymnasium.spec('foreact/PickPlace-v0').entry_point)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "foreact.sim.env:PickPlaceEnv"


@pytest.mark.parametrize("fps", [5.0, 10.0, 30.0])
def test_a_step_lasts_one_control_period(fps: float) -> None:
    env = PickPlaceEnv(level("L0", cameras=(), fps=fps))
    env.reset(seed=0)
    env.step(np.zeros(6, dtype=np.float32))
    assert env.data.time == pytest.approx(1 / fps)


def test_the_arm_goes_where_it_is_told_within_half_a_degree(env: PickPlaceEnv) -> None:
    env.reset(seed=0)
    goal = np.array([0.3, -0.5, 0.4, 1.2, -0.4, 0.3], dtype=np.float32)
    for _ in range(15):
        observation, *_ = env.step(goal)
    np.testing.assert_allclose(observation[STATE], goal, atol=0.01)


def test_an_action_is_cut_to_the_joints_limits(env: PickPlaceEnv) -> None:
    env.reset(seed=0)
    env.step(np.full(6, 10.0, dtype=np.float32))
    np.testing.assert_array_equal(env.data.ctrl.astype(np.float32), env.action_space.high)


@pytest.mark.parametrize("action", [np.zeros(5), np.array([0, 0, 0, 0, 0, np.nan])])
def test_an_action_of_the_wrong_shape_or_not_finite_is_refused(env: PickPlaceEnv, action: np.ndarray) -> None:
    env.reset(seed=0)
    with pytest.raises(SimulationError, match="action must be 6 finite joint positions"):
        env.step(action)


def test_a_level_can_be_given_by_name_and_a_wrong_one_is_refused() -> None:
    assert PickPlaceEnv("L2").task == level("L2")
    with pytest.raises(ConfigError, match="unknown level 'L9'"):
        PickPlaceEnv("L9")


def test_the_start_pose_varies_by_no_more_than_asked() -> None:
    env = PickPlaceEnv(level("L0", cameras=(), start_noise=0.1))
    starts = np.array([env.reset(seed=seed)[0][STATE] for seed in range(50)])
    spread = np.ptp(starts, axis=0)
    assert np.all(spread[:5] > 0.1)
    assert np.all(spread[:5] <= 0.2)
    assert np.all(starts[:, 5] == np.float32(OPEN_ANGLE))


def test_blocks_that_an_episode_does_not_use_are_out_of_sight() -> None:
    env = PickPlaceEnv(level("L3", cameras=()))
    counts = set()
    for seed in range(20):
        _, info = env.reset(seed=seed)
        used = len(info["confusers"])
        counts.add(used)
        far = np.linalg.norm(env.block_positions()[1 + used :, :2], axis=1)
        assert np.all(far > 1.0)
        opacity = [env.model.geom(f"block{index}").rgba[3] for index in range(4)]
        assert opacity == [1.0] * (1 + used) + [0.0] * (3 - used)
    assert counts == {1, 2, 3}


def test_a_success_is_rewarded_and_says_where_the_jaws_closed(env: PickPlaceEnv) -> None:
    _, info = env.reset(seed=0)
    assert info["closing_target_mm"] == np.inf
    expert = Expert(env)
    while True:
        _, reward, terminated, truncated, info = env.step(expert.act())
        assert reward == float(info["success"])
        if terminated or truncated:
            break
    assert terminated
    assert info["outcome"] == "success"
    assert info["closing_target_mm"] < 5.0
    apart = 1000 * np.linalg.norm(info["target"] - np.array(info["confusers"][0]))
    assert info["closing_confuser_mm"] == pytest.approx(apart, abs=5.0)


def test_an_arm_that_waits_ends_as_never_picked_when_time_is_up() -> None:
    env = PickPlaceEnv(level("L1", cameras=(), max_seconds=1.0))
    observation, _ = env.reset(seed=0)
    info = finish(env, observation[STATE])
    assert info["outcome"] == "never_picked"
    assert env.data.time == pytest.approx(1.0)


def test_putting_the_other_block_in_the_bowl_ends_as_confuser_in_bowl(env: PickPlaceEnv) -> None:
    env.reset(seed=0)
    info = follow(env, Expert(env, block=1))
    assert (info["outcome"], info["success"]) == ("confuser_in_bowl", False)
    assert info["closing_confuser_mm"] < 5.0 < info["closing_target_mm"]


def test_raising_the_other_block_alone_ends_as_picked_confuser(env: PickPlaceEnv) -> None:
    env.reset(seed=0)
    expert = Expert(env, block=1)
    while env.block_positions()[1, 2] < 0.06:
        action = expert.act()
        env.step(action)
    assert finish(env, action)["outcome"] == "picked_confuser"


def test_opening_on_the_way_ends_as_missed_bowl(env: PickPlaceEnv) -> None:
    env.reset(seed=0)
    action = carry(env, Expert(env))
    action[5] = OPEN_ANGLE
    assert finish(env, action)["outcome"] == "missed_bowl"


def test_a_block_that_is_torn_from_closed_jaws_ends_as_dropped(env: PickPlaceEnv) -> None:
    env.reset(seed=0)
    action = carry(env, Expert(env))
    env.data.joint("block0").qpos[:3] = (0.3, 0.1, 0.05)
    assert finish(env, action)["outcome"] == "dropped"


def test_never_letting_go_ends_as_timeout(env: PickPlaceEnv) -> None:
    env.reset(seed=0)
    assert finish(env, carry(env, Expert(env)))["outcome"] == "timeout"


def test_a_layout_of_ones_own_stands_in_the_place_of_the_drawn_one_and_the_arm_starts_the_same() -> None:
    env = PickPlaceEnv(level("L2", cameras=()), spare_blocks=2)
    drawn, _ = env.reset(seed=4)
    layout = replace(
        env.layout, confusers=np.array([[0.16, 0.0], [0.2, 0.1], [0.24, -0.05]]), yaws=np.zeros(4)
    )  # one block more than the task has
    given, info = env.reset(seed=4, options={"layout": layout})
    assert given["observation.state"] == pytest.approx(drawn["observation.state"])
    assert env.block_positions()[1:4, :2] == pytest.approx(layout.confusers)
    assert info["confusers"] == tuple(map(tuple, layout.confusers))
    assert env.block_positions()[0, :2] == pytest.approx(layout.target)
    env.close()


def test_a_layout_with_more_blocks_than_the_scene_is_refused() -> None:
    env = PickPlaceEnv(level("L2", cameras=()))
    env.reset(seed=4)
    more = replace(env.layout, confusers=np.full((3, 2), 0.2), yaws=np.zeros(4))
    with pytest.raises(SimulationError, match="4 blocks, the scene has 2; build it with spare_blocks"):
        env.reset(seed=4, options={"layout": more})
    env.close()


def test_rearranging_moves_the_blocks_whose_place_has_changed_and_no_other_and_not_the_arm() -> None:
    env = PickPlaceEnv(level("L1", cameras=()))
    observation, _ = env.reset(seed=2)
    joint = env.data.joint("block0")
    joint.qpos[:3] += [0.01, 0.0, 0.05]  # it was carried away meanwhile
    carried = joint.qpos.copy()
    env.rearrange(replace(env.layout, confusers=np.array([[0.2, 0.15]])))
    assert env.block_positions()[1, :2] == pytest.approx([0.2, 0.15])
    assert env.data.joint("block0").qpos == pytest.approx(carried)
    assert env.observe()["observation.state"] == pytest.approx(observation["observation.state"])
    env.close()


def test_retargeting_makes_another_block_the_first_where_it_lies_and_judges_anew() -> None:
    env = PickPlaceEnv(level("L1", cameras=()))
    env.reset(seed=2)
    before = env.block_positions()
    env.retarget(1, before[1, :2] + 0.003)
    after = env.block_positions()
    assert after[[1, 0]] == pytest.approx(before[:2])
    assert env.observe()["observation.environment_state"] == pytest.approx(before[1, :2] + 0.003, abs=1e-6)
    expert = Expert(env)
    for _ in range(env.task.max_steps):
        *_, terminated, truncated, info = env.step(expert.act())
        if terminated or truncated:
            break
    assert info["outcome"] == "success"
    with pytest.raises(SimulationError, match="block 5 cannot be the target"):
        env.retarget(5, before[0, :2])
    env.close()


def test_light_is_as_many_times_as_bright_as_asked_for_however_often_one_asks() -> None:
    env = PickPlaceEnv(level("L1", cameras=()))
    env.reset(seed=0)
    built = env.model.light_diffuse.copy()
    for brightness in (0.5, 2.0, 1.0):
        env.brighten(brightness)
        assert env.model.light_diffuse == pytest.approx(brightness * built)
    env.close()
