"""Checkpoints go both ways: LeRobot 0.6.1's own files and commands on one side, ours on the other, one chunk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from lerobot.policies.factory import make_pre_post_processors
from safetensors.torch import load_file
from shaken import shake

from foreact import load_policy
from foreact.config import PolicyConfig
from foreact.deploy.import_checkpoint import import_checkpoint
from foreact.deploy.lerobot_export import export_lerobot
from foreact.deploy.unsaid import Unsaid
from foreact.model.act import ACT
from foreact.policy.checkpoint import CheckpointMeta, write_directory, write_policy_files
from foreact.policy.inputs import network_features
from foreact.records import Camera, Features, VectorStatistics

SAME = 1e-5
"""Largest difference of a chunk, in the robot's units; actions are of order 1."""
SMALL: dict[str, Any] = {
    "chunk_size": 8,
    "n_action_steps": 8,
    "dim_model": 64,
    "n_heads": 4,
    "dim_feedforward": 96,
    "n_encoder_layers": 2,
    "n_vae_encoder_layers": 1,
}
SIZES = {"observation.state": 6, "observation.environment_state": 2, "action": 6}
CAMERAS = {"observation.images.top": (96, 128), "observation.images.wrist.left": (64, 96)}
"""Of different sizes, and one with a dot in its name."""
KINDS = {"STATE": "observation.state", "ENV": "observation.environment_state"}
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def feature(kind: str, *shape: int) -> PolicyFeature:
    return PolicyFeature(FeatureType(kind), shape)


def stats_of(rng: np.random.Generator, imagenet: bool = True) -> dict[str, dict[str, torch.Tensor]]:
    """Made-up statistics of a data set; the last dimension of the state never moved."""
    stats: dict[str, dict[str, Any]] = {}
    for key, dim in SIZES.items():
        values = rng.normal(rng.normal(size=dim), rng.uniform(0.05, 1, dim), (200, dim)).astype(np.float32)
        if key == "observation.state":
            values[:, -1] = 0.25
        quantiles = {f"q{n:02d}": np.quantile(values, n / 100, axis=0) for n in (1, 10, 50, 90, 99)}
        stats[key] = {"mean": values.mean(0), "std": values.std(0), "min": values.min(0), "max": values.max(0)}
        stats[key] |= {**quantiles, "count": np.array([200])}
        if key == "observation.state":
            stats[key]["std"][-1] = 0
    for key in CAMERAS:
        mean, std = IMAGENET if imagenet else (rng.uniform(0.3, 0.6, 3), rng.uniform(0.1, 0.3, 3))
        low, high = rng.uniform(0, 0.1, 3), rng.uniform(0.9, 1, 3)
        named = {"mean": mean, "std": std, "min": low, "max": high, "q01": low, "q99": high, "q10": low, "q90": high}
        stats[key] = {name: np.array(value).reshape(3, 1, 1) for name, value in named.items()}
    return {key: {n: torch.tensor(np.asarray(v, np.float32)) for n, v in of.items()} for key, of in stats.items()}


