"""From raw observations to raw actions, and the checkpoint directory."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foreact.config import PolicyConfig, RunConfig
from foreact.errors import CheckpointError, ConfigError, ObservationError
from foreact.policy.checkpoint import load_policy, save_policy
from foreact.policy.policy import Policy
from foreact.presets import preset
from foreact.records import Camera, Features, VectorStatistics
from spots import FEATURES


def statistics(dim: int, shift: float) -> VectorStatistics:
    one = np.ones(dim)
    low, high = (shift - 10) * one, (shift + 10) * one
    return VectorStatistics(mean=shift * one, std=2 * one, min=low, max=high, q01=low + 1, q99=high - 1, count=10)


STATISTICS = {
    "action": statistics(2, 30.0),
    "observation.state": statistics(2, 30.0),
    "observation.environment_state": statistics(2, 0.2),
}


@pytest.fixture
def policy(tiny_run: RunConfig) -> Policy:
    torch.manual_seed(0)
    return Policy(config=tiny_run.policy, features=FEATURES, statistics=STATISTICS)


def observation(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "observation.state": rng.normal(30, 2, 2).astype(np.float32),
        "observation.environment_state": rng.normal(0.2, 1, 2).astype(np.float32),
        "observation.images.overhead": rng.integers(0, 255, (32, 32, 3), dtype=np.uint8),
        "observation.images.wrist": rng.integers(0, 255, (32, 32, 3), dtype=np.uint8),
    }


def test_actions_come_back_in_the_robots_units(policy: Policy) -> None:
    chunk = policy.predict_chunk(observation())
    assert chunk.shape == (6, 2)
    assert chunk.dtype == np.float32
    assert np.abs(chunk - 30).max() < 10  # an untrained network is within 5 standard deviations of the mean


def test_act_executes_the_chunk_that_was_predicted_when_it_began(policy: Policy) -> None:
    first, second = observation(0), observation(1)
    chunk = policy.predict_chunk(first)
    policy.reset()
    executed = [policy.act(first), policy.act(second), policy.act(second)]
    np.testing.assert_array_equal(executed, chunk[:3])
    np.testing.assert_array_equal(policy.act(second), policy.predict_chunk(second)[0])


def test_the_order_of_the_keys_does_not_matter_but_the_names_do(policy: Policy) -> None:
    forwards = observation()
    backwards = dict(reversed(forwards.items()))
    np.testing.assert_array_equal(policy.predict_chunk(forwards), policy.predict_chunk(backwards))
    swapped = {
        **forwards,
        "observation.images.overhead": forwards["observation.images.wrist"],
        "observation.images.wrist": forwards["observation.images.overhead"],
    }
    assert np.abs(policy.predict_chunk(forwards) - policy.predict_chunk(swapped)).max() > 1e-4


def test_a_batch_gives_what_its_members_give_alone(policy: Policy) -> None:
    items = [observation(seed) for seed in range(3)]
    together = policy.predict_chunks(items)
    for item, chunk in zip(items, together, strict=True):
        np.testing.assert_allclose(policy.predict_chunk(item), chunk, atol=1e-4)  # values around 30 in float32


def test_a_sampled_latent_differs_between_ticks_and_repeats_after_reset(tiny_run: RunConfig) -> None:
    torch.manual_seed(0)
    config = replace(tiny_run.policy, latent="prior")
    policy = Policy(config=config, features=FEATURES, statistics=STATISTICS)
    policy.reset()
    first, second = policy.predict_chunk(observation()), policy.predict_chunk(observation())
    assert np.abs(first - second).max() > 0
    policy.reset()
    np.testing.assert_array_equal(policy.predict_chunk(observation()), first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observation.state": None}, "lacks 'observation.state': did you mean"),
        ({"observation.state": np.zeros(3, np.float32)}, r"'observation.state' has shape \(3,\), expected \(2,\)"),
        ({"observation.state": np.array(["a", "b"])}, "'observation.state' has dtype <U1, expected a float"),
        ({"observation.state": np.array([0, np.nan])}, "'observation.state' is not finite in dimension 1"),
        ({"observation.images.wrist": None}, "lacks 'observation.images.wrist'"),
        (
            {"observation.images.wrist": np.zeros((32, 32, 3), np.float32)},
            "'observation.images.wrist' has dtype float32, expected uint8",
        ),
        (
            {"observation.images.wrist": np.zeros((3, 32, 32), np.uint8)},
            r"'observation.images.wrist' has shape \(3, 32, 32\), expected \(32, 32, 3\)",
        ),
        (
            {"observation.images.wrist": np.zeros((48, 64, 3), np.uint8)},
            "'observation.images.wrist' is 48x64 pixels, the policy was trained on 32x32; pass resize_images=True",
        ),
    ],
)
def test_a_wrong_observation_is_refused_with_the_name_of_the_offender(
    policy: Policy, change: dict[str, Any], message: str
) -> None:
    changed = {key: value for key, value in {**observation(), **change}.items() if value is not None}
    if "observation.state" not in changed:
        changed["observation.stat"] = np.zeros(2)
    with pytest.raises(ObservationError, match=message) as caught:
        policy.predict_chunk(changed)
    assert "\n" not in str(caught.value)


def test_another_image_size_is_resized_only_on_request(tiny_run: RunConfig) -> None:
    policy = Policy(config=tiny_run.policy, features=FEATURES, statistics=STATISTICS, resize_images=True)
    grey = {**observation(), "observation.images.wrist": np.full((48, 64, 3), 99, np.uint8)}
    same = {**grey, "observation.images.wrist": np.full((32, 32, 3), 99, np.uint8)}
    np.testing.assert_allclose(policy.predict_chunk(grey), policy.predict_chunk(same), atol=1e-4)


def test_a_saved_policy_acts_the_same_bit_for_bit_without_its_cvae_encoder(policy: Policy, tmp_path: Path) -> None:
    save_policy(tmp_path / "p", policy, step=7)
    loaded = load_policy(tmp_path / "p")
    assert loaded.model.vae_encoder is None
    assert not any("vae" in name for name in loaded.model.state_dict())
    np.testing.assert_array_equal(loaded.predict_chunk(observation()), policy.predict_chunk(observation()))


def test_settings_of_the_executor_can_be_changed_at_inference_but_not_the_network(
    policy: Policy, tmp_path: Path
) -> None:
    save_policy(tmp_path / "p", policy)
    ensemble = load_policy(tmp_path / "p", overrides={"n_action_steps": 1, "temporal_ensemble_coeff": 0.01})
    executor = ensemble.make_executor()
    for chunk, mean in ((np.full((4, 2), 30), 30), (np.full((4, 2), 31), 30.5)):
        executor.add(chunk)
        np.testing.assert_allclose(executor.next_action(), mean, atol=0.01)  # a queue would give the newest
    assert load_policy(tmp_path / "p", overrides={"asynchronous": True}).executor_settings.asynchronous
    with pytest.raises(ConfigError, match=r"policy.dim_model cannot be changed after training"):
        load_policy(tmp_path / "p", overrides={"dim_model": 32})


def _remove(folder: Path, name: str) -> None:
    (folder / name).unlink()


def _flip_a_bit(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)


@pytest.mark.parametrize("name", ["config.json", "statistics.json", "model.safetensors"])
def test_a_missing_or_altered_file_is_named(policy: Policy, tmp_path: Path, name: str) -> None:
    save_policy(tmp_path / "a", policy)
    _remove(tmp_path / "a", name)
    with pytest.raises(CheckpointError, match=f"lacks '{name}'"):
        load_policy(tmp_path / "a")
    save_policy(tmp_path / "b", policy)
    _flip_a_bit(tmp_path / "b", name)
    with pytest.raises(CheckpointError, match=f"{name}' was altered or damaged"):
        load_policy(tmp_path / "b")


def test_a_disk_that_is_full_at_the_weights_stops_with_one_message_and_leaves_nothing(
    policy: Policy, tmp_path: Path
) -> None:
    """A real limit: no file of this process may grow beyond 64 KiB."""
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot write checkpoint .*free space or choose another"):
            save_policy(tmp_path / "p", policy)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_without_manifest_was_not_completely_written(policy: Policy, tmp_path: Path) -> None:
    save_policy(tmp_path / "p", policy)
    _remove(tmp_path / "p", "manifest.json")
    with pytest.raises(CheckpointError, match=r"has no manifest.json: it was not completely written"):
        load_policy(tmp_path / "p")


def test_a_missing_run_or_checkpoint_lists_what_there_is(policy: Policy, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such directory"):
        load_policy(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*expected checkpoints/step-"):
        load_policy(tmp_path)
    save_policy(tmp_path / "run" / "checkpoints" / "step-000100", policy, step=100)
    load_policy(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"has no checkpoint '50'; choices: last, best, 100"):
        load_policy(tmp_path / "run", checkpoint="50")


def test_a_weight_of_another_shape_is_named(policy: Policy, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from foreact.model.act import ACT
    from foreact.policy.checkpoint import load_weights

    save_policy(tmp_path / "p", policy)
    weights = load_file(tmp_path / "p" / "model.safetensors")
    weights["action_head.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match=r"'action_head.bias' in .* has shape \(3,\), expected \(2,\)"):
        load_weights(ACT(policy.config, FEATURES), weights, tmp_path / "p")


def test_a_checkpoint_of_another_schema_says_so(policy: Policy, tmp_path: Path) -> None:
    save_policy(tmp_path / "p", policy)
    manifest = tmp_path / "p" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema_version": 99}))
    with pytest.raises(CheckpointError, match="schema version 99, this foreact reads 1"):
        load_policy(tmp_path / "p")


def test_hydra_builds_the_r1pro_policy_which_takes_nested_and_flat_observations() -> None:
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    r1pro = preset("r1pro").policy
    ranges = {"state": r1pro.state_ranges, "action": r1pro.action_ranges}
    OmegaConf.register_new_resolver("ranges", lambda name: [list(pair) for pair in ranges[name] or ()], replace=True)
    OmegaConf.register_new_resolver("names", lambda prefix, n: [f"{prefix}{i}" for i in range(n)], replace=True)
    torch.manual_seed(0)
    policy = instantiate(OmegaConf.load(Path(__file__).with_name("r1pro.yaml")), _convert_="all")
    assert isinstance(policy, Policy)
    assert policy.config.state_keys == r1pro.state_keys
    assert policy.config.key_dims == r1pro.key_dims

    rng = np.random.default_rng(0)
    flat: dict[str, Any] = {
        key: rng.normal(0, 0.1, dim).astype(np.float32)
        for key, dim in zip(r1pro.state_keys, r1pro.key_dims, strict=False)
    }
    for name, size in (("left_realsense", 480), ("right_realsense", 480), ("zed", 720)):
        flat[f"observation.images.{name}"] = rng.integers(0, 255, (size, size, 3), dtype=np.uint8)
        flat[f"observation.depth.{name}"] = rng.uniform(0.1, 12, (size, size)).astype(np.float32)
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        group, _, part = key.partition("/")
        if part:
            nested.setdefault(group, {})[part] = value
        else:
            nested[key] = value
    action = policy.act(flat)
    policy.reset()
    np.testing.assert_array_equal(policy.act(nested), action)
    parts = policy.split_action(action)
    assert {name: part.shape for name, part in parts.items()} == {
        "base": (3,),
        "torso": (4,),
        "left_arm": (7,),
        "left_gripper": (1,),
        "right_arm": (7,),
        "right_gripper": (1,),
    }
    assert abs(parts["left_gripper"][0]) == 1.0
    assert abs(parts["right_gripper"][0]) == 1.0
    del nested["qpos"]["torso"]
    policy.reset()
    with pytest.raises(ObservationError, match="lacks 'qpos/torso'"):
        policy.act(nested)


def test_depth_in_millimetres_is_refused() -> None:
    features = Features(
        action_names=("a",), cameras=(Camera(name="head", height=32, width=32, depth_range=(0.1, 2.0)),)
    )
    config = PolicyConfig(
        chunk_size=2, n_action_steps=1, vision_backbone="cnn", pretrained_backbone_weights=None, dim_model=16, n_heads=2
    )
    policy = Policy(config=config, features=features, statistics={"action": statistics(1, 0.0)})
    image = np.zeros((32, 32, 3), np.uint8)
    depth = np.full((32, 32), 1500, np.uint16)
    with pytest.raises(ObservationError, match=r"'observation.depth.head' has dtype uint16, expected float metres"):
        policy.act({"observation.images.head": image, "observation.depth.head": depth})
    metres = np.full((32, 32), np.inf, np.float32)
    assert np.isfinite(policy.act({"observation.images.head": image, "observation.depth.head": metres})).all()
    policy.reset()
    metres[3, 4] = np.nan
    with pytest.raises(ObservationError, match=r"'observation.depth.head' is nan in 1 pixels"):
        policy.act({"observation.images.head": image, "observation.depth.head": metres})
