"""The classic off-by-one, planted: policies trained on actions of the next frame, and examined on others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foreact.config import RunConfig, TrainConfig
from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.diagnose.examined import open_examined
from foreact.diagnose.lead import lead_in_data, lead_in_training
from foreact.diagnose.replay import replay
from foreact.diagnose.shift import judge_shift, measure_shift
from foreact.finding import Finding
from foreact.records import Features
from foreact.train.run import train
from tiny import TINY

FEATURES = Features(action_names=("a", "b"), state_names=("a", "b"), environment_names=("x", "y"), cameras=(), fps=10.0)
LENGTH = 30


def write(root: Path, *, shifted: bool) -> Path:
    """Sixteen swings from one place out to the cue and half way back; the action is where the arm is a frame later."""
    rng = np.random.default_rng(0)
    writer = DatasetWriter(root, features=FEATURES, robot_type="test")
    for _ in range(16):
        cue = rng.uniform(0.4, 0.9, 2)
        t = np.linspace(0, 1, LENGTH + 2)[:, None]
        path = 0.1 + (cue - 0.1) * np.concatenate([np.sin(2.6 * t[:, 0])[:, None], 1.2 * t**1.5], axis=1)
        later = 2 if shifted else 1
        vectors = {
            "observation.state": path[:LENGTH],
            "observation.environment_state": np.tile(cue, (LENGTH, 1)),
            "action": path[later : LENGTH + later],
        }
        writer.add(stage_episode(writer.staging, task="swing", vectors=vectors, frames={}, fps=10))
    writer.finish()
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shift")
    return {name: write(folder / name, shifted=name == "shifted") for name in ("as it is", "shifted")}


@pytest.fixture(scope="module")
def runs(data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two policies that have really learned the one and the other."""
    schedule = TrainConfig(
        steps=300,
        batch_size=32,
        lr=3e-3,
        lr_backbone=3e-3,
        lr_schedule="cosine",
        warmup_steps=10,
        val_fraction=0.25,
        val_every=300,
        save_every=300,
        log_every=50,
        accelerator="cpu",
        devices="1",
        num_workers=0,
    )
    policy = replace(TINY, n_encoder_layers=1, use_vae=False)
    folder = tmp_path_factory.mktemp("runs")
    for name, path in data.items():
        train(RunConfig(policy=policy, train=schedule), data=path, out=folder / name)
    return {name: folder / name for name in data}


def examine(run: Path, data: Path) -> Finding:
    examined = open_examined(run, data=data, checkpoint="last", episodes=8, cache_dir=None, device="cpu")
    replays = replay(examined.policy, examined.dataset, held_out=examined.held_out)
    return judge_shift(measure_shift(examined.policy, replays), lead_in_data(examined), lead_in_training(examined))


@pytest.mark.parametrize(
    ("trained_on", "shown", "words"),
    [("shifted", "as it is", "1 frame later"), ("as it is", "shifted", "1 frame earlier")],
)
def test_a_policy_trained_on_actions_of_another_frame_is_named(
    trained_on: str, shown: str, words: str, runs: dict[str, Path], data: dict[str, Path]
) -> None:
    finding = examine(runs[trained_on], data[shown])
    assert finding.severity == "fault"
    assert finding.verdict.startswith(f"actions shifted: the predictions match the demonstrations best {words}")
    leads = (
        finding.evidence["state_follows_action_after_frames"],
        finding.evidence["state_follows_action_in_the_training_data_after_frames"],
    )
    expected = {"as it is": 1, "shifted": 2}
    assert leads == pytest.approx((expected[shown], expected[trained_on]), abs=0.3)
    assert "foreact inspect" in finding.remedy


@pytest.mark.parametrize(("name", "severity"), [("as it is", "fine"), ("shifted", "fault")])
def test_one_examined_on_what_it_was_trained_on_agrees_with_it_and_the_data_are_accused_if_anything(
    name: str, severity: str, runs: dict[str, Path], data: dict[str, Path]
) -> None:
    finding = examine(runs[name], data[name])
    assert finding.severity == severity
    assert finding.evidence["shifted_by_frames"] == 0
    assert finding.evidence["state_follows_action_in_the_training_data_after_frames"] is None
    assert ("actions shifted by 1 frame: " in finding.verdict) == (severity == "fault")
