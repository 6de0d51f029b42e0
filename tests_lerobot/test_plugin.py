"""LeRobot's own commands train, resume, evaluate and drive our policy, which does what it does without LeRobot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot_policy_foreact import ForeactConfig
from lerobot_policy_foreact.from_foreact import convert, left_behind
from recording import FEATURES, FPS, record
from safetensors.torch import load_file
from tiny_world import CAMERAS

from deploy.lerobot_files import write_ours
from foreact import load_policy
from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.data.sidecar import Sidecar, write_sidecar
from foreact.data.source import open_source
from foreact.deploy.import_checkpoint import import_checkpoint
from foreact.deploy.lerobot_export import export_lerobot
from foreact.deploy.unsaid import Unsaid
from foreact.errors import CheckpointError, ConfigError, OutOfRangeError
from foreact.policy.checkpoint import read_meta, read_weights, save_policy, write_directory, write_policy_files
from foreact.policy.policy import Policy
from foreact.records import Arm, Calibration, Camera, Features

ROOT = Path(__file__).parents[1]
SMALL = {
    "type": "foreact",
    "device": "cpu",
    "push_to_hub": "false",
    "pretrained_backbone_weights": "null",
    "vision_backbone": "cnn",
    "backbone_norm": "group",
    "chunk_size": 5,
    "n_action_steps": 3,
    "dim_model": 32,
    "n_heads": 2,
    "dim_feedforward": 32,
    "n_encoder_layers": 1,
    "n_vae_encoder_layers": 1,
}


def run(command: str, folder: Path, options: dict[str, Any]) -> str:
    """Run one of LeRobot's commands, which finds the plugin by itself, and return what it printed."""
    words = [str(Path(sys.executable).with_name(command)), *(f"--{key}={value}" for key, value in options.items())]
    found = os.pathsep.join(str(ROOT / part) for part in ("src", "runtime/src", "tests_lerobot"))
    environment = os.environ | {"PYTHONPATH": found, "HF_LEROBOT_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def train(folder: Path, data: Path, out: str, steps: int = 3, **policy: Any) -> Path:
    options = {
        "dataset.repo_id": "local/ours",
        "dataset.root": data,
        "dataset.video_backend": "pyav",
        **{f"policy.{name}": value for name, value in (SMALL | policy).items()},
        "output_dir": folder / out,
        "steps": steps,
        "batch_size": 2,
        "num_workers": 0,
        "log_freq": 1,
        "save_freq": 3,
        "wandb.enable": "false",
    }
    (folder / f"{out}.log").write_text(run("lerobot-train", folder, options))
    return folder / out / "checkpoints"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording, and a run whose losses are told apart by the cue."""
    folder = tmp_path_factory.mktemp("plugin")
    record(folder / "data")
    ways = {"conditioning": "[token,auxiliary,contrastive]", "cue_noise": 0.01, "lr_schedule": "cosine"}
    train(folder, folder / "data", "run", **ways)
    return folder


def pretrained(folder: Path, step: str = "last") -> Path:
    return folder / "run/checkpoints" / step / "pretrained_model"


def observation(seed: int, size: int = 1) -> dict[str, torch.Tensor]:
    """As LeRobot's environments and robots hand one on: float pictures in 0..1."""
    rng = np.random.default_rng(seed)
    batch = {
        "observation.state": torch.from_numpy(rng.normal(size=(size, 3)).astype(np.float32)),
        "observation.environment_state": torch.from_numpy(rng.normal(size=(size, 2)).astype(np.float32)),
    }
    for camera in FEATURES.cameras:
        pictures = rng.integers(0, 256, (size, 3, camera.height, camera.width), dtype=np.uint8)
        batch[f"observation.images.{camera.name}"] = torch.from_numpy(pictures).float() / 255
    return batch


def as_ours(batch: dict[str, torch.Tensor], row: int) -> dict[str, np.ndarray]:
    """The same as our policy takes it."""
    return {
        key: (value[row] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy() if value.ndim == 4 else value[row]
        for key, value in batch.items()
    }  # type: ignore[return-value]


def test_the_distribution_has_the_name_by_which_lerobot_finds_it(tmp_path: Path) -> None:
    assert metadata("lerobot_policy_foreact")["Name"] == "lerobot_policy_foreact"
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*command, str(ROOT / "lerobot_policy_foreact")], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    text = zipfile.ZipFile(wheel).read("lerobot_policy_foreact-0.1.0.dist-info/METADATA").decode()
    assert "\nName: lerobot_policy_foreact\n" in text


def test_lerobot_trains_with_our_losses_and_keeps_our_statistics(trained: Path) -> None:
    log = (trained / "run.log").read_text()
    last = next(line for line in log.splitlines() if "step:3 " in line)
    for term in ("l1:", "kl:", "auxiliary:", "contrastive:"):
        assert term in last
    config = json.loads((pretrained(trained) / "config.json").read_text())
    assert config["robot"]["features"]["action_names"] == ["shoulder", "gripper"]
    assert config["action_feature_names"] == ["shoulder", "gripper"]
    mean = config["robot"]["statistics"]["action"]["mean"]
    np.testing.assert_allclose(mean[1], np.mean([step for length in (12, 7, 15) for step in range(length)]))
    weights = load_file(pretrained(trained) / "model.safetensors")
    assert any(name.startswith("model.cue_head.") for name in weights)
    assert any(name.startswith("model.vae_encoder.") for name in weights)


def test_lerobot_goes_on_with_a_run(trained: Path) -> None:
    options = {"config_path": pretrained(trained, "000003") / "train_config.json", "resume": "true", "steps": 6}
    log = run("lerobot-train", trained, options)
    assert "step:4 " in log
    assert "step:3 " not in log
    before, after = (load_file(pretrained(trained, step) / "model.safetensors") for step in ("000003", "000006"))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(value.isfinite().all() for value in after.values())


def test_select_action_is_our_own_policys_act(trained: Path, tmp_path: Path) -> None:
    source = pretrained(trained, "000003")
    config = PreTrainedConfig.from_pretrained(source)
    assert isinstance(config, ForeactConfig)
    theirs = get_policy_class("foreact").from_pretrained(source, config=config, strict=True)
    pre, post = make_pre_post_processors(config, str(source))
    import_checkpoint(str(source), tmp_path / "ours", Unsaid())
    ours = [load_policy(tmp_path / "ours") for _ in range(2)]
    theirs.reset()
    for tick in range(7):  # two chunks and a half
        batch = observation(tick, size=2)
        actions = post(theirs.select_action(pre(batch)))
        expected = np.stack([policy.act(as_ours(batch, row)) for row, policy in enumerate(ours)])
        np.testing.assert_allclose(actions.numpy(), expected, rtol=0, atol=1e-5)
    batch = observation(9, size=2)
    chunks = theirs.predict_action_chunk(batch)
    expected = np.stack([limited_chunk(ours[0], as_ours(batch, row)) for row in range(2)])
    np.testing.assert_allclose(chunks.numpy(), expected, rtol=0, atol=1e-5)


def limited_chunk(policy: Policy, observation: dict[str, np.ndarray]) -> np.ndarray:
    """What our own policy tells a robot that executes a whole chunk before it asks again."""
    n_actions = policy.config.chunk_size
    controller = policy.make_controller(policy.executor_settings.ahead(n_actions))
    return controller.act_ahead(observation, n_actions)


def test_limits_and_alarm_hold_in_lerobot_too(trained: Path) -> None:
    """Whichever of LeRobot's two methods is asked: its loop takes one action, other callers whole chunks."""
    source = pretrained(trained, "000003")
    config = PreTrainedConfig.from_pretrained(source)
    config.velocity_limits, config.on_alarm = [0.5, 0.5], "stop"
    policy = get_policy_class("foreact").from_pretrained(source, config=config, strict=True)
    free = get_policy_class("foreact").from_pretrained(source, strict=True)
    batch = {**observation(3), "observation.state": torch.zeros(1, 3)}
    raw = free._chunks(batch)[0]
    assert np.abs(np.diff(raw, axis=0)).max() > 0.5 / FPS  # untouched, it would be faster
    chunk = policy.predict_action_chunk(batch)[0].numpy()
    policy.reset()
    ticks = np.stack([policy.select_action(batch)[0].numpy() for _ in range(3)])
    np.testing.assert_array_equal(ticks, chunk[:3])
    assert np.abs(np.diff(chunk, axis=0)).max() <= 0.5 / FPS + 1e-6
    outside = {**batch, "observation.state": torch.full((1, 3), 1e4)}
    for method in (policy.select_action, policy.predict_action_chunk):
        with pytest.raises(OutOfRangeError, match=r"stopped: .* is 1e\+04, far outside"):
            method(outside)


def evaluate(policy: Path, folder: Path) -> None:
    options = {
        "policy.path": policy,
        "policy.device": "cpu",
        "env.type": "tiny",
        "env.discover_packages_path": "tiny_world",
        "eval.n_episodes": 2,
        "eval.batch_size": 2,
        "eval.use_async_envs": "false",
        "output_dir": folder / "eval",
    }
    run("lerobot-eval", folder, options)
    info = json.loads((folder / "eval/eval_info.json").read_text())
    assert info["overall"]["n_episodes"] == 2


def test_lerobot_evaluates_it_in_an_environment(trained: Path) -> None:
    evaluate(pretrained(trained), trained)


def test_lerobot_drives_a_robot_with_it_and_the_coordinates_come_from_the_command_line(trained: Path) -> None:
    log = trained / "commands.txt"
    options = {
        "policy.path": pretrained(trained),
        "policy.device": "cpu",
        "policy.coordinates": "[0.1,-0.2]",
        "robot.type": "tiny",
        "robot.discover_packages_path": "tiny_world",
        "robot.log": log,
        "fps": 10,
        "duration": 2,
        "play_sounds": "false",
        "return_to_initial_position": "false",
    }
    run("lerobot-rollout", trained, options)
    commands = np.loadtxt(log)
    assert len(commands) >= 3
    assert np.isfinite(commands).all()


def test_lerobot_records_while_our_policy_drives_and_our_reader_reads_it(trained: Path, tmp_path: Path) -> None:
    log = tmp_path / "commands.txt"
    options = {
        "strategy.type": "sentry",
        "policy.path": pretrained(trained),
        "policy.device": "cpu",
        "policy.coordinates": "[0.1,-0.2]",
        "robot.type": "tiny",
        "robot.discover_packages_path": "tiny_world",
        "robot.log": log,
        "dataset.repo_id": "local/rollout_ours",
        "dataset.root": tmp_path / "recorded",
        "dataset.single_task": "go there",
        "dataset.fps": 10,
        "dataset.push_to_hub": "false",
        "fps": 10,
        "duration": 3,
        "play_sounds": "false",
        "return_to_initial_position": "false",
    }
    run("lerobot-rollout", trained, options)
    source = open_source(tmp_path / "recorded")
    assert source.features.action_names == ("shoulder.pos", "gripper.pos")
    assert source.features.state_names == ("shoulder.pos", "elbow.pos", "gripper.pos")
    assert {camera.name: (camera.height, camera.width) for camera in source.features.cameras} == CAMERAS
    assert (source.features.fps, source.episode_indices, source.tasks) == (10, (0,), {0: "go there"})
    episode = source.episode(0)
    commands = np.loadtxt(log)
    assert len(episode.action) == len(commands) >= 3
    np.testing.assert_allclose(episode.action, commands, rtol=0, atol=1e-5)
    assert episode.state is not None
    np.testing.assert_allclose(episode.state[1:, [0, 2]], commands[:-1], rtol=0, atol=1e-5)  # it goes there at once
    for camera in CAMERAS:
        pictures_read = list(source.frames(0, camera))
        assert len(pictures_read) == len(commands)
        assert pictures_read[0].shape == (*CAMERAS[camera], 3)


def test_lerobot_evaluates_a_plain_policy_that_we_exported_as_its_own_act(tmp_path: Path) -> None:
    export_lerobot(write_ours(tmp_path / "ours", FEATURES), tmp_path / "theirs")
    evaluate(tmp_path / "theirs", tmp_path)


def test_a_policy_trained_by_foreact_is_written_for_lerobot(trained: Path, tmp_path: Path) -> None:
    import_checkpoint(str(pretrained(trained, "000003")), tmp_path / "ours", Unsaid())
    convert(tmp_path / "ours", tmp_path / "theirs")
    policy = get_policy_class("foreact").from_pretrained(tmp_path / "theirs", strict=True)
    batch = observation(3)
    expected = load_policy(tmp_path / "ours").predict_chunk(as_ours(batch, 0))
    np.testing.assert_allclose(policy._chunks(batch)[0], expected, rtol=0, atol=1e-5)
    with pytest.raises(CheckpointError, match="exists"):
        convert(tmp_path / "ours", tmp_path / "theirs")


def test_a_policy_without_cvae_encoder_is_written_for_lerobot_as_one_that_needs_none(
    trained: Path, tmp_path: Path
) -> None:
    import_checkpoint(str(pretrained(trained, "000003")), tmp_path / "ours", Unsaid())
    meta = read_meta(tmp_path / "ours")
    weights = {name: of for name, of in read_weights(tmp_path / "ours").items() if not name.startswith("vae_encoder")}
    write_directory(tmp_path / "acting", lambda folder: write_policy_files(folder, meta, weights))
    convert(tmp_path / "acting", tmp_path / "theirs")
    policy = get_policy_class("foreact").from_pretrained(tmp_path / "theirs", strict=True)
    batch = observation(3)
    expected = load_policy(tmp_path / "ours").predict_chunk(as_ours(batch, 0))
    np.testing.assert_allclose(policy._chunks(batch)[0], expected, rtol=0, atol=1e-5)


ARM = Arm(
    joints=("pan", "lift", "elbow"),
    positions=((0, 0, 0.1), (0, 0, 0), (0.15, 0, 0)),
    quaternions=((1, 0, 0, 0),) * 3,
    axes=((0, 0, 1), (0, 1, 0), (0, 1, 0)),
    limits=((-2, 2), (-2, 2), (-2.5, 2.5)),
    hand_position=(0.15, 0, 0),
    hand_quaternion=(1, 0, 0, 0),
    gripper="gripper",
    gripper_closed=0.4,
)
ABOVE = Calibration(size=(48, 64), focal=(50, 50), center=(32, 24), position=(0.2, 0, 1), quaternion=(0, 1, 0, 0))
GROUNDED = Features(
    action_names=("pan", "lift", "elbow", "gripper"),
    state_names=("pan", "lift", "elbow", "gripper"),
    environment_names=("x", "y"),
    cameras=(Camera(name="top", height=48, width=64),),
    fps=float(FPS),
)


def test_lerobot_trains_the_grounded_policy_on_a_calibrated_recording(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path / "data", features=GROUNDED, robot_type="made_up")
    rng = np.random.default_rng(0)
    for _ in range(2):
        state = np.cumsum(rng.normal(0, 0.05, (10, 4)), axis=0)
        state[:, GROUNDED.state_names.index("gripper")] += np.linspace(0.8, 0, 10)  # it closes
        vectors = {
            "observation.state": state,
            "observation.environment_state": np.tile(rng.uniform(0.1, 0.3, 2), (10, 1)),
            "action": state + 0.01,
        }
        frames = {"top": [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(10)]}
        writer.add(stage_episode(writer.staging, task="reach", vectors=vectors, frames=frames, fps=FPS))
    writer.finish()
    write_sidecar(tmp_path / "data", Sidecar(cameras={"top": ABOVE}, arm=ARM, environment_height=0.0))
    source = train(
        tmp_path, tmp_path / "data", "run", conditioning="[token,crop,frame,world]", cue_noise=0.01, cue_crop=0.5
    )
    source = source / "last/pretrained_model"
    import_checkpoint(str(source), tmp_path / "ours", Unsaid())
    ours = load_policy(tmp_path / "ours")
    theirs = get_policy_class("foreact").from_pretrained(source, strict=True)
    batch = {
        "observation.state": torch.zeros(1, 4),
        "observation.environment_state": torch.tensor([[0.2, 0.05]]),
        "observation.images.top": torch.from_numpy(rng.integers(0, 256, (1, 3, 48, 64), dtype=np.uint8)) / 255,
    }
    np.testing.assert_allclose(theirs._chunks(batch)[0], ours.predict_chunk(as_ours(batch, 0)), rtol=0, atol=1e-5)


def test_what_is_left_behind_is_said(trained: Path, tmp_path: Path) -> None:
    import_checkpoint(str(pretrained(trained, "000003")), tmp_path / "ours", Unsaid())
    meta = read_meta(tmp_path / "ours")
    assert left_behind(meta.policy) == ""
    ahead = replace(meta.policy, asynchronous=True)
    save_policy(tmp_path / "ahead", Policy(config=ahead, features=meta.features, statistics=meta.statistics))
    command = [sys.executable, "-m", "lerobot_policy_foreact.from_foreact", tmp_path / "ahead", tmp_path / "theirs"]
    found = os.pathsep.join(str(ROOT / part) for part in ("src", "runtime/src"))
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": found}, check=True)
    assert "asynchronous execution stays behind" in done.stdout


def test_what_lerobot_cannot_hand_on_is_refused_by_its_name(trained: Path, tmp_path: Path) -> None:
    import_checkpoint(str(pretrained(trained, "000003")), tmp_path / "ours", Unsaid())
    meta = read_meta(tmp_path / "ours")
    nested = replace(meta.policy, downsample_factor=3)
    save_policy(
        tmp_path / "slow", Policy(config=nested, features=meta.features, statistics=meta.statistics, device="cpu")
    )
    with pytest.raises(ConfigError, match="downsample_factor"):
        convert(tmp_path / "slow", tmp_path / "out")
    with pytest.raises(ConfigError, match="n_action_steps"):
        ForeactConfig(chunk_size=5, device="cpu")
    with pytest.raises(ConfigError, match="data set"):
        get_policy_class("foreact")(ForeactConfig(device="cpu"))
