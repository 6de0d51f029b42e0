"""What reading another project's checkpoint gives, whoever wrote it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from foreact.config import PolicyConfig
from foreact.data.source import open_source
from foreact.deploy.unsaid import Unsaid
from foreact.errors import CheckpointError, ConfigError
from foreact.records import Camera, Features, Statistics, VectorStatistics


@dataclass(frozen=True, kw_only=True, eq=False)
class Foreign:
    """A policy of another project in our terms."""

    path: Path
    """The file of the weights."""
    project: str
    """Whose it is, for people."""
    policy: PolicyConfig
    features: Features
    statistics: Statistics
    weights: Mapping[str, Tensor]
    """By our names; names that the network does not have are refused when they are loaded."""


def with_names(features: Features, unsaid: Unsaid) -> Features:
    """Return the features with the names, rate, calibration and arm that were given, or that the data set has.

    Args:
        features: As read from a checkpoint, with names and rate where nobody knows better.
        unsaid: What a person knows.

    Raises:
        ConfigError: If the number of names, or a vector's size in the data set, is not the checkpoint's, a name is
            given twice, or the rate is not positive.
        DataError: If the data set cannot be read.
    """
    known = None if unsaid.data is None else open_source(unsaid.data).features

    def names(option: str, own: tuple[str, ...], given: tuple[str, ...], recorded: tuple[str, ...]) -> tuple[str, ...]:
        chosen = given or (recorded if own else ()) or own
        if len(chosen) != len(own):
            where = f"--{option.replace('_', '-')} has" if given else f"'{unsaid.data}' has"
            raise ConfigError(
                f"{where} {len(chosen)} names ({', '.join(chosen)}), the checkpoint's vector {len(own)} dimensions"
            )
        return chosen

    recorded = features if known is None else known
    by_name = {} if known is None else {camera.name: camera for camera in known.cameras}
    if unsaid.fps is not None and not 0 < unsaid.fps < math.inf:
        raise ConfigError(f"--fps is {unsaid.fps:g}; it must be positive")
    for option, given in {
        "--action-names": unsaid.action_names,
        "--state-names": unsaid.state_names,
        "--environment-names": unsaid.environment_names,
        "the cameras": tuple(camera.name for camera in features.cameras),
    }.items():
        if len(set(given)) < len(given):
            raise ConfigError(f"a name stands twice in {option}: {', '.join(given)}")

    def calibrated(camera: Camera) -> Camera:
        return replace(camera, calibration=by_name[camera.name].calibration) if camera.name in by_name else camera

    return replace(
        features,
        action_names=names("action_names", features.action_names, unsaid.action_names, recorded.action_names),
        state_names=names("state_names", features.state_names, unsaid.state_names, recorded.state_names),
        environment_names=names(
            "environment_names", features.environment_names, unsaid.environment_names, recorded.environment_names
        ),
        cameras=tuple(calibrated(camera) for camera in features.cameras),
        fps=unsaid.fps or recorded.fps,
        arm=recorded.arm,
        recorded_pose=recorded.recorded_pose,
        environment_height=recorded.environment_height,
    )


def statistics_from(known: Mapping[str, np.ndarray], dim: int, what: str) -> VectorStatistics:
    """Return statistics of which only some are known.

    Without mean and standard deviation, those of a uniform distribution over the range are taken; bounds that are
    not known are infinite, so that nothing is limited by them.

    Args:
        known: Some of mean, std, min, max, q01, q99, count; flattened.
        dim: D.
        what: For messages.

    Raises:
        CheckpointError: If one has another size.
    """
    for name, value in known.items():
        if name != "count" and value.size != dim:
            raise CheckpointError(f"the statistic '{name}' of {what} has {value.size} numbers, expected {dim}")
    flat = {name: value.astype(np.float64).reshape(-1) for name, value in known.items()}
    low, high = (flat.get(name, np.full(dim, sign * np.inf)) for name, sign in (("min", -1), ("max", 1)))
    ranged = "min" in flat and "max" in flat
    return VectorStatistics(
        mean=flat.get("mean", (low + high) / 2 if ranged else np.zeros(dim)),
        std=flat.get("std", (high - low) / np.sqrt(12) if ranged else np.ones(dim)),
        min=low,
        max=high,
        q01=flat.get("q01", low),
        q99=flat.get("q99", high),
        count=int(flat["count"][0]) if "count" in flat else 0,
    )
