"""Writes LeRobotDataset v3.0, an episode at a time, so that a killed recording is a valid data set (FORMATS.md 1).

Workers call `stage_episode`: it encodes the videos, which takes the time. One process calls `DatasetWriter.add`,
which moves files into place and writes `meta/info.json` last: an episode is finished when that counts it.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from foreact import keys
from foreact.data.files import move, write_json
from foreact.data.lerobot_info import INFO, load_json
from foreact.data.lerobot_stats import FeatureStats, image_stats, merge_stats, vector_stats
from foreact.data.lerobot_v3_compact import compact, read_episode_rows, recording_place
from foreact.data.lerobot_v3_tables import (
    AUTO_FEATURES,
    DATA_LIMIT_MB,
    DATA_PATH,
    EPISODES_PATH,
    FILES_PER_CHUNK,
    VIDEO_LIMIT_MB,
    VIDEO_PATH,
    auto_columns,
    data_table,
    episode_row,
    stats_of_row,
    tasks_table,
    write_row_groups,
)
from foreact.data.statistics import check_finite
from foreact.data.video import CODEC, CRF, GOP, PIXEL_FORMAT, PRESET, encode_video, whole_fps
from foreact.errors import DataError, unknown_name
from foreact.records import Features

TASKS_FILE = "meta/tasks.parquet"
STATS_FILE = "meta/stats.json"
_IMAGE_AXES = ["height", "width", "channels"]
_STANDARD = (keys.STATE, keys.ENVIRONMENT_STATE, keys.ACTION)


@dataclass(frozen=True, kw_only=True)
class StagedEpisode:
    """An episode with its videos encoded, ready for `DatasetWriter.add`; small and picklable."""

    task: str
    fps: int
    vectors: Mapping[str, np.ndarray]
    """By key, each (L, D)."""
    videos: Mapping[str, Path]
    """By camera name."""
    sizes: Mapping[str, tuple[int, int]]
    """Height and width by camera name."""
    stats: Mapping[str, FeatureStats]
    """By feature key."""

    @property
    def length(self) -> int:
        """Number of frames L."""
        return len(self.vectors[keys.ACTION])


def stage_episode(
    directory: str | Path,
    *,
    task: str,
    vectors: Mapping[str, np.ndarray],
    frames: Mapping[str, Sequence[np.ndarray]],
    fps: float,
) -> StagedEpisode:
    """Encode an episode's videos and compute its statistics.

    Args:
        directory: Where the videos wait, best `DatasetWriter.staging`, from where they are renamed, not copied.
        task: What was done, a sentence.
        vectors: By key, (L, D) or (L,) for one dimension: `action`, and any `observation.*` or `next.*`. Floats are
            stored as float32, integers as int64, booleans as they are.
        frames: By camera name, L pictures, uint8 (H, W, 3) with even H and W.
        fps: Frames a second, a whole number.

    Raises:
        DataError: If a key, shape, type or length is wrong, a number is not finite, or the disk is full.
    """
    rate = whole_fps(fps)
    if keys.ACTION not in vectors:
        raise DataError(f"an episode needs '{keys.ACTION}'; got: {', '.join(vectors) or 'nothing'}")
    length = len(vectors[keys.ACTION])
    if length == 0:
        raise DataError("an episode needs at least one frame")
    columns = {key: _column(key, values, length) for key, values in vectors.items()}
    stats: dict[str, FeatureStats] = {key: vector_stats(values) for key, values in columns.items()}
    videos, sizes = {}, {}
    for camera, pictures in frames.items():
        if len(pictures) != length:
            raise DataError(f"camera '{camera}' has {len(pictures)} frames for {length} actions")
        videos[camera] = Path(directory) / f"{uuid.uuid4().hex}.mp4"
        encode_video(videos[camera], pictures, rate)
        sizes[camera] = (pictures[0].shape[0], pictures[0].shape[1])
        stats[keys.image_key(camera)] = image_stats(pictures)
    return StagedEpisode(task=task, fps=rate, vectors=columns, videos=videos, sizes=sizes, stats=stats)


def _column(key: str, values: np.ndarray, length: int) -> np.ndarray:
    if (key != keys.ACTION and not key.startswith(("observation.", "next."))) or "/" in key:
        raise DataError(f"vector '{key}' is neither '{keys.ACTION}' nor observation.* nor next.*")
    array = np.asarray(values)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != length or array.dtype.kind not in "fiub":
        raise DataError(f"vector '{key}' is {array.dtype} {array.shape}, expected numbers of shape ({length}, D)")
    if array.dtype.kind == "f" or key in _STANDARD:
        array = array.astype(np.float32)
        check_finite(array, key, "this episode")
    return array if array.dtype.kind in "fb" else array.astype(np.int64)


class DatasetWriter:
    """Appends episodes to a data set; at every instant the folder holds a valid one of the finished episodes.

    While recording, each episode has files of its own; `finish` merges them. Robust against a killed process; after
    a power cut the last episodes may be lost.
    """

    def __init__(self, root: str | Path, *, features: Features, robot_type: str, resume: bool = False) -> None:
        """Open a data set for writing.

        Args:
            root: Its folder; nothing is written to it before the first episode but hidden files.
            features: Names of the vectors' dimensions, cameras with their sizes, and the rate.
            robot_type: For LeRobot, for example "so101".
            resume: Continue what is there, after repairing what a killed recording left; False refuses a folder that
                holds something.

        Raises:
            DataError: If the folder is taken, in use by another process, damaged, or holds other features.
        """
        self.root = Path(root)
        self.n_episodes = 0
        self._fps = whole_fps(features.fps)
        self._robot_type = robot_type
        self._n_frames = 0
        self._tasks: list[str] = []
        self._stats: dict[str, FeatureStats] = {}
        self._specs = _feature_specs(features)
        self._extras: dict[str, dict[str, Any]] | None = None
        self._closed = False
        self._lock = self._take(resume)
        shutil.rmtree(self.staging, ignore_errors=True)
        self.staging.mkdir()
        if (self.root / INFO).is_file():
            self._continue()

    @property
    def staging(self) -> Path:
        """A folder for `stage_episode` on the same disk, removed by `finish`."""
        return self.root / ".staging"

    def add(self, staged: StagedEpisode) -> int:
        """Append an episode and return its index.

        Raises:
            DataError: If its features are not the data set's, or the disk is full; the data set stays as it was.
        """
        if self._closed:
            raise ValueError("the data set is finished; open it again with resume=True")
        self._check(staged)
        index, length = self.n_episodes, staged.length
        chunk, file = place = recording_place(index)
        tasks = self._tasks if staged.task in self._tasks else [*self._tasks, staged.task]
        auto = auto_columns(
            length,
            self._fps,
            episode_index=index,
            first_index=self._n_frames,
            task_index=tasks.index(staged.task),
        )
        own_stats = {**staged.stats, **{key: vector_stats(values) for key, values in auto.items()}}
        stats = {key: merge_stats(self._stats[key], of) if self._stats else of for key, of in own_stats.items()}
        for camera, video in staged.videos.items():
            key = keys.image_key(camera)
            move(video, self.root / VIDEO_PATH.format(video_key=key, chunk_index=chunk, file_index=file))
        extras = _extra_specs(staged) if self._extras is None else self._extras
        standard = [key for key in _STANDARD if key in staged.vectors]
        columns = data_table({**{key: staged.vectors[key] for key in (*standard, *extras)}, **auto})
        write_row_groups(self.root / DATA_PATH.format(chunk_index=chunk, file_index=file), [columns])
        row = episode_row(
            index=index,
            task=staged.task,
            length=length,
            first_index=self._n_frames,
            place=place,
            spans={keys.image_key(camera): (0.0, length / self._fps) for camera in staged.videos},
            stats=own_stats,
        )
        if tasks is not self._tasks:
            write_row_groups(self.root / TASKS_FILE, [tasks_table(tasks)])
        write_row_groups(self.root / EPISODES_PATH.format(chunk_index=chunk, file_index=file), [row])
        write_json(self.root / STATS_FILE, {key: {n: v.tolist() for n, v in of.items()} for key, of in stats.items()})
        write_json(self.root / INFO, self._info(index + 1, self._n_frames + length, len(tasks), extras))
        self.n_episodes, self._n_frames = index + 1, self._n_frames + length
        self._tasks, self._stats, self._extras = tasks, stats, extras
        return index

    def finish(self) -> None:
        """Merge the episodes' files up to LeRobot's size limits and let go of the folder.

        Raises:
            DataError: If the disk is full; the data set stays valid with a file an episode.
        """
        if self.n_episodes:
            self._compact()
        self._closed = True
        shutil.rmtree(self.staging, ignore_errors=True)
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def _take(self, resume: bool) -> FileLock:
        """Lock the folder."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot make folder '{self.root}': {error.strerror}") from error
        lock = FileLock(self.root / ".writing.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise DataError(f"another process is recording into '{self.root}'; wait for it or end it") from error
        taken = sorted(path.name for path in self.root.iterdir() if not path.name.startswith("."))
        if taken and not resume:
            lock.release()
            raise DataError(
                f"'{self.root}' is not empty (it has {', '.join(taken[:3])}); "
                "resume the recording, or choose another folder"
            )
        return lock

    def _continue(self) -> None:
        """Take up a data set where it was left, and repair it."""
        info = load_json(self.root / INFO)
        self._check_same(info)
        self.n_episodes, self._n_frames = info["total_episodes"], info["total_frames"]
        known = {*self._specs, *AUTO_FEATURES}
        self._extras = {key: spec for key, spec in info["features"].items() if key not in known}
        self._compact()
        rows = read_episode_rows(self.root, self.n_episodes)
        for row in rows.to_pylist():
            self._tasks += [task for task in row["tasks"] if task not in self._tasks]
            of_row = stats_of_row(row, info["features"])
            self._stats = {key: merge_stats(self._stats[key], of) if self._stats else of for key, of in of_row.items()}

    def _compact(self) -> None:
        video_keys = [key for key, spec in self._specs.items() if spec["dtype"] == "video"]
        compact(self.root, video_keys=video_keys, fps=self._fps, n_episodes=self.n_episodes)

    def _check_same(self, info: Mapping[str, Any]) -> None:
        """Refuse to continue a data set with other features."""
        known = {"codebase_version": "v3.0", "fps": self._fps, "data_path": DATA_PATH, "video_path": self._video_path()}
        for name, value in known.items():
            if info.get(name) != value:
                raise DataError(
                    f"'{self.root}' has {name} {info.get(name)}, this recording {value}; record into another folder"
                )
        there = {key: spec for key, spec in info["features"].items() if spec["dtype"] in ("video", "image")}
        there |= {key: spec for key, spec in info["features"].items() if key in _STANDARD}
        for key in sorted(there.keys() | self._specs.keys()):
            old, new = (_essence(specs.get(key)) for specs in (there, self._specs))
            if old != new:
                raise DataError(f"'{self.root}' has '{key}' {old}, this recording {new}; record into another folder")

    def _check(self, staged: StagedEpisode) -> None:
        if staged.fps != self._fps:
            raise DataError(f"the episode has {staged.fps} frames/s, the data set {self._fps}")
        wanted = {key for key, spec in self._specs.items() if spec["dtype"] != "video"}
        if missing := sorted(wanted - staged.vectors.keys()):
            raise DataError(f"the episode lacks '{missing[0]}'; it has: {', '.join(staged.vectors)}")
        for key, values in staged.vectors.items():
            spec = self._specs.get(key)
            if spec is None and key in _STANDARD:
                raise DataError(f"the episode has '{key}', which the data set's features do not name")
            if spec is not None and [values.shape[1]] != spec["shape"]:
                raise DataError(f"'{key}' has {values.shape[1]} dimensions, the data set's features {spec['shape'][0]}")
        if self._extras is not None and _extra_specs(staged) != self._extras:
            raise DataError(
                f"the episode has further vectors {_extra_specs(staged)}, the data set {self._extras}; they must agree"
            )
        sizes = {keys.image_key(camera): [*size, 3] for camera, size in staged.sizes.items()}
        declared = {key: spec["shape"] for key, spec in self._specs.items() if spec["dtype"] == "video"}
        for key in sizes:
            if key not in declared:
                raise DataError(unknown_name("camera feature", key, declared))
        for key, shape in declared.items():
            if sizes.get(key) != shape:
                raise DataError(f"'{key}' of the episode is {sizes.get(key)}, the data set has {shape}")

    def _video_path(self) -> str | None:
        return VIDEO_PATH if any(spec["dtype"] == "video" for spec in self._specs.values()) else None

    def _info(self, n_episodes: int, n_frames: int, n_tasks: int, extras: Mapping[str, Any]) -> dict[str, Any]:
        vectors = {key: spec for key, spec in self._specs.items() if spec["dtype"] != "video"}
        videos = {key: spec for key, spec in self._specs.items() if spec["dtype"] == "video"}
        auto = {key: {"dtype": dtype, "shape": [1], "names": None} for key, dtype in AUTO_FEATURES.items()}
        return {
            "codebase_version": "v3.0",
            "fps": self._fps,
            "features": {**vectors, **extras, **videos, **auto},
            "total_episodes": n_episodes,
            "total_frames": n_frames,
            "total_tasks": n_tasks,
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": DATA_LIMIT_MB,
            "video_files_size_in_mb": VIDEO_LIMIT_MB,
            "data_path": DATA_PATH,
            "video_path": self._video_path(),
            "robot_type": self._robot_type,
            "splits": {"train": f"0:{n_episodes}"},
        }


def _essence(spec: Mapping[str, Any] | None) -> tuple[Any, ...] | None:
    return None if spec is None else (spec["dtype"], list(spec["shape"]), spec["names"])


def _extra_specs(staged: StagedEpisode) -> dict[str, dict[str, Any]]:
    return {
        key: {"dtype": values.dtype.name, "shape": [values.shape[1]], "names": None}
        for key, values in staged.vectors.items()
        if key not in _STANDARD
    }


def _feature_specs(features: Features) -> dict[str, dict[str, Any]]:
    """What info.json says of the features that are known before the first episode."""
    named = {
        keys.STATE: features.state_names,
        keys.ENVIRONMENT_STATE: features.environment_names,
        keys.ACTION: features.action_names,
    }
    vectors = {
        key: {"dtype": "float32", "shape": [len(names)], "names": list(names)} for key, names in named.items() if names
    }
    videos = {
        keys.image_key(camera.name): {
            "dtype": "video",
            "shape": [camera.height, camera.width, 3],
            "names": _IMAGE_AXES,
            "info": {
                "video.height": camera.height,
                "video.width": camera.width,
                "video.codec": CODEC,
                "video.pix_fmt": PIXEL_FORMAT,
                "video.fps": whole_fps(features.fps),
                "video.channels": 3,
                "has_audio": False,
                "video.g": GOP,
                "video.crf": CRF,
                "video.preset": PRESET,
                "video.video_backend": "pyav",
                "video.extra_options": {"bf": "0"},
                "is_depth_map": False,
            },
        }
        for camera in features.cameras
    }
    return {**vectors, **videos}
