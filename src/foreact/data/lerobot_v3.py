"""Reads LeRobotDataset v3.0 with pyarrow and PyAV, without LeRobot (FORMATS.md 1)."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, UnidentifiedImageError

from foreact import keys
from foreact.data.depth import decode_depth
from foreact.data.files import content_hash
from foreact.data.lerobot_info import INFO, CameraFeature, read_info
from foreact.data.lerobot_v3_tables import read_schema, read_table
from foreact.data.sidecar import SIDECAR, apply_calibration, read_sidecar, scenes_of
from foreact.data.video import VideoReader
from foreact.errors import DataError, unknown_name
from foreact.records import Episode

EPISODES = "meta/episodes"
DEPTH_FORMAT = "gray12le"
"""Codes 0..4095 as they are; a wider format would scale them."""


@dataclass(frozen=True, kw_only=True)
class VideoSpan:
    """Where an episode lies in a video file."""

    path: Path
    start: float
    """Seconds."""
    stop: float
    """Seconds."""


@dataclass(frozen=True, kw_only=True)
class EpisodeEntry:
    """A row of `meta/episodes`."""

    index: int
    length: int
    task: str
    data: Path
    videos: Mapping[str, VideoSpan]
    """By feature key."""


class LeRobotV3Source:
    """An `EpisodeSource` over a LeRobotDataset v3.0 folder.

    A camera with key `observation.images.<cam>` is called `<cam>`; any other key (`observation.image`,
    `observation.rgb.<cam>`) is the camera's name as it stands, dots included.

    Episodes are read fastest in their order: files and decoders stay open from one to the next. Read the frames of
    one camera one episode at a time.
    """

    def __init__(self, root: str | Path) -> None:
        """Read the metadata and check that every file they name is there.

        Raises:
            DataError: If metadata or files are missing, damaged or contradict each other.
        """
        self.root = Path(root)
        self.info = read_info(self.root)
        sidecar = read_sidecar(self.root)
        self.features = apply_calibration(self.info.features, sidecar, f"'{self.root / SIDECAR}'")
        self._episodes = {entry.index: entry for entry in self._read_entries()}
        self.episode_indices = tuple(self._episodes)
        self.lengths: Mapping[int, int] = {index: entry.length for index, entry in self._episodes.items()}
        self.tasks: Mapping[int, str] = {index: entry.task for index, entry in self._episodes.items()}
        self.scenes: Mapping[int, int] = scenes_of(self.episode_indices, sidecar)
        self._check_files()
        self._ends: dict[Path, float] = {}
        for entry in self._episodes.values():
            for span in entry.videos.values():
                self._ends[span.path] = max(span.stop, self._ends.get(span.path, 0.0))
        self._table: tuple[Path, pa.Table] | None = None
        self._readers: dict[str, VideoReader] = {}
        self._fingerprint: str | None = None

    def episode(self, index: int) -> Episode:
        """Return an episode's vectors.

        Raises:
            DataError: If there is no such episode, or its table is damaged, has another length or another rate.
        """
        entry = self._entry(index)
        rows = self._rows(entry)
        self._check_timestamps(entry, rows)
        features = self.features
        return Episode(
            index=index,
            task=entry.task,
            action=_vectors(rows, keys.ACTION, features.action_dim, entry),
            state=_vectors(rows, keys.STATE, features.state_dim, entry) if features.state_dim else None,
            environment_state=_vectors(rows, keys.ENVIRONMENT_STATE, features.environment_dim, entry)
            if features.environment_dim
            else None,
        )

    def frames(self, index: int, camera: str) -> Iterator[np.ndarray]:
        """Yield an episode's pictures in order, uint8 (H, W, 3).

        Raises:
            DataError: If there is no such camera or episode, a file is damaged, or the number, rate or size of the
                frames is not what the metadata say.
        """
        feature = self._feature(camera, self.info.cameras)
        entry = self._entry(index)
        frames = self._video(entry, feature, "rgb24") if feature.is_video else self._images(entry, feature)
        for number, frame in enumerate(frames):
            if frame.shape != (feature.height, feature.width, 3):
                raise DataError(
                    f"episode {index}, camera '{camera}': frame {number} is {frame.shape[0]}x{frame.shape[1]}, "
                    f"info.json says {feature.height}x{feature.width}"
                )
            yield frame

    def depth(self, index: int, camera: str) -> Iterator[np.ndarray]:
        """Yield an episode's depth maps in order, float32 (H, W) in metres; raises like `frames`."""
        feature = self._feature(camera, self.info.depth)
        entry = self._entry(index)
        if feature.depth_code is not None:
            for codes in self._video(entry, feature, DEPTH_FORMAT):
                yield decode_depth(codes, feature.depth_code)
        else:
            for image in self._images(entry, feature):
                yield image.astype(np.float32) / (1 if feature.depth_in_metres else 1000)

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change when the content of the data set changes, not its place or dates."""
        if self._fingerprint is None:
            files = {entry.data for entry in self._episodes.values()} | set(self._ends)
            sidecar = [self.root / SIDECAR] if (self.root / SIDECAR).is_file() else []
            self._fingerprint = content_hash(
                [self.root / INFO, *sidecar, *_parquet_files(self.root / EPISODES), *files], self.root
            )
        return self._fingerprint

    def _read_entries(self) -> list[EpisodeEntry]:
        """Rows of finished episodes, in the order of their indices.

        info.json is written last and says how many episodes are finished; a row beyond that number is one that a
        killed recording did not finish. A row may be there twice where files were just being merged: the first
        counts.
        """
        files = _parquet_files(self.root / EPISODES)
        if not files:
            raise DataError(f"'{self.root / EPISODES}' has no parquet files; copy the data set again")
        unique: dict[int, EpisodeEntry] = {}
        for path in files:
            for row in read_table(
                path, [name for name in read_schema(path).names if not name.startswith("stats/")]
            ).to_pylist():
                entry = self._parse(row, path)
                unique.setdefault(entry.index, entry)
        entries = sorted(unique.values(), key=lambda entry: entry.index)
        if len(entries) < self.info.total_episodes:
            raise DataError(
                f"'{self.root / EPISODES}' lists {len(entries)} episodes, info.json {self.info.total_episodes}; "
                "copy the data set again"
            )
        return entries[: self.info.total_episodes]

    def _parse(self, row: Mapping[str, object], path: Path) -> EpisodeEntry:
        def number(key: str) -> float:
            value = row.get(key)
            if not isinstance(value, int | float):
                raise DataError(f"'{path}' lacks a number in column '{key}'; copy the data set again")
            return value

        def place(template: str, prefix: str, **more: str) -> Path:
            chunk, file = int(number(f"{prefix}/chunk_index")), int(number(f"{prefix}/file_index"))
            return self.root / template.format(chunk_index=chunk, file_index=file, **more)

        tasks = row.get("tasks")
        videos = {}
        for feature in (*self.info.cameras.values(), *self.info.depth.values()):
            if feature.is_video:
                prefix = f"videos/{feature.key}"
                if self.info.video_path is None:
                    raise DataError(f"info.json has video feature '{feature.key}' but no video_path")
                videos[feature.key] = VideoSpan(
                    path=place(self.info.video_path, prefix, video_key=feature.key),
                    start=number(f"{prefix}/from_timestamp"),
                    stop=number(f"{prefix}/to_timestamp"),
                )
        return EpisodeEntry(
            index=int(number("episode_index")),
            length=int(number("length")),
            task=str(tasks[0]) if isinstance(tasks, list) and tasks else "",
            data=place(self.info.data_path, "data"),
            videos=videos,
        )

    def _check_files(self) -> None:
        wanted = {entry.data for entry in self._episodes.values()}
        wanted |= {span.path for entry in self._episodes.values() for span in entry.videos.values()}
        missing = sorted(path for path in wanted if not path.is_file())
        if missing:
            raise DataError(
                f"'{self.root}' lacks {len(missing)} of {len(wanted)} files, first "
                f"'{missing[0].relative_to(self.root)}'; copy or download them again"
            )

    def _entry(self, index: int) -> EpisodeEntry:
        if index not in self._episodes:
            first, last = self.episode_indices[0], self.episode_indices[-1]
            raise DataError(
                f"'{self.root}' has no episode {index}; it has {len(self._episodes)}, from {first} to {last}"
            )
        return self._episodes[index]

    def _feature(self, camera: str, among: Mapping[str, CameraFeature]) -> CameraFeature:
        if camera not in among:
            raise DataError(unknown_name("camera", camera, among))
        return among[camera]

    def _rows(self, entry: EpisodeEntry) -> pa.Table:
        """An episode's rows without embedded images; the file's table is kept for the next episode."""
        if self._table is None or self._table[0] != entry.data:
            embedded = {f.key for f in (*self.info.cameras.values(), *self.info.depth.values())}
            names = [name for name in read_schema(entry.data).names if name not in embedded]
            self._table = entry.data, read_table(entry.data, names)
        table = self._table[1]
        if keys.EPISODE_INDEX not in table.column_names:
            raise DataError(f"'{entry.data}' has no column '{keys.EPISODE_INDEX}'")
        rows = table.filter(pc.equal(table[keys.EPISODE_INDEX], entry.index))
        if len(rows) != entry.length:
            raise DataError(
                f"episode {entry.index} has {len(rows)} rows in '{entry.data}', its metadata say {entry.length}; "
                "copy or record it again"
            )
        return rows

    def _check_timestamps(self, entry: EpisodeEntry, rows: pa.Table) -> None:
        """Frames are paired with rows by their number, so a time may be off by less than half a frame."""
        if keys.TIMESTAMP not in rows.column_names:
            return
        times = rows[keys.TIMESTAMP].to_numpy().astype(np.float64)
        expected = times[0] + np.arange(entry.length) / self.info.fps
        wrong = ~(np.abs(times - expected) < 0.5 / self.info.fps)
        if wrong.any():
            first = int(np.argmax(wrong))
            raise DataError(
                f"episode {entry.index}: frame {first} has timestamp {times[first]:g} s, expected "
                f"{expected[first]:g} s; the recorded rate is not the {self.info.fps:g} frames/s of info.json"
            )

    def _video(self, entry: EpisodeEntry, feature: CameraFeature, pixel_format: str) -> Iterator[np.ndarray]:
        span, fps = entry.videos[feature.key], self.info.fps
        whose = f"episode {entry.index}, feature '{feature.key}'"
        declared = round((span.stop - span.start) * fps)
        if declared != entry.length:
            raise DataError(
                f"{whose}: {declared} video frames for {entry.length} rows ({span.stop - span.start:g} s of "
                f"'{span.path}' at {fps:g} frames/s); record the episode again"
            )
        reader = self._readers.get(feature.key)
        if reader is None or reader.path != span.path:
            if reader is not None:
                reader.close()
            reader = self._readers[feature.key] = VideoReader(span.path, pixel_format)
        yield from reader.read(span.start, entry.length, fps, whose)
        if math.isclose(span.stop, self._ends[span.path], abs_tol=0.5 / fps) and not reader.at_end:
            raise DataError(
                f"{whose}: '{span.path}' goes on after the {entry.length} frames of its last episode; "
                "the file is another episode's, copy or record it again"
            )

    def _images(self, entry: EpisodeEntry, feature: CameraFeature) -> Iterator[np.ndarray]:
        same_episode = [(keys.EPISODE_INDEX, "=", entry.index)]
        column = read_table(entry.data, [feature.key], same_episode)[feature.key]
        if len(column) != entry.length:
            raise DataError(
                f"episode {entry.index} has {len(column)} images of '{feature.key}' for {entry.length} rows"
            )
        for number, item in enumerate(column):
            content = (item.as_py() or {}).get("bytes")
            try:
                image = Image.open(io.BytesIO(content or b""))
                yield np.array(image if feature in self.info.depth.values() else image.convert("RGB"))
            except (UnidentifiedImageError, OSError) as error:
                raise DataError(
                    f"episode {entry.index}: frame {number} of '{feature.key}' in '{entry.data}' is not an image"
                ) from error


def _parquet_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.parquet"))


def _vectors(rows: pa.Table, key: str, dim: int, entry: EpisodeEntry) -> np.ndarray:
    """A column of lists, or of numbers where there is one dimension, as float32 (L, D)."""
    if key not in rows.column_names:
        raise DataError(f"'{entry.data}' has no column '{key}' although info.json lists it; copy the data set again")
    column = rows[key].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    values = column.flatten() if hasattr(column, "flatten") and pa.types.is_nested(column.type) else column
    array = values.to_numpy(zero_copy_only=False).astype(np.float32)
    if array.size != entry.length * dim:
        raise DataError(
            f"episode {entry.index}: '{key}' has {array.size / entry.length:g} dimensions in '{entry.data}', "
            f"info.json says {dim}"
        )
    return array.reshape(entry.length, dim)
