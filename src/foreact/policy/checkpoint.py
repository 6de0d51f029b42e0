"""The checkpoint directory: everything that inference needs, in formats that run no code when they are read.

    <checkpoint>/
        config.json          policy configuration, features, provenance
        statistics.json      of the training split
        model.safetensors    weights
        manifest.json        SHA-256 of every file, written last: its existence means "complete"

A directory is written under a temporary name and renamed, so that a killed run leaves no half checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import foreact
from foreact.config import PolicyConfig, SourceConfig, policy_config_from_dict, source_config_from_dict, to_dict
from foreact.errors import CheckpointError, ConfigError
from foreact.model.act import ACT
from foreact.normalizer import statistics_from_dict, statistics_to_dict
from foreact.policy.inputs import network_features
from foreact.policy.policy import Policy
from foreact.records import Features, Statistics, features_from_dict
from foreact_runtime.bundle import is_bundle
from foreact_runtime.manifest import MANIFEST, SCHEMA_VERSION, check_directory, read_json, sha256
from foreact_runtime.settings import AT_INFERENCE

CONFIG = "config.json"
STATISTICS = "statistics.json"
MODEL = "model.safetensors"
CHECKPOINTS = "checkpoints"
RUN_FILE = "run.json"
"""Written when a run begins, before it has checkpoints."""


@dataclass(frozen=True, kw_only=True)
class CheckpointMeta:
    """What a checkpoint says of itself besides its weights."""

    policy: PolicyConfig
    features: Features
    statistics: Statistics
    step: int
    """Optimiser steps done."""
    provenance: Mapping[str, Any]
    """Plain values: training configuration, data fingerprint, split, versions."""


def source_of(meta: CheckpointMeta) -> SourceConfig:
    """Return how the training data were read: whoever opens them again reads them alike."""
    return source_config_from_dict(meta.provenance.get("source", {}))  # older checkpoints do not say


def data_paths(meta: CheckpointMeta) -> tuple[Path, ...]:
    """Return where the training data were: one data set, or several that were mixed; empty where it does not say."""
    data = meta.provenance.get("data")
    return () if data is None else tuple(Path(of["path"]) for of in data.get("sources", [data]))


def write_directory(path: Path, write: Callable[[Path], None]) -> None:
    """Fill a new directory through `write`, add the manifest and move it to `path` in one step.

    Raises:
        CheckpointError: If the disk is full or the place cannot be written; what was there before is kept.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write(temporary)
        files = {file.name: sha256(file) for file in sorted(temporary.iterdir())}
        _write_json(temporary / MANIFEST, {"schema_version": SCHEMA_VERSION, "sha256": files})
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CheckpointError(
            f"cannot write checkpoint '{path}': {reason}; free space or choose another --out"
        ) from error
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_policy_files(directory: Path, meta: CheckpointMeta, weights: Mapping[str, torch.Tensor]) -> None:
    """Write the three files that inference needs into an existing directory."""
    _write_json(
        directory / CONFIG,
        {
            "schema_version": SCHEMA_VERSION,
            "foreact_version": foreact.__version__,
            "step": meta.step,
            "policy": to_dict(meta.policy),
            "features": asdict(meta.features),
            "provenance": dict(meta.provenance),
        },
    )
    _write_json(directory / STATISTICS, statistics_to_dict(meta.statistics))
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, directory / MODEL)


