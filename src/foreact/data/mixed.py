"""Several data sets as one: episodes side by side, renumbered, after a check that they mean the same."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path

import numpy as np

from foreact.config import SourceConfig
from foreact.console import warn
from foreact.data.agreement import check_agreement
from foreact.data.source import EpisodeSource, open_source
from foreact.errors import DataError
from foreact.records import Camera, Episode, Features

_DEFAULTS = SourceConfig()


class MixedSource:
    """An `EpisodeSource` over several others.

    Episodes are numbered from 0 on, those of the first source first, in the order of their own indices. A scene is
    of one source. What is known of cameras and arm counts only where all sources say the same; a person is told
    where they do not.
    """

    def __init__(self, sources: Sequence[EpisodeSource]) -> None:
        """Take sources that agree; `mix` checks that they do.

        Args:
            sources: At least one; the cameras keep the order of the first.
        """
        self.parts = tuple(sources)
        self.root: Path = self.parts[0].root
        """Of the first source: a mix has no folder of its own."""
        self.features = _common_features(self.parts)
        self.first = tuple(accumulate((len(part.episode_indices) for part in self.parts[:-1]), initial=0))
        """Index of each source's first episode."""
        own = [(number, index) for number, part in enumerate(self.parts) for index in part.episode_indices]
        self.episode_indices = tuple(range(len(own)))
        self.lengths: Mapping[int, int] = dict(enumerate(self.parts[number].lengths[index] for number, index in own))
        self.tasks: Mapping[int, str] = dict(enumerate(self.parts[number].tasks[index] for number, index in own))
        scenes = [(number, self.parts[number].scenes[index]) for number, index in own]
        numbers = {scene: number for number, scene in enumerate(dict.fromkeys(scenes))}
        self.scenes: Mapping[int, int] = dict(enumerate(numbers[scene] for scene in scenes))

    def origin(self, index: int) -> tuple[int, int]:
        """Return which source an episode comes from, counted from 0, and its index there.

        Raises:
            DataError: If there is no such episode.
        """
        if not 0 <= index < len(self.episode_indices):
            raise DataError(f"there is no episode {index}; the mix has {len(self.episode_indices)}, from 0 on")
        number = bisect_right(self.first, index) - 1
        return number, self.parts[number].episode_indices[index - self.first[number]]

    def episode(self, index: int) -> Episode:
        """Return an episode's vectors under its new index; raises like its source."""
        number, own = self.origin(index)
        return replace(self.parts[number].episode(own), index=index)

    def frames(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield an episode's pictures in order; raises like its source."""
        number, own = self.origin(index)
        return self.parts[number].frames(own, camera, every)

    def depth(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield an episode's depth maps in order; raises like its source."""
        number, own = self.origin(index)
        return self.parts[number].depth(own, camera, every)

    def file_of(self, index: int) -> Path:
        """Return the file with an episode's vectors."""
        number, own = self.origin(index)
        return self.parts[number].file_of(own)

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with the content or the order of the sources."""
        prints = " ".join(part.fingerprint() for part in self.parts)
        return blake2b(prints.encode(), digest_size=8).hexdigest()


def open_sources(paths: Sequence[str | Path], config: SourceConfig = _DEFAULTS) -> EpisodeSource:
    """Open a data set, or several as one.

    Args:
        paths: Their folders or files.
        config: How they are read where their files leave that open.

    Raises:
        DataError: If there is none, one cannot be opened, or they do not agree.
    """
    if not paths:
        raise DataError("no data set was given")
    return mix([open_source(path, config) for path in paths])


def mix(sources: Sequence[EpisodeSource]) -> EpisodeSource:
    """Return several sources as one, or the only one as it is.

    Raises:
        DataError: If two of them differ in rate, names, picture sizes or units, or hold the same data.
    """
    if len(sources) == 1:
        return sources[0]
    check_agreement(sources)
    return MixedSource(sources)


def parts_of(source: EpisodeSource) -> tuple[EpisodeSource, ...]:
    """Return the sources of a mix; any other source is its only part."""
    return source.parts if isinstance(source, MixedSource) else (source,)


def origin_of(source: EpisodeSource, index: int) -> tuple[int, int]:
    """Return which of `parts_of` an episode comes from, and its index there; see `MixedSource.origin`."""
    return source.origin(index) if isinstance(source, MixedSource) else (0, index)


def _common_features(sources: Sequence[EpisodeSource]) -> Features:
    """The first source's features, without what is known of cameras and arm where another says otherwise."""
    features = [source.features for source in sources]
    cameras = [_common_camera(camera.name, sources) for camera in features[0].cameras]
    arm = features[0].arm
    if any(of.arm != arm for of in features):
        _say_dropped("where the arm's joints are", sources)
        arm = None
    pose = features[0].recorded_pose
    if any(of.recorded_pose != pose for of in features):
        _say_dropped("where the state says the hand is", sources)
        pose = None
    height = features[0].environment_height
    if any(of.environment_height != height for of in features):
        _say_dropped("the height of the coordinates", sources)
        height = 0.0
    return replace(features[0], cameras=tuple(cameras), arm=arm, recorded_pose=pose, environment_height=height)


def _common_camera(name: str, sources: Sequence[EpisodeSource]) -> Camera:
    cameras = [camera for source in sources for camera in source.features.cameras if camera.name == name]
    if all(camera.calibration == cameras[0].calibration for camera in cameras):
        return cameras[0]
    _say_dropped(f"where camera '{name}' stands", sources)
    return replace(cameras[0], calibration=None)


def _say_dropped(what: str, sources: Sequence[EpisodeSource]) -> None:
    places = " and ".join(f"'{source.root}'" for source in sources)
    warn(f"{places} do not say the same about {what}, so it is not used; give it with --calibration")
