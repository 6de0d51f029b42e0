"""Closed-loop evaluation: reproducible, honest about outcomes, and shown as it was."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from foreact.config import PolicyConfig
from foreact.errors import ConfigError
from foreact.intervals import wilson
from foreact.policy.checkpoint import save_policy
from foreact.policy.policy import Policy
from foreact.records import Camera, Features, VectorStatistics
from foreact.sim.evaluation import Evaluation
from foreact.sim.expert_rollout import rollout_expert
from foreact.sim.outcome import OUTCOMES
from foreact.sim.rollout import rollout
from foreact.sim.scene import ACTION_NAMES
from foreact.sim.task import level
from foreact.sim.video import write_video

TASK = level("L1", overhead_size=(32, 32), wrist_size=(32, 32), max_seconds=2.0)


def statistics(dim: int) -> VectorStatistics:
    one = np.ones(dim)
    return VectorStatistics(mean=0 * one, std=0.5 * one, min=-one, max=one, q01=-one, q99=one, count=1)


@pytest.fixture(scope="module")
def policy() -> Policy:
    """Untrained: it waves about, each seed in its own way."""
    torch.manual_seed(0)
    features = Features(
        action_names=ACTION_NAMES,
        state_names=ACTION_NAMES,
        environment_names=("target_x", "target_y"),
        cameras=(Camera(name="overhead", height=32, width=32), Camera(name="wrist", height=32, width=32)),
        fps=10,
    )
    config = PolicyConfig(
        chunk_size=6,
        n_action_steps=3,
        vision_backbone="cnn",
        pretrained_backbone_weights=None,
        dim_model=16,
        n_heads=2,
        dim_feedforward=32,
    )
    sizes = {"action": 6, "observation.state": 6, "observation.environment_state": 2}
    return Policy(config=config, features=features, statistics={key: statistics(dim) for key, dim in sizes.items()})


def test_the_same_seeds_give_the_same_episodes_and_acting_alone_gives_them_too(policy: Policy) -> None:
    from foreact.sim.env import PickPlaceEnv

    first, second = (rollout(policy, TASK, range(3), n_envs=2) for _ in range(2))
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.actions, two.actions)
        assert one.outcome == two.outcome
    env = PickPlaceEnv(TASK)
    for result in first:
        observation, _ = env.reset(seed=result.seed)
        policy.reset()
        for action in result.actions:
            # batched and single inference differ in the last bits, which the arm's motion carries on
            np.testing.assert_allclose(policy.act(observation), action, atol=1e-3)
            observation, *_ = env.step(action)
    env.close()


def test_an_evaluation_counts_what_its_episodes_say(policy: Policy) -> None:
    evaluation = Evaluation(name="policy", episodes=rollout(policy, TASK, range(4), n_envs=2))
    assert tuple(evaluation.outcomes) == OUTCOMES
    assert evaluation.outcomes == {name: Counter(e.outcome for e in evaluation.episodes)[name] for name in OUTCOMES}
    assert sum(evaluation.outcomes.values()) == 4
    plain = json.loads(json.dumps(evaluation.to_dict({"level": "L1"})))
    assert plain["wilson_95"] == list(wilson(evaluation.successes, 4))
    assert len(plain["per_episode"]) == 4


def test_the_expert_succeeds_on_the_same_scenes(policy: Policy) -> None:
    task = replace(TASK, max_seconds=8.0)
    results = rollout_expert(task, range(4), n_processes=2)
    assert [result.outcome for result in results] == ["success"] * 4
    for mine, theirs in zip(rollout(policy, TASK, range(4), n_envs=2), results, strict=True):
        assert mine.target == theirs.target
        assert mine.cue == theirs.cue


def test_a_policy_of_another_rate_is_refused(policy: Policy) -> None:
    with pytest.raises(ConfigError, match="trained at 10 Hz, the task runs at 20 Hz"):
        rollout(policy, replace(TASK, fps=20.0), range(1))


def test_the_video_replays_the_episodes_and_shows_the_cue(tmp_path: Path) -> None:
    episodes = rollout_expert(replace(TASK, max_seconds=8.0), range(2), n_processes=1)
    write_video(tmp_path / "v.mp4", episodes, TASK)
    with av.open(str(tmp_path / "v.mp4")) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) == max(episode.steps for episode in episodes) + 1 + 15
    pink = np.abs(frames[0].astype(int) - (255, 64, 160)).sum(-1) < 120
    assert pink.sum() > 20, "the cross is drawn"
    green = np.abs(frames[-1].astype(int) - (42, 157, 74)).sum(-1) < 60
    assert green.mean() > 0.04, "both captions say success"


def test_eval_writes_json_video_and_map(policy: Policy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from foreact.cli.main import run

    save_policy(tmp_path / "p", policy)
    files = {name: tmp_path / name for name in ("e.json", "v.mp4", "m.png")}
    options = ["--json", str(files["e.json"]), "--video", str(files["v.mp4"]), "--map", str(files["m.png"])]
    options += ["--episodes", "2", "--envs", "1", "--video-episodes", "1", "--task.max-seconds", "1"]
    controls = ["--controls", "blind", str(tmp_path / "p")]
    assert run(["eval", str(tmp_path / "p"), "--level", "L1", *options, *controls]) == 0
    printed = capsys.readouterr().out
    assert "never_picked" in printed
    names = [evaluation["name"] for evaluation in json.loads(files["e.json"].read_text())]
    assert names == ["policy", "blind", "expert"]
    with Image.open(files["m.png"]) as picture:
        assert picture.size[0] > 300
    with av.open(str(files["v.mp4"])) as file:
        assert file.streams.video[0].frames > 10
