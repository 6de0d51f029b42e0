"""Another project's checkpoint as one of ours: find out whose it is, read it, check it, write it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from foreact.deploy.hub import download, is_repository
from foreact.deploy.lerobot_import import find_lerobot, read_lerobot
from foreact.deploy.original_import import find_original, read_original
from foreact.deploy.reading import Foreign
from foreact.deploy.training_data import read_training_data
from foreact.deploy.unsaid import Unsaid
from foreact.errors import CheckpointError, ConfigError
from foreact.model.act import ACT
from foreact.normalizer import Normalizer
from foreact.policy.checkpoint import CheckpointMeta, check_weights, write_directory, write_policy_files
from foreact.policy.inputs import network_features


def import_checkpoint(source: str, out: Path, unsaid: Unsaid, *, revision: str | None = None) -> Foreign:
    """Read a policy of LeRobot (ACT) or of the original ACT and write it as a checkpoint directory of ours.

    Args:
        source: A directory or file, or `user/name` of the Hugging Face hub.
        out: The directory to write; must not exist.
        unsaid: What the files do not say.
        revision: Of a repository of the hub.

    Raises:
        CheckpointError: If there is nothing to read, it is damaged or does what ours cannot, or `out` exists.
        ConfigError: If an option contradicts what was read, or would be ignored.
        DataError: If the training data cannot be read.
    """
    if out.exists():
        raise CheckpointError(f"'{out}' exists; choose another OUT or move it away")
    foreign, meta = read_checkpoint(source, unsaid, revision=revision)
    write_directory(out, lambda directory: write_policy_files(directory, meta, foreign.weights))
    return foreign


def read_checkpoint(source: str, unsaid: Unsaid, *, revision: str | None = None) -> tuple[Foreign, CheckpointMeta]:
    """Read and check a policy of another project, and return what its checkpoint of ours says; see above."""
    foreign = _read(_find(source, revision), unsaid)
    provenance: dict[str, Any] = {"imported": {"project": foreign.project, "path": source, "revision": revision}}
    if unsaid.data is not None:
        of_robot, provenance["data"] = read_training_data(unsaid.data, foreign.features)
        foreign = replace(foreign, statistics={**foreign.statistics, **of_robot})
    with torch.device("meta"):  # shapes only: no memory for whatever sizes the files claim
        model = ACT(foreign.policy, network_features(foreign.policy, foreign.features))
    check_weights(model, foreign.weights, foreign.path)
    Normalizer(foreign.policy, model.features, foreign.statistics)
    meta = CheckpointMeta(
        policy=foreign.policy,
        features=foreign.features,
        statistics=foreign.statistics,
        step=0,
        provenance=provenance,
    )
    return foreign, meta


def _find(source: str, revision: str | None) -> Path:
    path = Path(source)
    if not path.exists() and is_repository(source):
        return download(source, revision)
    if not path.exists():
        raise CheckpointError(f"there is no file or directory '{source}'")
    if revision is not None:
        raise ConfigError(f"--revision is for the hub, and '{source}' is on this machine; leave it out")
    return path


def _read(path: Path, unsaid: Unsaid) -> Foreign:
    directory = find_lerobot(path)
    found = directory or find_original(path)
    if found is None:
        raise CheckpointError(
            f"'{path}' is no checkpoint that is read: expected LeRobot's config.json and model.safetensors, or the "
            "original ACT's .ckpt"
        )
    try:
        return read_original(found, unsaid) if directory is None else read_lerobot(found, unsaid)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # Files can be damaged in more ways than there are messages for.
        raise CheckpointError(
            f"'{found}' is damaged or not laid out as its project does it ({type(error).__name__}: {error}); copy all "
            "of it again"
        ) from error
