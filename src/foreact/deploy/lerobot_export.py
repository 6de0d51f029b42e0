"""A checkpoint of ours as LeRobot 0.6.1 writes its own: `ACTPolicy.from_pretrained(.., strict=True)` loads it.

What is written is FORMATS.md 2.1 to 2.4. The chunk for the same raw observation is ours to rounding (tests_lerobot/).
LeRobot's statistics stand for what our normaliser does, not for the data: a dimension that ours takes for constant has
a standard deviation of 1. Losses and other matters of training are not carried over, and what LeRobot's network cannot
compute is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from foreact.config import Normalization, PolicyConfig
from foreact.deploy.lerobot_names import EPS, METHODS, POSITIONS, SAME_NAME, camera_key, lerobot_name
from foreact.errors import CheckpointError, ConfigError
from foreact.model.position import sinusoid_1d
from foreact.normalizer import IMAGENET_MEAN, IMAGENET_STD, offset_and_scale
from foreact.policy.checkpoint import CheckpointMeta, find_checkpoint, read_meta, read_weights, write_directory
from foreact.records import Camera, Features, Statistics
from foreact_runtime import keys
from foreact_runtime.manifest import MANIFEST

_ONLY_IN_TRAINING = {"token", "auxiliary", "contrastive"}
"""Ways of conditioning that leave LeRobot's network as it is."""
_NOT_THEIRS = ("cue_head.",)
"""Weights that only training uses."""
_DEVICE = "cpu"
"""LeRobot's commands replace it by --policy.device."""


def export_lerobot(run: str | Path, out: str | Path, *, checkpoint: str = "last") -> None:
    """Write a checkpoint as one of LeRobot's ACT, with processor files.

    A checkpoint without CVAE encoder becomes one with `use_vae` false, which acts alike and cannot be trained on with
    a CVAE.

    Args:
        run: A run or a checkpoint directory.
        out: The directory to write.
        checkpoint: For a run: "last", "best" or a step's number.

    Raises:
        ConfigError: If the policy does what LeRobot's ACT cannot; the message names the option.
        CheckpointError: If the checkpoint is missing, incomplete or altered, or `out` exists or cannot be written.
    """
    directory = find_checkpoint(run, checkpoint)
    meta = read_meta(directory)
    check_expressible(meta.policy, meta.features)
    weights = _weights(meta, read_weights(directory))
    write_new(Path(out), lambda folder: _write(folder, meta, weights))


def write_new(out: Path, write: Callable[[Path], None]) -> None:
    """Write a directory of LeRobot's, whole or not at all.

    Raises:
        CheckpointError: If it exists or cannot be written.
    """
    if out.exists():
        raise CheckpointError(f"'{out}' exists; choose another OUT or move it away")
    write_directory(out, write)
    (out / MANIFEST).unlink()  # LeRobot's have none


def check_expressible(config: PolicyConfig, features: Features) -> None:
    """Refuse a policy that LeRobot's ACT cannot compute.

    Raises:
        ConfigError: Naming the option.
    """
    cameras = features.cameras
    other_ways = sorted(set(config.conditioning) - _ONLY_IN_TRAINING) if features.environment_dim else []
    cannot = {
        f"policy.conditioning {', '.join(other_ways)}": bool(other_ways) or "frame" in config.conditioning,
        "policy.camera_embedding": config.camera_embedding and bool(cameras),
        "policy.use_depth": any(camera.depth_range is not None for camera in cameras),
        f"policy.vision_backbone {config.vision_backbone}": bool(cameras)
        and not config.vision_backbone.startswith("resnet"),
        "policy.backbone_norm group": bool(cameras) and config.backbone_norm == "group",
        "policy.shared_backbone False": len(cameras) > 1 and not config.shared_backbone,
        "policy.image_size": any(camera.recorded_size is not None for camera in cameras),
        "policy.crop_size": config.crop_size is not None and bool(cameras),
        "policy.state_keys": bool(features.state_groups),
        "policy.action_keys": bool(features.action_groups),
        "policy.binary_actions": bool(config.binary_actions),
        "policy.binary_state": bool(config.binary_state),
        "policy.latent prior": config.latent == "prior" and config.use_vae,
        "policy.downsample_factor": config.downsample_factor > 1,
        "a policy without cameras and coordinates": not cameras and not _told(config, features),
    }
    for option, is_used in cannot.items():
        if is_used:
            raise ConfigError(f"LeRobot's ACT has no {option}; train without it, or export to another format")


