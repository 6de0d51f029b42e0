"""What the readers of LeRobotDataset v2 and v3 share: the rows, pictures and depth of an episode (FORMATS.md 1).

A reader finds out where each episode lies, an `EpisodeEntry`; from there on the versions are alike.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from foreact.console import warn
from foreact.data.depth import decode_depth
from foreact.data.files import content_hash, missing_files
from foreact.data.lerobot_info import INFO, CameraFeature, DatasetInfo
from foreact.data.lookup import find_camera, find_episode
from foreact.data.parquet import RowGroups, read_schema, read_table
from foreact.data.sidecar import SIDECAR, apply_calibration, read_sidecar, scenes_of
from foreact.data.video import VideoReader
from foreact.errors import DataError
from foreact.records import Episode
from foreact_runtime import keys

_COLUMNS = frozenset((keys.EPISODE_INDEX, keys.TIMESTAMP, keys.ACTION, keys.STATE, keys.ENVIRONMENT_STATE))


@dataclass(frozen=True, kw_only=True)
class VideoSpan:
    """Where an episode lies in a video file."""

    path: Path
    start: float = 0.0
    """Seconds."""
    stop: float | None = None
    """Seconds; None where the episode has the file to itself."""


@dataclass(frozen=True, kw_only=True)
class EpisodeEntry:
    """What the metadata say of an episode."""

    index: int
    length: int
    task: str
    data: Path
    videos: Mapping[str, VideoSpan]
    """By feature key."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All that hold a part of it."""
        return (self.data, *(span.path for span in self.videos.values()))


@dataclass(frozen=True, kw_only=True)
class EpisodeList:
    """What a version's metadata say of all episodes."""

    entries: tuple[EpisodeEntry, ...]
    metadata: tuple[Path, ...]
    """Files that say so, for the fingerprint; `meta/info.json` is one anyway."""
    whole_file: int = 16 * 2**20
    """For the fingerprint, files up to this size [bytes] are read as a whole,"""
    file_ends: int = 2**20
    """and of larger ones so much of both ends. A format with many small files makes do with less."""


