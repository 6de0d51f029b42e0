"""Data sets that the studio was given, an episode at a time: pictures, curves, and what `foreact inspect` finds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from foreact.config import SourceConfig
from foreact.data.depth import resize_depth
from foreact.data.source import EpisodeSource, open_source
from foreact.errors import ConfigError, DataError
from foreact.finding import Finding, Severity
from foreact.inspection.report import Report, inspect
from foreact.records import Episode
from foreact.studio.depth_picture import depth_picture, depth_title
from foreact.studio.shelf import short_names

_LONGEST = 360
"""Pixels of a picture's longer side."""
_MOST_PICTURES = 3000
"""Of a clip, all cameras together, about 40 MB; of a longer episode every second one is kept, or every third."""
_DEFAULTS = SourceConfig()
_KEPT = 4
"""Clips in memory, of each data set: more visitors than this, each at another episode, would wait for each picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """What one camera recorded in an episode, of colours or of depth."""

    title: str
    depth_range: tuple[float, float] | None
    """Metres, of a track of depth."""
    size: tuple[int, int]
    """Height and width [pixels] as recorded."""
    pictures: Sequence[bytes]
    """JPEG files, smaller than recorded where that is large."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One episode as it is shown."""

    episode: Episode
    tracks: Mapping[tuple[str, bool], Track]
    """By camera, and whether it is its depth; `depth_picture` says what colours mean there."""
    every: int
    """Frames between two pictures."""
    damaged: Mapping[str, str]
    """By camera, why it has no pictures, or not all."""

    def picture(self, camera: str, frame: int, *, depth: bool = False) -> bytes | None:
        """Return the latest picture at a frame, of a camera's colours or its depth; None where there is none."""
        track = self.tracks.get((camera, depth))
        if track is None or not track.pictures:
            return None
        return track.pictures[min(max(frame, 0) // self.every, len(track.pictures) - 1)]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A finding on an episode's timeline."""

    start: int
    """First frame."""
    stop: int
    """Frame after the last."""
    severity: Severity
    title: str
    text: str
    is_whole: bool
    """Whether it concerns the episode as a whole, and no frames in particular."""


class Recording:
    """A data set, read when it is first looked at; its methods may be called from any thread."""

    def __init__(self, path: Path, config: SourceConfig = _DEFAULTS) -> None:
        """Take where it is, and how it is read where its files leave that open."""
        self.path = path
        self._config = config
        self._source: EpisodeSource | None = None
        self._report: Report | None = None
        self._clips: OrderedDict[int, Clip] = OrderedDict()
        self._reading = threading.Lock()
        """Held for as long as an episode takes to read; what has been read is there meanwhile."""
        self._keeping = threading.Lock()

    @property
    def source(self) -> EpisodeSource:
        """The open data set.

        Raises:
            DataError: If there is none, or it is damaged.
        """
        if self._source is not None:
            return self._source
        with self._reading:
            return self._opened()

    def clip(self, index: int) -> Clip:
        """Return an episode with all of its pictures.

        Raises:
            DataError: If there is no such episode, or its vectors are damaged.
        """
        clip = self._kept(index)
        if clip is not None:
            return clip
        with self._reading:
            clip = self._kept(index) or _read_clip(self._opened(), index)
            with self._keeping:
                self._clips[index] = clip
                while len(self._clips) > _KEPT:
                    self._clips.popitem(last=False)
            return clip

    @property
    def report(self) -> Report | None:
        """What `inspect` found; None before it was called."""
        return self._report

    def inspect(self) -> Report:
        """Return what `foreact inspect` finds in the whole data set; takes minutes where it is large.

        Raises:
            DataError: If no episode can be read.
        """
        if self._report is None:
            # With files of its own: clips are looked at meanwhile.
            self._report = inspect(open_source(self.path, self._config))
        return self._report

    def _kept(self, index: int) -> Clip | None:
        with self._keeping:
            if index in self._clips:
                self._clips.move_to_end(index)
            return self._clips.get(index)

    def _opened(self) -> EpisodeSource:
        if self._source is None:
            self._source = open_source(self.path, self._config)
        return self._source


class Recordings:
    """Those that were given by name. Nothing else can be opened."""

    def __init__(self, paths: Sequence[Path], config: SourceConfig = _DEFAULTS) -> None:
        """Take where they are, and how all of them are read where their files leave that open."""
        self._by_name = {name: Recording(path, config) for name, path in zip(short_names(paths), paths, strict=True)}

    @property
    def names(self) -> tuple[str, ...]:
        """In the order given."""
        return tuple(self._by_name)

    def __getitem__(self, name: str) -> Recording:
        """Return one; raises ConfigError where there is none of that name."""
        if name not in self._by_name:
            raise ConfigError(f"the studio was not given a data set '{name}'")
        return self._by_name[name]


def marks(findings: Sequence[Finding], episode: Episode) -> tuple[Mark, ...]:
    """Return what the findings say of one episode, worst first as they are; those that are fine say nothing."""
    found = []
    for finding in findings:
        if finding.severity not in ("fault", "warning"):
            continue
        stretches = _stretches(finding.evidence, episode.index, episode.length)
        is_whole = not stretches
        if is_whole and episode.index in finding.evidence.get("episodes", ()):
            stretches = [(0, episode.length)]
        for start, stop in stretches:
            found.append(
                Mark(
                    start=start,
                    stop=stop,
                    severity=finding.severity,
                    title=finding.title,
                    text=finding.verdict,
                    is_whole=is_whole,
                )
            )
    return tuple(found)


def _stretches(evidence: Mapping[str, object], index: int, length: int) -> list[tuple[int, int]]:
    """Return the frames [start, stop) that a finding's evidence names in an episode."""
    name = str(index)
    found: list[tuple[int, int]] = []
    for of in _mapping(evidence.get("first_frame_and_count")).values():
        if name in _mapping(of):
            first, count = _mapping(of)[name]
            found.append((first, first + count))
    found += [(start, stop) for start, stop in _mapping(evidence.get("frames_by_episode")).get(name, ())]
    for of in _mapping(evidence.get("frame_by_episode")).values():
        if index in _mapping(of):
            found.append((_mapping(of)[index], _mapping(of)[index] + 1))
    return [(max(0, start), min(stop, length)) for start, stop in found]


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _read_clip(source: EpisodeSource, index: int) -> Clip:
    if index not in source.episode_indices:
        raise DataError(f"'{source.root}' has no episode {index}")
    episode = source.episode(index)
    cameras = source.features.cameras
    n_pictures = len(cameras) + sum(camera.depth_range is not None for camera in cameras)
    every = -(-episode.length * max(1, n_pictures) // _MOST_PICTURES)
    tracks: dict[tuple[str, bool], Track] = {}
    damaged: dict[str, str] = {}
    for camera in cameras:
        for is_depth in (False, True) if camera.depth_range is not None else (False,):
            title = depth_title(camera.name) if is_depth else camera.name
            read = source.depth if is_depth else source.frames
            depth_range = camera.depth_range if is_depth else None
            size, files = (camera.height, camera.width), []
            try:
                for frame in read(index, camera.name, every):
                    size = frame.shape[:2]  # some cameras record depth in another size than colours
                    files.append(jpeg(frame) if depth_range is None else _depth_jpeg(frame, depth_range))
            except DataError as error:
                damaged[title] = str(error)
            track = Track(title=title, depth_range=depth_range, size=size, pictures=files)
            tracks[camera.name, is_depth] = track
    return Clip(episode=episode, tracks=tracks, every=every, damaged=damaged)


def _depth_jpeg(metres: np.ndarray, depth_range: tuple[float, float]) -> bytes:
    """Return a depth map (H, W) [m] as a JPEG file, made smaller before it has colours: their mean is no distance."""
    height, width = metres.shape
    share = min(1.0, _LONGEST / max(height, width))
    small = resize_depth(metres, max(1, round(share * height)), max(1, round(share * width)))
    return jpeg(depth_picture(small, depth_range))


def jpeg(picture: np.ndarray, longest: int = _LONGEST) -> bytes:
    """Return a picture, uint8 (H, W, 3), as a JPEG file, made smaller where its longer side is more than this."""
    image = Image.fromarray(picture)
    image.thumbnail((longest, longest))
    file = BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()
