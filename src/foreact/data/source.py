"""Where episodes come from: one protocol for every format, and the function that tells the formats apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from foreact.config import SourceConfig
from foreact.console import warn
from foreact.data.aloha import EPISODE, AlohaSource
from foreact.data.behavior import BehaviorSource, is_behavior
from foreact.data.lerobot_info import INFO, load_json
from foreact.data.lerobot_v2 import LeRobotV2Source
from foreact.data.lerobot_v3 import LeRobotV3Source
from foreact.data.robomimic import RobomimicSource
from foreact.errors import DataError
from foreact.records import Episode, Features

HDF5 = ".hdf5"
VERSIONS = ("v2.0", "v2.1", "v3.0")
"""Of LeRobotDatasets that are known."""
_DEFAULTS = SourceConfig()


class EpisodeSource(Protocol):
    """Demonstrations on disk, in raw units. One class a format implements it."""

    root: Path
    """Folder or file."""
    features: Features
    """As recorded: all cameras at their own size, all names, the recorded rate; calibrated where that is known."""
    episode_indices: tuple[int, ...]
    """The data set's own, ascending; may have gaps."""
    lengths: Mapping[int, int]
    """Frames by episode index."""
    tasks: Mapping[int, str]
    """Task by episode index."""
    scenes: Mapping[int, int]
    """Scene by episode index: equal where episodes show the same scene, with another block as the target."""

    def episode(self, index: int) -> Episode:
        """Return an episode without its pictures; raises DataError where it is damaged."""

    def frames(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield the pictures of an episode in order, uint8 (H, W, 3).

        Args:
            index: Of the episode.
            camera: Its name.
            every: Give pictures 0, n, 2n, ...; the others are read and checked all the same, which is cheaper.

        Raises:
            DataError: If they are damaged or not as many as the episode has frames.
        """

    def depth(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield the depth maps of an RGB-D camera in order, float32 (H, W) in metres; like `frames`."""

    def file_of(self, index: int) -> Path:
        """Return the file with an episode's vectors, for messages; raises DataError where there is no such episode."""

    def fingerprint(self) -> str:
        """Return a short text that changes when the content changes."""


def open_source(path: str | Path, config: SourceConfig = _DEFAULTS) -> EpisodeSource:
    """Open a data set, whatever its format.

    Args:
        path: A folder, or a robomimic file.
        config: How it is read where its files leave that open.

    Raises:
        DataError: If there is none, it is damaged, or of a format that is not read; the message says what was found.
    """
    root = Path(path)
    if root.is_file() and root.suffix == HDF5:
        return RobomimicSource(root, config)
    if not root.is_dir():
        what = f"it is a file; give a folder, or a robomimic file that ends in {HDF5}"
        raise DataError(f"no data set at '{root}': {what if root.exists() else 'there is no such folder'}")
    if not (root / INFO).is_file():
        files = sorted(root.glob(f"*{HDF5}"))
        if any(re.fullmatch(EPISODE, file.name) for file in files):
            return AlohaSource(root, config)
        if len(files) == 1:
            return RobomimicSource(files[0], config)
        raise DataError(f"no data set at '{root}': expected {INFO} of a LeRobotDataset, found {_found(root)}")
    content = load_json(root / INFO)
    version = str(content.get("codebase_version"))
    said = f"'{root / INFO}' says codebase_version {version}"
    if not version.startswith(("v2.", "v3.")):
        raise DataError(f"{said}; expected {', '.join(VERSIONS)}: convert the data set with LeRobot")
    if version not in VERSIONS:
        warn(f"{said}, which is not known; it is read like {'v3.0' if version.startswith('v3.') else 'v2.1'}")
    if is_behavior(content):
        return BehaviorSource(root)
    return LeRobotV3Source(root) if version.startswith("v3.") else LeRobotV2Source(root)


def _found(root: Path) -> str:
    files = sorted(root.glob(f"*{HDF5}"))
    if files:
        return f"{len(files)} HDF5 files; give one of them, for example '{files[0]}'"
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    if not names:
        return "an empty folder"
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
