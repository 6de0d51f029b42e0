"""`foreact.load_policy`: a run, a checkpoint or a bundle, whatever lies at a path, or a policy of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.deploy.hub import download, is_repository
from foreact.deploy.unsaid import Unsaid
from foreact.errors import ConfigError
from foreact_runtime.bundle import BUNDLE, is_bundle, read_bundle
from foreact_runtime.manifest import MANIFEST, read_json
from foreact_runtime.policy import BundlePolicy

if TYPE_CHECKING:
    import torch

    from foreact.policy.policy import Policy


def load_policy(
    path: str | Path,
    *,
    checkpoint: str = "last",
    device: str | torch.device = "cpu",
    backend: str | None = None,
    threads: int | None = None,
    resize_images: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> Policy | BundlePolicy:
    """Load a policy from a run, a checkpoint directory or a bundle alone; no data set is needed.

    Args:
        path: A run (`foreact train --out`), a checkpoint directory, or a bundle (`foreact export`). A text `user/name`
            that is no path is a repository of the Hugging Face hub with a checkpoint or a bundle of ours at its top, or
            with a policy of LeRobot's ACT, to which `foreact import` gives names, rate and limits besides.
        checkpoint: For a run: "last", "best" or a step's number.
        device: Where to compute; bundles for ONNX Runtime and OpenVINO compute on the CPU.
        backend: "onnxruntime" or "openvino" for a bundle; None takes the one that it was exported for.
        threads: Cores to compute on, PyTorch's in the whole process; None for as many as the library thinks good.
        resize_images: Accept pictures of another size than the recorded one and resize them.
        overrides: Policy options that inference may change, such as `n_action_steps`; see the two it hands on to,
            `foreact.policy.checkpoint.load_policy` and `foreact_runtime.load_policy`.

    Raises:
        CheckpointError: If it is missing, incomplete, altered or does not fit this version, or the hub has no such one
            or cannot be reached.
        ConfigError: If an override is unknown, contradictory or concerns the trained network, or a backend is named for
            what PyTorch runs.
    """
    is_downloaded = isinstance(path, str) and is_repository(path) and not Path(path).exists()
    if is_downloaded:
        path = download(str(path))
    if not needs_no_torch(path):
        if backend is not None:
            raise ConfigError(f"'{path}' is run by PyTorch, not by '{backend}'; export a bundle for that")
        from foreact.policy import checkpoint as checkpoints
        from foreact.threads import set_threads

        if threads is not None:
            set_threads(threads)
        if is_downloaded and not (Path(path) / MANIFEST).exists():
            return _imported(Path(path), device=device, resize_images=resize_images, overrides=overrides)
        return checkpoints.load_policy(
            path, checkpoint=checkpoint, device=device, resize_images=resize_images, overrides=overrides
        )
    if str(device) != "cpu":
        raise ConfigError(f"'{path}' is a bundle, which computes on the CPU, not on '{device}'; give the run instead")
    changed = dict(overrides or {})
    if changed.pop("latent", "zero") != "zero":
        raise ConfigError(f"'{path}' is a bundle, which takes the latent's mode; give the run to draw it at random")
    return BundlePolicy(path, backend=backend, threads=threads, resize_images=resize_images, overrides=changed)


def _imported(
    folder: Path, *, device: str | torch.device, resize_images: bool, overrides: Mapping[str, Any] | None
) -> Policy:
    """Another project's policy, as `foreact import` would have it."""
    from foreact.deploy.import_checkpoint import read_checkpoint
    from foreact.policy.checkpoint import build_policy, overridden

    foreign, meta = read_checkpoint(str(folder), Unsaid())
    changed = overridden(meta, overrides)
    return build_policy(changed, foreign.weights, foreign.path, device=device, resize_images=resize_images)


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
