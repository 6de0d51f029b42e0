"""A data set with other names for its cameras and dimensions, so that sources agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from foreact.data.source import EpisodeSource
from foreact.errors import ConfigError, unknown_name
from foreact.records import Arm, Camera, Episode, Features, RecordedPose


class RenamedSource:
    """An `EpisodeSource` that is another one but for names."""

    def __init__(self, source: EpisodeSource, names: Mapping[str, str]) -> None:
        """Rename what the source has of the names.

        Args:
            source: The original.
            names: From old to new: cameras, and dimensions of state, coordinates and action.

        Raises:
            ConfigError: If two cameras, or two dimensions of a vector, would have the same name.
        """
        self._source = source
        self.root = source.root
        self.episode_indices = source.episode_indices
        self.lengths: Mapping[int, int] = source.lengths
        self.tasks: Mapping[int, str] = source.tasks
        self.scenes: Mapping[int, int] = source.scenes
        self.features = _renamed(source.features, names)
        pairs = zip(self.features.cameras, source.features.cameras, strict=True)
        self._own_name = {new.name: old.name for new, old in pairs}
        if len(self._own_name) < len(source.features.cameras):
            raise ConfigError(f"--rename gives two cameras of '{source.root}' one name: {', '.join(self._own_name)}")
        for kind in ("action_names", "state_names", "environment_names"):
            new, old = getattr(self.features, kind), getattr(source.features, kind)
            if len(set(new)) < len(set(old)):
                raise ConfigError(f"--rename gives two of the {kind} of '{source.root}' one name: {', '.join(new)}")

    def episode(self, index: int) -> Episode:
        """Return an episode's vectors, like the original."""
        return self._source.episode(index)

    def frames(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield an episode's pictures, like the original."""
        return self._source.frames(index, self._own_name.get(camera, camera), every)

    def depth(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield an episode's depth maps, like the original."""
        return self._source.depth(index, self._own_name.get(camera, camera), every)

    def file_of(self, index: int) -> Path:
        """Return the file with an episode's vectors, like the original."""
        return self._source.file_of(index)

    def fingerprint(self) -> str:
        """Return the original's: the content is the same."""
        return self._source.fingerprint()


def rename_sources(sources: Sequence[EpisodeSource], names: Mapping[str, str]) -> list[EpisodeSource]:
    """Return sources with new names; a name need not be in all of them.

    Raises:
        ConfigError: If a name is in none of them, or a new one is not free.
    """
    if not names:
        return list(sources)
    known = {name for source in sources for name in _names(source.features)}
    for old in names:
        if old not in known:
            raise ConfigError(f"--rename: {unknown_name('name', old, known)}")
    return [RenamedSource(source, names) for source in sources]


def _names(features: Features) -> set[str]:
    cameras = {camera.name for camera in features.cameras}
    return cameras | {*features.action_names, *features.state_names, *features.environment_names}


def _renamed(features: Features, names: Mapping[str, str]) -> Features:
    def new(of: Sequence[str]) -> tuple[str, ...]:
        return tuple(names.get(name, name) for name in of)

    def camera(of: Camera) -> Camera:
        return replace(of, name=names.get(of.name, of.name))

    def arm(of: Arm) -> Arm:
        return replace(of, joints=new(of.joints), gripper=names.get(of.gripper, of.gripper) if of.gripper else None)

    def pose(of: RecordedPose) -> RecordedPose:
        (x, y, z), (w, i, j, k) = new(of.position), new(of.quaternion)
        return RecordedPose(position=(x, y, z), quaternion=(w, i, j, k))

    return replace(
        features,
        cameras=tuple(camera(of) for of in features.cameras),
        action_names=new(features.action_names),
        state_names=new(features.state_names),
        environment_names=new(features.environment_names),
        arm=None if features.arm is None else arm(features.arm),
        recorded_pose=None if features.recorded_pose is None else pose(features.recorded_pose),
    )