class LeRobotSource:
    """An `EpisodeSource` over episodes whose places are known.

    A camera with key `observation.images.<cam>` is called `<cam>`; any other key (`observation.image`,
    `observation.rgb.<cam>`) is the camera's name as it stands, dots included. A row goes with the frame that lies in
    the video at the episode's start and the row's timestamp, as in LeRobot; what a file holds beyond is not looked at.

    Episodes are read fastest in their order: files and decoders stay open from one to the next. Read the frames of
    one camera one episode at a time.

    A camera or depth without a single video is left out, and a person is told: many have no room for all of a large
    set. An episode that lacks files for other reasons cannot be read.

    A reader of a related format derives from this class: it sets `features` anew after this constructor and overrides
    `episode`; vectors have the sizes of `info.features`, pictures and depth follow `info.cameras` and `info.depth`.
    """

    def __init__(self, root: Path, info: DatasetInfo, episodes: EpisodeList) -> None:
        """Look which files are there.

        Args:
            root: The data set's folder.
            info: Of `meta/info.json`.
            episodes: All of them.

        Raises:
            DataError: If no episode has all its files, or the sidecar does not fit.
        """
        self.root = root
        sidecar = read_sidecar(root)
        recorded = replace(info, features=apply_calibration(info.features, sidecar, f"'{root / SIDECAR}'"))
        absent = missing_files({path for entry in episodes.entries for path in entry.files})
        self.info, entries = _without_absent_cameras(root, recorded, episodes.entries, absent)
        self.features = self.info.features
        self._list = episodes
        self._episodes = {entry.index: entry for entry in sorted(entries, key=lambda entry: entry.index)}
        self.missing: Mapping[int, Path] = self._missing(absent)
        """A file that is not there, by episode index: these episodes cannot be read. Empty where all are complete."""
        self.episode_indices = tuple(self._episodes)
        self.lengths: Mapping[int, int] = {index: entry.length for index, entry in self._episodes.items()}
        self.tasks: Mapping[int, str] = {index: entry.task for index, entry in self._episodes.items()}
        self.scenes: Mapping[int, int] = scenes_of(self.episode_indices, sidecar)
        self._file: RowGroups | None = None
        self._readers: dict[str, VideoReader] = {}
        self._fingerprint: str | None = None

    def episode(self, index: int) -> Episode:
        """Return an episode's vectors.

        Raises:
            DataError: If there is no such episode, or its table is damaged, has another length or another rate.
        """
        entry = self._entry(index)
        dims = {
            keys.ACTION: self.info.features.action_dim,
            keys.STATE: self.info.features.state_dim,
            keys.ENVIRONMENT_STATE: self.info.features.environment_dim,
        }
        with _naming(entry):
            rows = self._rows(entry)
            self._first_frame(entry, rows)
            vectors = {key: _vectors(rows, key, dim, entry) for key, dim in dims.items() if dim}
        return Episode(
            index=index,
            task=entry.task,
            action=vectors[keys.ACTION],
            state=vectors.get(keys.STATE),
            environment_state=vectors.get(keys.ENVIRONMENT_STATE),
        )

    def frames(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield an episode's pictures in order, uint8 (H, W, 3), or each n-th of them.

        Raises:
            DataError: If there is no such camera or episode, a file is damaged, or the number, rate or size of the
                frames is not what the metadata say.
        """
        feature = find_camera(self.info.cameras, camera)
        entry = self._entry(index)
        with _naming(entry):
            pictures = (
                self._video(entry, feature, "rgb24", every)
                if feature.is_video
                else (np.array(image.convert("RGB")) for image in self._images(entry, feature, every))
            )
            yield from _of_size(pictures, feature, entry, f"episode {index}, camera '{camera}'", every)

    def frames_from(self, index: int, camera: str, first: int) -> Iterator[np.ndarray]:
        """Yield an episode's pictures like `frames`, from one on; a video is sought, not read from its start."""
        feature = find_camera(self.info.cameras, camera)
        entry = self._entry(index)
        with _naming(entry):
            pictures = (
                self._video(entry, feature, "rgb24", 1, skip=first)
                if feature.is_video
                else (np.array(image.convert("RGB")) for image in islice(self._images(entry, feature, 1), first, None))
            )
            yield from _of_size(pictures, feature, entry, f"episode {index}, camera '{camera}'", 1)

    def timestamps(self, index: int) -> np.ndarray | None:
        """Return an episode's times (L,) [s] as recorded, unchecked; None where the table has no such column."""
        entry = self._entry(index)
        with _naming(entry):
            rows = self._rows(entry)
            if keys.TIMESTAMP not in rows.column_names:
                return None
            return _vectors(rows, keys.TIMESTAMP, 1, entry, np.float64)[:, 0]

    def video_spans(self, index: int) -> Mapping[str, VideoSpan]:
        """Return where the videos of an episode lie, by feature."""
        return self._entry(index).videos

    def depth(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield an episode's depth maps in order, float32 (H, W) in metres; like `frames`."""
        feature = find_camera(self.info.depth, camera)
        entry = self._entry(index)
        whose = f"episode {index}, depth of camera '{camera}'"
        with _naming(entry):
            if (code := feature.depth_code) is not None:
                coded = self._video(entry, feature, code.pixel_format, every)
                for codes in _of_size(coded, feature, entry, whose, every):
                    yield decode_depth(codes, code)
            else:
                images = map(np.array, self._images(entry, feature, every))
                for image in _of_size(images, feature, entry, whose, every):
                    unit = feature.depth_unit or ("m" if image.dtype.kind == "f" else "mm")
                    yield image.astype(np.float32) / (1 if unit == "m" else 1000)

    def file_of(self, index: int) -> Path:
        """Return the file with an episode's rows."""
        return find_episode(self.root, self._episodes, index).data

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change when the content of the data set changes, not its place or dates."""
        if self._fingerprint is None:
            complete = [entry for index, entry in self._episodes.items() if index not in self.missing]
            files = {path for entry in complete for path in entry.files}
            sidecar = [self.root / SIDECAR] if (self.root / SIDECAR).is_file() else []
            self._fingerprint = content_hash(
                [self.root / INFO, *sidecar, *self._list.metadata, *files],
                self.root,
                whole=self._list.whole_file,
                ends=self._list.file_ends,
            )
        return self._fingerprint

    def _missing(self, absent: set[Path]) -> dict[int, Path]:
        missing: dict[int, Path] = {}
        for index, entry in self._episodes.items():
            if path := next((path for path in entry.files if path in absent), None):
                missing[index] = path
        if len(missing) == len(self._episodes):
            wanted = {path for entry in self._episodes.values() for path in entry.files}
            raise DataError(
                f"'{self.root}' lacks {len(absent & wanted)} of {len(wanted)} files, first "
                f"'{next(iter(missing.values())).relative_to(self.root)}', so that no episode is complete; "
                "copy or download them again"
            )
        return missing

    def _entry(self, index: int) -> EpisodeEntry:
        entry = find_episode(self.root, self._episodes, index)
        if index in self.missing:
            also = f", and {len(self.missing) - 1} more episodes lack files" if len(self.missing) > 1 else ""
            raise DataError(
                f"episode {index}: '{self.missing[index]}' is missing{also}; copy or download the data set again"
            )
        return entry

    def _rows(self, entry: EpisodeEntry) -> pa.Table:
        """An episode's vectors and times."""
        file = self._file
        if file is None or file.path != entry.data:
            file = self._file = RowGroups(entry.data, _COLUMNS, by=keys.EPISODE_INDEX)
        table = file.read(entry.index)
        if keys.EPISODE_INDEX in table.column_names:
            if not _is_number(kind := table.schema.field(keys.EPISODE_INDEX).type):
                raise DataError(_not_numbers(entry, keys.EPISODE_INDEX, kind))
            table = table.filter(pc.equal(table[keys.EPISODE_INDEX], entry.index))
        if len(table) != entry.length:
            raise DataError(
                f"episode {entry.index} has {len(table)} rows in '{entry.data}', its metadata say {entry.length}; "
                "copy or record it again"
            )
        return table

    def _first_frame(self, entry: EpisodeEntry, rows: pa.Table) -> int:
        """Which frame of the episode's video the first row goes with: 0 but where somebody has cut rows off.

        Times count from the start of the episode's video, so the first lies within it. They must be evenly spaced, each
        off by less than half a frame: frames are paired with rows by their number from there on.
        """
        if keys.TIMESTAMP not in rows.column_names:
            return 0
        fps = self.info.fps
        times = _vectors(rows, keys.TIMESTAMP, 1, entry, np.float64)[:, 0]
        spans = [span.stop - span.start for span in entry.videos.values() if span.stop is not None]
        if times[0] <= -0.5 / fps or times[0] >= min(spans, default=math.inf):
            raise DataError(
                f"episode {entry.index}: the first timestamp in '{entry.data}' is {times[0]:.10g} s, expected one "
                "within the episode; timestamps count from its start: subtract the first from all"
            )
        with np.errstate(invalid="ignore"):  # infinite ones
            expected = times[0] + np.arange(entry.length) / fps
            wrong = ~(np.abs(times - expected) < 0.5 / fps)
        if wrong.any():
            first = int(np.argmax(wrong))
            raise DataError(
                f"episode {entry.index}: frame {first} has timestamp {times[first]:g} s in '{entry.data}', expected "
                f"{expected[first]:g} s; the recorded rate is not the {fps:g} frames/s of info.json: correct it there, "
                "or leave the episode out"
            )
        return round(times[0] * fps)

    def _video(
        self, entry: EpisodeEntry, feature: CameraFeature, pixel_format: str, every: int, skip: int = 0
    ) -> Iterator[np.ndarray]:
        span, fps = entry.videos[feature.key], self.info.fps
        whose = f"episode {entry.index}, feature '{feature.key}'"
        first = self._first_frame(entry, self._rows(entry))
        if span.stop is not None and (held := round((span.stop - span.start) * fps)) < first + entry.length:
            raise DataError(
                f"{whose}: {held} video frames for {entry.length} rows{f' from frame {first} on' if first else ''} "
                f"({span.stop - span.start:g} s of '{span.path}' at {fps:g} frames/s); record the episode again"
            )
        reader = self._readers.get(feature.key)
        if reader is None or reader.path != span.path:
            if reader is not None:
                del self._readers[feature.key]  # no closed one may stay behind where the next cannot be opened
                reader.close()
            reader = self._readers[feature.key] = VideoReader(span.path, pixel_format)
        yield from reader.read(span.start + (first + skip) / fps, entry.length - skip, fps, whose, every)

    def _images(self, entry: EpisodeEntry, feature: CameraFeature, every: int) -> Iterator[Image.Image]:
        names = read_schema(entry.data).names
        if feature.key not in names:
            raise DataError(_no_column(entry, feature.key))
        same_episode = [(keys.EPISODE_INDEX, "=", entry.index)] if keys.EPISODE_INDEX in names else None
        column = read_table(entry.data, [feature.key], same_episode)[feature.key]
        if len(column) != entry.length:
            raise DataError(
                f"episode {entry.index} has {len(column)} images of '{feature.key}' in '{entry.data}' for "
                f"{entry.length} rows; leave the episode out or record it again"
            )
        for number, cell in enumerate(column):
            item = cell.as_py()
            content = item.get("bytes") if isinstance(item, dict) else None
            try:
                image = Image.open(io.BytesIO(content or b""))
                image.load()
            except (OSError, ValueError, SyntaxError) as error:  # Pillow has all three for damaged pictures
                raise DataError(
                    f"episode {entry.index}: frame {number} of '{feature.key}' in '{entry.data}' is not an image; "
                    "copy or record it again"
                ) from error
            if number % every == 0:
                yield image


@contextmanager
def _naming(entry: EpisodeEntry) -> Iterator[None]:
    """Say which episode it was where a message names only a file."""
    try:
        yield
    except DataError as error:
        if str(error).startswith(whose := f"episode {entry.index}"):
            raise
        raise DataError(f"{whose}: {error}") from error


def _without_absent_cameras(
    root: Path, info: DatasetInfo, entries: tuple[EpisodeEntry, ...], absent: set[Path]
) -> tuple[DatasetInfo, tuple[EpisodeEntry, ...]]:
    """Leave out video features without a single file; none where that would be all of them, or every camera."""
    gone = {key for key in info.video_keys if all(entry.videos[key].path in absent for entry in entries)}
    cameras = {name: of for name, of in info.cameras.items() if of.key not in gone}
    if not gone or len(gone) == len(info.video_keys) or not cameras:
        return info, entries
    warn(f"'{root}' has no videos of {', '.join(sorted(gone))}: left out; download them if they are wanted")
    depth = {name: of for name, of in info.depth.items() if of.key not in gone and name in cameras}
    seen = tuple(
        camera if camera.name in depth else replace(camera, depth_range=None)
        for camera in info.features.cameras
        if camera.name in cameras
    )
    left = replace(info, cameras=cameras, depth=depth, features=replace(info.features, cameras=seen))
    videos = ({key: entry.videos[key] for key in left.video_keys} for entry in entries)
    return left, tuple(replace(entry, videos=of) for entry, of in zip(entries, videos, strict=True))


def _of_size(
    frames: Iterable[np.ndarray], feature: CameraFeature, entry: EpisodeEntry, whose: str, every: int
) -> Iterator[np.ndarray]:
    for number, frame in enumerate(frames):
        if frame.shape[:2] != (feature.height, feature.width):
            path = entry.videos[feature.key].path if feature.is_video else entry.data
            raise DataError(
                f"{whose}: frame {number * every} is {frame.shape[0]}x{frame.shape[1]} in '{path}', "
                f"info.json says {feature.height}x{feature.width}; correct it there, or leave the episode out"
            )
        yield frame


def _vectors(
    rows: pa.Table, key: str, dim: int, entry: EpisodeEntry, dtype: type[np.floating] = np.float32
) -> np.ndarray:
    """A column of lists, or of numbers where there is one dimension, as (L, D)."""
    if key not in rows.column_names:
        raise DataError(_no_column(entry, key))
    values = rows[key].combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = values.chunk(0)
    while isinstance(values, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        values = values.flatten()
    if not _is_number(values.type):
        raise DataError(_not_numbers(entry, key, values.type))
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
        array = values.to_numpy(zero_copy_only=False).astype(dtype)
    if array.size != entry.length * dim:
        raise DataError(
            f"episode {entry.index}: '{key}' has {array.size / entry.length:g} dimensions in '{entry.data}', "
            f"info.json says {dim}; correct its shape there, or leave the episode out"
        )
    return array.reshape(entry.length, dim)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def _not_numbers(entry: EpisodeEntry, key: str, kind: pa.DataType) -> str:
    return f"column '{key}' of '{entry.data}' holds {kind}, expected numbers; copy the data set again"


def _no_column(entry: EpisodeEntry, key: str) -> str:
    return f"'{entry.data}' has no column '{key}' although info.json lists it; copy the data set again"
