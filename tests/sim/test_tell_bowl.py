"""Coordinates that tell the bowl's place too: recorded, trained on, and acted on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foreact.cli.main import run
from foreact.config import RunConfig, TrainConfig
from foreact.data.source import open_source
from foreact.errors import DataError
from foreact.policy.checkpoint import load_policy
from foreact.sim.env import PickPlaceEnv
from foreact.sim.record import RecordConfig, record, recorded_scenes
from foreact.sim.task import level, task_for_features
from foreact.train.run import train
from tiny import TINY

SMALL = ["--cameras", "32x32", "--task.bowl", "random"]


def test_from_a_recording_to_an_arm_that_is_told_the_bowl(tmp_path: Path) -> None:
    demos = tmp_path / "demos"
    assert run(["record", str(demos), "--tell-bowl", "--episodes", "3", "--workers", "1", *SMALL]) == 0
    source = open_source(demos)
    assert source.features.environment_names == ("target_x", "target_y", "goal_x", "goal_y")
    told = level("L1", bowl="random", overhead_size=(32, 32), wrist_size=(32, 32), tell_bowl=True)
    env = PickPlaceEnv(told)
    for scene in recorded_scenes(demos):
        _, info = env.reset(seed=scene["seed"])
        episode = source.episode(scene["episode_index"])
        assert episode.environment_state is not None
        np.testing.assert_array_equal(
            episode.environment_state, np.tile(episode.environment_state[0], (episode.length, 1))
        )
        np.testing.assert_allclose(episode.environment_state[0], [*info["cue"], *info["bowl"]], atol=1e-6)
    policy_config = replace(TINY, conditioning=("token", "crop", "frame"))
    steps = TrainConfig(steps=2, warmup_steps=1, batch_size=2, val_every=2, save_every=2)
    result = train(RunConfig(policy=policy_config, train=steps), data=demos, out=tmp_path / "run", cache_dir=tmp_path)
    policy = load_policy(result.checkpoint)
    assert task_for_features(replace(told, tell_bowl=False), policy.features).tell_bowl
    assert not task_for_features(told, replace(policy.features, environment_names=("x", "y"))).tell_bowl
    observation, _ = env.reset(seed=9)
    assert env.observation_space.contains(observation)
    policy.reset()
    for _ in range(3):
        action = policy.act(observation)
        observation, *_ = env.step(action)
    assert np.isfinite(action).all()
    env.close()
    assert run(["eval", str(tmp_path / "run"), "--episodes", "1", "--no-expert", "--task.max-seconds", "0.5"]) == 0


def test_a_recording_without_the_bowl_is_not_continued_with_it(tmp_path: Path) -> None:
    task = level("L0", cameras=())
    config = RecordConfig(task=task, episodes=1)
    record(config, tmp_path / "demos", workers=1)
    with pytest.raises(DataError, match="was recorded with tell_bowl False, not True"):
        record(replace(config, task=replace(task, tell_bowl=True)), tmp_path / "demos", workers=1)
    settings = tmp_path / "demos/meta/recording.json"
    settings.write_text(settings.read_text().replace('"tell_bowl": false,', ""))
    assert "tell_bowl" not in settings.read_text()
    assert record(config, tmp_path / "demos", workers=1).recorded == 1, "one of before the option existed"
