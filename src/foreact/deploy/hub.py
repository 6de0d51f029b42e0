"""A policy's files from the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from foreact.errors import CheckpointError
from foreact_runtime.bundle import BUNDLE, CHECK, NETWORK
from foreact_runtime.manifest import MANIFEST

_REPOSITORY = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_OF_LEROBOT = ("config.json", "model.safetensors", "policy_preprocessor*", "policy_postprocessor*")
_OURS = (MANIFEST, "statistics.json", "training_state.*", BUNDLE, CHECK, f"{NETWORK}.*")
"""Of a checkpoint or a bundle, beside those that are called as LeRobot's."""


def is_repository(source: str) -> bool:
    """Say whether a word that is no path may name a repository of the hub: `user/name`."""
    return _REPOSITORY.fullmatch(source) is not None


def download(repository: str, revision: str | None = None) -> Path:
    """Return the directory of a policy's files, downloaded into huggingface_hub's cache or found there.

    Args:
        repository: `user/name`.
        revision: Branch, tag or commit; None for the newest.

    Raises:
        CheckpointError: If huggingface_hub is not installed, or the hub cannot be reached or has no such policy.
    """
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"there is no path '{repository}', and for the hub's repository of that name package 'huggingface_hub' is "
            "needed; type: pip install 'foreact[hub]'"
        ) from error
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=[*_OF_LEROBOT, *_OURS]))
    except Exception as error:  # of the hub, of the name's form, of the network: whatever its HTTP library raises
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"there is no path '{repository}', and the hub's repository of that name cannot be downloaded ({reason}); "
            "check name and network"
        ) from error