def save_policy(
    path: str | Path, policy: Policy, *, step: int = 0, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write a policy as a checkpoint directory, without a training state.

    Raises:
        CheckpointError: If it cannot be written.
    """
    meta = CheckpointMeta(
        policy=policy.config,
        features=policy.features,
        statistics=policy.statistics,
        step=step,
        provenance=provenance or {},
    )
    write_directory(Path(path), lambda directory: write_policy_files(directory, meta, policy.model.state_dict()))


def find_checkpoint(path: str | Path, which: str = "last") -> Path:
    """Return the checkpoint directory that a path means: itself, or one of a run's.

    Args:
        path: A checkpoint directory, or a run that holds `checkpoints/`.
        which: For a run: "last", "best", or a step's number.

    Raises:
        CheckpointError: If there is none there; the message lists those that exist.
    """
    root = Path(path)
    if (root / MANIFEST).exists() or (root / CONFIG).exists():
        return root
    if not root.exists():
        raise CheckpointError(f"no run or checkpoint at '{root}': there is no such directory")
    folder = root / CHECKPOINTS
    found = checkpoints_in(folder)
    if not found:
        raise CheckpointError(f"no checkpoint in '{root}': expected {CHECKPOINTS}/step-*/ or {MANIFEST}")
    if which == "last":
        return found[-1]
    if which == "best":
        pointer = folder / "best.json"
        if not pointer.exists():
            raise CheckpointError(f"run '{root}' has no best checkpoint yet; use 'last'")
        return folder / str(read_json(pointer)["name"])
    steps = {_step_of(entry): entry for entry in found}
    if not which.isdigit() or int(which) not in steps:
        known = ", ".join(str(step) for step in steps)
        raise CheckpointError(f"run '{root}' has no checkpoint '{which}'; choices: last, best, {known}")
    return steps[int(which)]


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the `step-*` directories of a run's checkpoint folder, oldest step first."""
    return sorted((entry for entry in folder.glob("step-*") if entry.is_dir()), key=_step_of)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def read_meta(path: Path) -> CheckpointMeta:
    """Return what a checkpoint says of itself, after checking the whole directory.

    Raises:
        CheckpointError: If it is incomplete, altered or of another schema.
    """
    check_directory(path)
    if is_bundle(path) and not (path / CONFIG).exists():
        raise CheckpointError(f"'{path}' is a bundle without the checkpoint's weights; give the run it was made of")
    content = read_json(path / CONFIG)
    try:
        return CheckpointMeta(
            policy=policy_config_from_dict(content["policy"]),
            features=features_from_dict(content["features"]),
            statistics=statistics_from_dict(read_json(path / STATISTICS)),
            step=content["step"],
            provenance=content["provenance"],
        )
    except (KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"'{path / CONFIG}' is not a configuration of this foreact: {error}") from error


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint directory.

    Raises:
        CheckpointError: If the file cannot be read.
    """
    try:
        return load_file(path / MODEL)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read '{path / MODEL}': {error}") from error


def load_policy(
    path: str | Path,
    *,
    checkpoint: str = "last",
    device: str | torch.device = "cpu",
    resize_images: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> Policy:
    """Load a policy from a run or a checkpoint directory alone; no data set is needed.

    Args:
        path: A run (`foreact train --out`) or a checkpoint directory.
        checkpoint: For a run: "last", "best" or a step's number.
        device: Where to compute.
        resize_images: Accept pictures of another size than the recorded one and resize them.
        overrides: Policy options that inference may change: how chunks are executed, limits, alarm and `latent`.

    Raises:
        CheckpointError: If it is missing, incomplete, altered or does not fit this version.
        ConfigError: If an override is unknown, contradictory or concerns the trained network.
    """
    directory = find_checkpoint(path, checkpoint)
    meta = read_meta(directory)
    return read_policy(directory, overridden(meta, overrides), device=device, resize_images=resize_images)


def read_policy(
    directory: Path, meta: CheckpointMeta, *, device: str | torch.device = "cpu", resize_images: bool = False
) -> Policy:
    """Return the policy with a directory's weights; see `load_policy`.

    Raises:
        CheckpointError: If the weights cannot be read or do not fit.
    """
    return build_policy(meta, read_weights(directory), directory / MODEL, device=device, resize_images=resize_images)


def build_policy(
    meta: CheckpointMeta,
    weights: Mapping[str, torch.Tensor],
    path: Path,
    *,
    device: str | torch.device = "cpu",
    resize_images: bool = False,
) -> Policy:
    """Return the policy with weights that were read from a file; see `load_policy`.

    Raises:
        CheckpointError: If they do not fit.
    """
    model = ACT(replace(meta.policy, pretrained_backbone_weights=None), network_features(meta.policy, meta.features))
    check_weights(model, weights, path)
    model.load_state_dict(weights)
    return Policy(
        config=meta.policy,
        features=meta.features,
        statistics=meta.statistics,
        model=model,
        device=device,
        resize_images=resize_images,
    )


def load_weights(model: ACT, weights: Mapping[str, torch.Tensor], directory: Path) -> None:
    """Load weights strictly, but for the CVAE encoder, which an exported checkpoint may lack.

    Raises:
        CheckpointError: As `check_weights`.
    """
    check_weights(model, weights, directory / MODEL)
    model.load_state_dict(weights)


def check_weights(model: ACT, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Compare a file's weights with a network, whose CVAE encoder is dropped where they have none.

    Raises:
        CheckpointError: If a weight is missing, superfluous or has another shape; the message names the first.
    """
    expected = model.state_dict()
    if not any(name.startswith("vae_encoder") for name in weights):
        model.drop_vae_encoder()
        expected = model.state_dict()
    for name in [*expected, *weights]:
        if name not in weights:
            raise CheckpointError(f"'{path}' lacks the weight '{name}'")
        if name not in expected:
            raise CheckpointError(f"'{path}' holds the weight '{name}', which the network does not have")
        if weights[name].shape != expected[name].shape:
            raise CheckpointError(
                f"the weight '{name}' in '{path}' has shape {tuple(weights[name].shape)}, "
                f"expected {tuple(expected[name].shape)}"
            )


_AT_INFERENCE = (*AT_INFERENCE, "latent")


def overridden(meta: CheckpointMeta, overrides: Mapping[str, Any] | None) -> CheckpointMeta:
    """Return what a checkpoint says with some policy options changed for inference; see `load_policy`.

    Raises:
        ConfigError: If one is unknown, contradictory or concerns the trained network.
    """
    for name in overrides or {}:
        if name not in _AT_INFERENCE:
            raise ConfigError(f"policy.{name} cannot be changed after training; these can: {', '.join(_AT_INFERENCE)}")
    return replace(meta, policy=replace(meta.policy, **(overrides or {})))


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