def observation(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A raw observation, as a robot gives it; what never moved does not move."""
    of: dict[str, np.ndarray] = {
        key: rng.normal(size=dim).astype(np.float32) for key, dim in SIZES.items() if key != "action"
    }
    of["observation.state"][-1] = 0.25
    return of | {key: rng.integers(0, 256, (*size, 3), dtype=np.uint8) for key, size in CAMERAS.items()}


def lerobots_chunk(directory: Path, raw: dict[str, np.ndarray]) -> np.ndarray:
    """What LeRobot's own loaders make of a directory and an observation."""
    policy = ACTPolicy.from_pretrained(directory, strict=True)
    pre, post = make_pre_post_processors(policy.config, str(directory))
    batch = {
        key: torch.from_numpy(of).permute(2, 0, 1).float() / 255 if of.ndim == 3 else torch.from_numpy(of)
        for key, of in raw.items()
    }
    with torch.inference_mode():
        return post(policy.predict_action_chunk(pre(batch)))[0].numpy()


VARIANTS: dict[str, dict[str, Any]] = {
    "as they come": {},
    "pre-norm": {"pre_norm": True},
    "no VAE": {"use_vae": False},
    "no state": {"without": "observation.state"},
    "no coordinates": {"without": "observation.environment_state"},
    "no cameras": {"without": "observation.images"},
    "one camera": {"without": "observation.images.wrist"},
    "min and max": {"modes": "MIN_MAX"},
    "quantiles": {"modes": "QUANTILES"},
    "10 and 90 %": {"modes": "QUANTILE10"},
    "not normalised": {"modes": "IDENTITY"},
    "coordinates normalised": {"modes": "MEAN_STD", "env": "MEAN_STD"},
    "the data's colours": {"imagenet": False},
    "three decoder layers, gelu": {"n_decoder_layers": 3, "feedforward_activation": "gelu"},
    "ResNet-50": {"vision_backbone": "resnet50"},
    "dilated ResNet-50": {"vision_backbone": "resnet50", "replace_final_stride_with_dilation": True},
    "ensemble": {"n_action_steps": 1, "temporal_ensemble_coeff": 0.01},
    "half a chunk": {"n_action_steps": 4},
}


def lerobot_checkpoint(directory: Path, variant: dict[str, Any]) -> None:
    """Written by LeRobot, with weights and statistics at random."""
    options = dict(variant)
    without, modes = options.pop("without", None), options.pop("modes", "MEAN_STD")
    env, imagenet = options.pop("env", None), options.pop("imagenet", True)
    inputs = {KINDS[kind]: feature(kind, SIZES[KINDS[kind]]) for kind in KINDS}
    inputs |= {key: feature("VISUAL", 3, *size) for key, size in CAMERAS.items()}
    inputs = {key: of for key, of in inputs.items() if without is None or not key.startswith(without)}
    mapping = {kind: NormalizationMode(modes) for kind in ("VISUAL", "STATE", "ACTION")}
    if env:
        mapping["ENV"] = NormalizationMode(env)
    torch.manual_seed(0)
    config = ACTConfig(
        input_features=inputs,
        output_features={"action": feature("ACTION", SIZES["action"])},
        normalization_mapping=mapping,
        pretrained_backbone_weights=None,
        device="cpu",
        push_to_hub=False,
        **(SMALL | options),
    )
    policy = ACTPolicy(config)
    shake(policy.model.state_dict())
    policy.save_pretrained(directory)
    for pipeline in make_act_pre_post_processors(config, stats_of(np.random.default_rng(1), imagenet)):
        pipeline.save_pretrained(directory)


@pytest.mark.parametrize("name", VARIANTS)
def test_an_imported_policy_gives_lerobots_chunk_and_so_does_what_it_is_exported_to(name: str, tmp_path: Path) -> None:
    lerobot_checkpoint(tmp_path / "theirs", VARIANTS[name])
    import_checkpoint(str(tmp_path / "theirs"), tmp_path / "ours", Unsaid())
    policy = load_policy(tmp_path / "ours")
    export_lerobot(tmp_path / "ours", tmp_path / "back")
    chunks = []
    for seed in (2, 3):
        raw = observation(np.random.default_rng(seed))
        expected = lerobots_chunk(tmp_path / "theirs", raw)
        chunks.append(expected)
        assert np.abs(policy.predict_chunk(raw) - expected).max() < SAME
        assert np.abs(lerobots_chunk(tmp_path / "back", raw) - expected).max() < SAME
    assert np.abs(chunks[0] - chunks[1]).max() > 100 * SAME  # they answer to what is seen
    theirs, back = (json.loads((tmp_path / of / "config.json").read_text()) for of in ("theirs", "back"))
    changed = {"normalization_mapping"}  # ours names ENV too, and has its own statistics for 10 and 90 %
    assert {key: of for key, of in back.items() if key not in changed} == {
        key: of for key, of in theirs.items() if key not in changed
    }
    theirs, back = (load_file(tmp_path / of / "model.safetensors") for of in ("theirs", "back"))
    assert theirs.keys() == back.keys()
    for key, value in theirs.items():  # a constant is computed anew, in float64
        torch.testing.assert_close(back[key], value, rtol=0, atol=1e-6 if key.endswith("pos_enc") else 0)


FEATURES = Features(
    action_names=tuple("abcdef"),
    state_names=tuple("abcdef"),
    environment_names=("x", "y"),
    cameras=tuple(
        Camera(name=key.removeprefix("observation.images."), height=h, width=w) for key, (h, w) in CAMERAS.items()
    ),
)
OURS = PolicyConfig(pretrained_backbone_weights=None, camera_embedding=False, **SMALL)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pre_norm": True, "n_decoder_layers": 2},
        {"use_vae": False},
        {"use_state": False},
        {"use_environment_state": False},
        {"action_normalization": "min_max", "state_normalization": "quantile"},
        {"state_normalization": "identity", "action_ranges": ((-1.0, 2.0),) * 6, "action_normalization": "min_max"},
        {"vision_backbone": "resnet50", "backbone_dilation": True},
        {"backbone_norm": "batch"},
        {"conditioning": ("token", "auxiliary", "contrastive")},
        {"conditioning": ("auxiliary",)},
    ],
    ids=str,
)
def test_a_policy_of_ours_gives_its_chunk_in_lerobot(changes: dict[str, Any], tmp_path: Path) -> None:
    config = replace(OURS, **changes)
    features = replace(
        FEATURES,
        state_names=FEATURES.state_names if config.use_state else (),
        environment_names=FEATURES.environment_names if config.use_environment_state else (),
    )
    torch.manual_seed(0)
    model = ACT(config, network_features(config, features)).eval()
    shake({name: value for name, value in model.state_dict().items() if value.is_floating_point()})
    stats = stats_of(np.random.default_rng(1))
    statistics = {
        key: VectorStatistics(
            **{n: stats[key][n].numpy().astype(np.float64) for n in ("mean", "std", "min", "max", "q01", "q99")},
            count=200,
        )
        for key in SIZES
    }
    meta = CheckpointMeta(policy=config, features=features, statistics=statistics, step=3, provenance={})
    write_directory(tmp_path / "ours", lambda folder: write_policy_files(folder, meta, model.state_dict()))
    export_lerobot(tmp_path / "ours", tmp_path / "theirs")
    policy = load_policy(tmp_path / "ours")
    for seed in (2, 3):
        raw = observation(np.random.default_rng(seed))
        assert np.abs(lerobots_chunk(tmp_path / "theirs", raw) - policy.predict_chunk(raw)).max() < SAME
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == [
        "config.json",
        "model.safetensors",
        "policy_postprocessor.json",
        "policy_postprocessor_step_0_unnormalizer_processor.safetensors",
        "policy_preprocessor.json",
        "policy_preprocessor_step_3_normalizer_processor.safetensors",
    ]


def test_the_files_are_those_that_lerobot_writes(tmp_path: Path) -> None:
    """What LeRobot makes of our export and saves again differs in nothing but the white space."""
    lerobot_checkpoint(tmp_path / "theirs", {})
    import_checkpoint(str(tmp_path / "theirs"), tmp_path / "ours", Unsaid())
    export_lerobot(tmp_path / "ours", tmp_path / "exported")
    policy = ACTPolicy.from_pretrained(tmp_path / "exported", strict=True)
    policy.save_pretrained(tmp_path / "again")
    for pipeline in make_pre_post_processors(policy.config, str(tmp_path / "exported")):
        pipeline.save_pretrained(tmp_path / "again")
    for path in (tmp_path / "again").iterdir():
        if path.suffix == ".json":
            assert json.loads(path.read_text()) == json.loads((tmp_path / "exported" / path.name).read_text())
    assert {path.name for path in (tmp_path / "again").iterdir()} == {
        path.name for path in (tmp_path / "exported").iterdir()
    }