def _told(config: PolicyConfig, features: Features) -> bool:
    """Whether the network takes the coordinates in."""
    return features.environment_dim > 0 and "token" in config.conditioning


def _weights(meta: CheckpointMeta, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under LeRobot's names, with the constant that it stores among them."""
    theirs = {
        f"model.{lerobot_name(name)}": value.float().contiguous()
        for name, value in weights.items()
        if not name.startswith(_NOT_THEIRS) and not name.endswith("num_batches_tracked")
    }
    if has_encoder(weights):
        length = meta.policy.chunk_size + 1 + bool(meta.features.state_dim)
        theirs[f"model.{POSITIONS}"] = sinusoid_1d(length, meta.policy.dim_model)[None]
    return theirs


def has_encoder(weights: Mapping[str, Tensor]) -> bool:
    """Say whether weights hold the CVAE encoder, which training needs and acting does not."""
    return any("vae_encoder" in name for name in weights)


def _write(folder: Path, meta: CheckpointMeta, weights: Mapping[str, Tensor]) -> None:
    config, features = replace(meta.policy, use_vae=has_encoder(weights)), meta.features
    inputs, outputs = _features(config, features)
    norm_map = _norm_map(config, features)
    statistics = {
        f"{key}.{name}": torch.from_numpy(np.asarray(value, np.float32))
        for key, of in _statistics(config, features, meta.statistics).items()
        for name, value in of.items()
    }
    _write_json(folder / "config.json", _config(config, inputs, outputs, norm_map))
    save_file(dict(weights), folder / "model.safetensors", metadata={"format": "pt"})
    normalizer = {"eps": EPS, "features": {**inputs, **outputs}, "norm_map": norm_map}
    steps: list[dict[str, Any]] = [
        {"registry_name": "rename_observations_processor", "config": {"rename_map": {}}},
        {"registry_name": "to_batch_processor", "config": {}},
        {"registry_name": "device_processor", "config": {"device": _DEVICE, "float_dtype": None}},
        {"registry_name": "normalizer_processor", "config": normalizer},
    ]
    _write_pipeline(folder, "policy_preprocessor", steps, statistics)
    steps = [
        {"registry_name": "unnormalizer_processor", "config": {**normalizer, "features": outputs}},
        {"registry_name": "device_processor", "config": {"device": _DEVICE, "float_dtype": None}},
    ]
    _write_pipeline(folder, "policy_postprocessor", steps, statistics)


def _write_pipeline(folder: Path, name: str, steps: list[dict[str, Any]], statistics: Mapping[str, Tensor]) -> None:
    """Write a pipeline, and the state of its step that has one."""
    for i, step in enumerate(steps):
        if step["registry_name"].endswith("normalizer_processor"):
            step["state_file"] = f"{name}_step_{i}_{step['registry_name']}.safetensors"
            save_file(dict(statistics), folder / step["state_file"])
    _write_json(folder / f"{name}.json", {"name": name, "steps": steps})


def _features(config: PolicyConfig, features: Features) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return LeRobot's input and output features, cameras in the order of their tokens."""
    inputs: dict[str, Any] = {}
    if features.state_dim:
        inputs[keys.STATE] = {"type": "STATE", "shape": [features.state_dim]}
    if _told(config, features):
        inputs[keys.ENVIRONMENT_STATE] = {"type": "ENV", "shape": [features.environment_dim]}
    for camera in features.cameras:
        inputs[camera_key(camera.name)] = {"type": "VISUAL", "shape": [3, camera.height, camera.width]}
    return inputs, {keys.ACTION: {"type": "ACTION", "shape": [features.action_dim]}}


def _methods(config: PolicyConfig, features: Features) -> dict[str, tuple[str, int, Normalization]]:
    """LeRobot's kind, the size and the method of each vector."""
    vectors: dict[str, tuple[str, int, Normalization]] = {
        keys.STATE: ("STATE", features.state_dim, config.state_normalization),
        keys.ENVIRONMENT_STATE: ("ENV", features.environment_dim, config.environment_normalization),
        keys.ACTION: ("ACTION", features.action_dim, config.action_normalization),
    }
    return {key: of for key, of in vectors.items() if of[1]}


def _norm_map(config: PolicyConfig, features: Features) -> dict[str, str]:
    theirs = {method: mode for mode, method in METHODS.items()}
    vectors = _methods(config, features).values()
    return {"VISUAL": "MEAN_STD"} | {kind: theirs[method] for kind, _, method in vectors}


def _statistics(config: PolicyConfig, features: Features, known: Statistics) -> dict[str, dict[str, Any]]:
    """Return LeRobot's statistics: those of the data, but for the two that stand for our offset and scale."""
    statistics: dict[str, dict[str, Any]] = {}
    for key, (_, dim, method) in _methods(config, features).items():
        ranges = {keys.STATE: config.state_ranges, keys.ACTION: config.action_ranges}.get(key)
        offset, scale = offset_and_scale(key, dim, method, ranges, known, config.narrowest)
        of = known.get(key)
        data = {} if of is None else {n: getattr(of, n) for n in ("mean", "std", "min", "max", "q01", "q99")}
        added = 0.0 if key == keys.ACTION else EPS  # to the divisor of inputs, and to no factor of outputs
        low, high = offset.astype(np.float64) - scale, offset.astype(np.float64) + scale
        ours = {
            "mean_std": {"mean": offset, "std": scale.astype(np.float64) - added},
            "min_max": {"min": low, "max": high},
            "quantile": {"q01": low, "q99": high},
            "identity": {},
        }[method]
        statistics[key] = {**data, **ours, "count": [0 if of is None else of.count]}
    for camera in features.cameras:
        mean, std = _colours(camera, known)
        statistics[camera_key(camera.name)] = {"mean": mean.reshape(3, 1, 1), "std": (std - EPS).reshape(3, 1, 1)}
    return statistics


def _colours(camera: Camera, statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
    own = statistics.get(keys.image_key(camera.name))
    return (np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)) if own is None else (own.mean, own.std)


def _config(
    config: PolicyConfig, inputs: Mapping[str, Any], outputs: Mapping[str, Any], norm_map: Mapping[str, str]
) -> dict[str, Any]:
    """Return every key of LeRobot 0.6.1's config.json: it refuses unknown ones."""
    return {
        "type": "act",
        "n_obs_steps": 1,
        "input_features": dict(inputs),
        "output_features": dict(outputs),
        "device": _DEVICE,
        "use_amp": False,
        "use_peft": False,
        "push_to_hub": False,
        "repo_id": None,
        "private": None,
        "tags": None,
        "license": None,
        "pretrained_path": None,
        "pretrained_revision": None,
        "normalization_mapping": dict(norm_map),
        "vision_backbone": config.vision_backbone if config.vision_backbone.startswith("resnet") else "resnet18",
        "pretrained_backbone_weights": None,
        "replace_final_stride_with_dilation": config.backbone_dilation,
        "temporal_ensemble_coeff": config.temporal_ensemble_coeff,
        **{name: getattr(config, name) for name in SAME_NAME},
        "optimizer_lr": 1e-5,
        "optimizer_weight_decay": 1e-4,
        "optimizer_lr_backbone": 1e-5,
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=4) + "\n")
