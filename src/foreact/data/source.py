"""Where episodes come from: one protocol for every format, and the function that tells the formats apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from foreact.data.lerobot_info import INFO, load_json
from foreact.data.lerobot_v3 import LeRobotV3Source
from foreact.errors import DataError
from foreact.records import Episode, Features


class EpisodeSource(Protocol):
    """Demonstrations on disk, in raw units. One class a format implements it."""

    root: Path
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

    def frames(self, index: int, camera: str) -> Iterator[np.ndarray]:
        """Yield all pictures of an episode in order, uint8 (H, W, 3); raises DataError where they are damaged."""

    def depth(self, index: int, camera: str) -> Iterator[np.ndarray]:
        """Yield all depth maps of an RGB-D camera in order, float32 (H, W) in metres; raises like `frames`."""

    def fingerprint(self) -> str:
        """Return a short text that changes when the content changes."""


def open_source(path: str | Path) -> EpisodeSource:
    """Open a data set, whatever its format.

    Raises:
        DataError: If there is none, it is damaged, or of a format that is not read; the message says what was found.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"no data set at '{root}': {'it is a file' if root.exists() else 'there is no such folder'}")
    if not (root / INFO).is_file():
        raise DataError(f"no data set at '{root}': expected {INFO} of a LeRobotDataset, found {_found(root)}")
    version = str(load_json(root / INFO).get("codebase_version"))
    if version.startswith("v3."):
        return LeRobotV3Source(root)
    if version.startswith("v2."):
        raise DataError(
            f"'{root}' is a LeRobotDataset {version}, expected v3.0; "
            "convert it with LeRobot's convert_dataset_v21_to_v30"
        )
    raise DataError(f"'{root / INFO}' says codebase_version {version}; expected v3.0")


def _found(root: Path) -> str:
    if any(root.glob("*.hdf5")):
        return "HDF5 episodes"
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    if not names:
        return "an empty folder"
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
