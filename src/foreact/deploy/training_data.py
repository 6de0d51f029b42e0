"""What the data set that an imported policy was trained on says beyond its files: limits, alarm, and where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foreact.data.bad_episodes import read_episode
from foreact.data.source import open_source
from foreact.data.statistics import names_of, robot_statistics
from foreact.errors import ConfigError
from foreact.records import Features, Statistics


def read_training_data(data: Path, features: Features) -> tuple[Statistics, dict[str, Any]]:
    """Return what limits and alarm are learned from, and the provenance, as `foreact train` has them.

    All episodes count: other projects' checkpoints do not say which were held out.

    Args:
        data: The data set.
        features: The policy's, with the names that it got.

    Raises:
        ConfigError: If a vector has another size than the policy's.
        DataError: If the data set cannot be read or an episode is damaged.
    """
    source = open_source(data)
    recorded, wanted = names_of(source.features), names_of(features)
    for key, names in wanted.items():
        if names and len(recorded[key]) != len(names):
            raise ConfigError(
                f"'{key}' has {len(recorded[key])} dimensions in '{data}' and {len(names)} in the checkpoint; give "
                "--data the data set that it was trained on, or leave it out"
            )
    episodes = [read_episode(source, index) for index in source.episode_indices]
    provenance = {
        "path": str(data.resolve()),
        "fingerprint": source.fingerprint(),
        "training": list(source.episode_indices),
        "validation": [],
        "left_out": [],
    }
    return robot_statistics(episodes, features), provenance
