"""What the policy must know of a data set: features and statistics, from the files that LeRobot trains on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from foreact.config import PolicyConfig
from foreact.data.calibration import read_calibration
from foreact.data.dataset import ChunkDataset
from foreact.data.selection import select_features
from foreact.data.sidecar import apply_calibration
from foreact.data.source import open_source
from foreact.data.statistics import compute_statistics, robot_statistics
from foreact.errors import ConfigError
from foreact.policy.inputs import network_statistics
from foreact.records import Batch, Features, Statistics

_ROWS = 4096


def read_dataset(root: Path, config: PolicyConfig, calibration: str | None = None) -> tuple[Features, Statistics]:
    """Return what the policy takes of a data set's features, and statistics of what the network sees.

    Over all episodes, as LeRobot's own are: its command does not tell the policy which are held out.

    Args:
        root: The data set's folder.
        config: The policy's.
        calibration: A file that says where cameras and arm stand; None takes the data set's own.

    Raises:
        DataError: If the files are damaged or not there, as while streaming from the hub.
        ConfigError: If the configuration asks for what the data do not have.
    """
    source = open_source(root)
    recorded = source.features
    if calibration is not None:
        recorded = apply_calibration(recorded, read_calibration(Path(calibration)), f"'{calibration}'")
    features = select_features(recorded, config)
    for camera in features.cameras:
        if camera.depth_range is not None:
            raise ConfigError(
                f"camera '{camera.name}' has depth, which LeRobot hands on in other units and shapes; train with "
                "foreact train, or give --policy.use_depth=false"
            )
    without_pictures = replace(features, cameras=())
    dataset = ChunkDataset(source, source.episode_indices, features=without_pictures, chunk_size=config.chunk_size)
    in_frame = "frame" in config.conditioning
    seen = network_statistics(features, _batches(dataset)) if in_frame else compute_statistics(dataset.episodes)
    return features, {**seen, **robot_statistics(dataset.episodes, features)}


def _batches(dataset: ChunkDataset) -> Iterator[Batch]:
    for start in range(0, len(dataset), _ROWS):
        yield dataset.vectors(range(start, min(start + _ROWS, len(dataset))))
