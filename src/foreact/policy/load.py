"""`foreact.load_policy`: a run, a checkpoint or a bundle, whatever lies at a path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.errors import ConfigError
from foreact_runtime.bundle import BUNDLE, is_bundle, read_bundle
from foreact_runtime.manifest import read_json
from foreact_runtime.policy import BundlePolicy

if TYPE_CHECKING:
    import torch

    from foreact.policy.policy import Policy


def load_policy(
    path: str | Path,
    *,
    checkpoint: str = "last",
    device: str | torch.device = "cpu",
    resize_images: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> Policy | BundlePolicy:
    """Load a policy from a run, a checkpoint directory or a bundle alone; no data set is needed.

    Args:
        path: A run (`foreact train --out`), a checkpoint directory, or a bundle (`foreact export`).
        checkpoint: For a run: "last", "best" or a step's number.
        device: Where to compute; bundles for ONNX Runtime and OpenVINO compute on the CPU.
        resize_images: Accept pictures of another size than the recorded one and resize them.
        overrides: Policy options that inference may change, such as `n_action_steps`; see the two it hands on to,
            `foreact.policy.checkpoint.load_policy` and `foreact_runtime.load_policy`.

    Raises:
        CheckpointError: If it is missing, incomplete, altered or does not fit this version.
        ConfigError: If an override is unknown, contradictory or concerns the trained network.
    """
    if not needs_no_torch(path):
        from foreact.policy import checkpoint as checkpoints

        return checkpoints.load_policy(
            path, checkpoint=checkpoint, device=device, resize_images=resize_images, overrides=overrides
        )
    if str(device) != "cpu":
        raise ConfigError(f"'{path}' is a bundle, which computes on the CPU, not on '{device}'; give the run instead")
    changed = dict(overrides or {})
    if changed.pop("latent", "zero") != "zero":
        raise ConfigError(f"'{path}' is a bundle, which takes the latent's mode; give the run to draw it at random")
    return BundlePolicy(path, resize_images=resize_images, overrides=changed)


def trained_on(path: str | Path, checkpoint: str = "last") -> tuple[Path, ...]:
    """Return where the training data of a run, a checkpoint or a bundle were; empty where it does not say.

    Raises:
        CheckpointError: If there is no policy.
    """
    if needs_no_torch(path):
        return tuple(Path(of) for of in read_bundle(path).provenance.get("data", ()))

    from foreact.policy.checkpoint import data_paths, find_checkpoint, read_meta

    return data_paths(read_meta(find_checkpoint(path, checkpoint)))


def needs_no_torch(path: str | Path) -> bool:
    """Return whether a path is a bundle that the runtime opens alone."""
    return is_bundle(path) and read_json(Path(path) / BUNDLE).get("format") != "torch"
