"""Writes LeRobotDataset v3.0, an episode at a time, so that a killed recording is a valid data set (FORMATS.md 1).

Workers call `stage_episode`: it encodes the videos, which takes the time. One process calls `DatasetWriter.add`,
which moves files into place and writes `meta/info.json` last: an episode is finished when that counts it. One that is
complete and listed, but not counted when the process is killed, is read with a warning and written anew on resuming.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from filelock import FileLock, Timeout

from foreact.data.depth import depth_levels, encode_depth
from foreact.data.files import cannot_write, move, write_json
from foreact.data.lerobot_info import INFO, load_json, read_info
from foreact.data.lerobot_stats import FeatureStats, PictureStats, merge_stats, vector_stats
from foreact.data.lerobot_v3_compact import compact, read_episode_rows, recording_place
from foreact.data.lerobot_v3_schema import STANDARD, Schema, Specs, depth_code_of, depth_name, extra_specs
from foreact.data.lerobot_v3_tables import (
    DATA_PATH,
    EPISODES_PATH,
    VIDEO_PATH,
    auto_columns,
    data_table,
    episode_row,
    stats_of_row,
    tasks_table,
    write_row_groups,
)
from foreact.data.statistics import check_finite
from foreact.data.video import encode_depth_video, encode_video, whole_fps
from foreact.errors import DataError
from foreact.records import Camera, Features
from foreact_runtime import keys

TASKS_FILE = "meta/tasks.parquet"
STATS_FILE = "meta/stats.json"


@dataclass(frozen=True, kw_only=True)
class StagedEpisode:
    """An episode with its videos encoded, ready for `DatasetWriter.add`; small and picklable."""

    task: str
    fps: int
    vectors: Mapping[str, np.ndarray]
    """By key, each (L, D)."""
    videos: Mapping[str, Path]
    """By camera name, that of its depth (`depth_name`) beside its own."""
    shapes: Mapping[str, tuple[int, int, int]]
    """Height, width and channels by the same names."""
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
    frames: Mapping[str, Iterable[np.ndarray]],
    fps: float,
    depth: Mapping[Camera, Iterable[np.ndarray]] = MappingProxyType({}),
) -> StagedEpisode:
    """Encode an episode's videos and compute its statistics.

    Args:
        directory: Where the videos wait, best `DatasetWriter.staging`, from where they are renamed, not copied.
        task: What was done, a sentence.
        vectors: By key, (L, D) or (L,) for one dimension: `action`, and any `observation.*` or `next.*`. Floats are
            stored as float32, integers as int64, booleans as they are.
        frames: By camera name, L pictures, uint8 (H, W, 3) with even H and W; read one at a time.
        fps: Frames a second, a whole number.
        depth: By RGB-D camera, L maps, float32 (H, W) in metres; stored within its range, to half of one 4095th.

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
    videos: dict[str, Path] = {}
    shapes: dict[str, tuple[int, int, int]] = {}

    def encode(name: str, pictures: Iterable[np.ndarray], levels: np.ndarray | None) -> None:
        is_depth = levels is not None
        videos[name] = Path(directory) / f"{uuid.uuid4().hex}.mp4"
        watched = PictureStats(length, levels, 1 if is_depth else 3)
        (encode_depth_video if is_depth else encode_video)(videos[name], watched.watch(pictures), rate)
        if watched.n_frames != length:
            raise DataError(f"camera '{name}' has {watched.n_frames} frames for {length} actions")
        shapes[name] = (*watched.size, 1 if is_depth else 3)
        stats[keys.image_key(name)] = watched.result()

    try:
        for camera, pictures in frames.items():
            encode(camera, pictures, None)
        for of, maps in depth.items():
            code = depth_code_of(of)
            encode(depth_name(of.name), (encode_depth(metres, code) for metres in maps), depth_levels(code))
    except BaseException:
        for video in videos.values():
            video.unlink(missing_ok=True)
        raise
    return StagedEpisode(task=task, fps=rate, vectors=columns, videos=videos, shapes=shapes, stats=stats)


def _column(key: str, values: np.ndarray, length: int) -> np.ndarray:
    if (key != keys.ACTION and not key.startswith(("observation.", "next."))) or "/" in key:
        raise DataError(f"vector '{key}' is neither '{keys.ACTION}' nor observation.* nor next.*")
    array = np.asarray(values)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != length or array.dtype.kind not in "fiub":
        raise DataError(f"vector '{key}' is {array.dtype} {array.shape}, expected numbers of shape ({length}, D)")
    if array.dtype.kind == "f" or key in STANDARD:
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
        self._schema = Schema(features, robot_type)
        self._n_frames = 0
        self._tasks: list[str] = []
        self._stats: dict[str, FeatureStats] = {}
        self._extras: Specs | None = None
        self._closed = False
        self._lock = self._take()
        try:
            self._open(resume)
        except BaseException:
            self._let_go()
            raise

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
        schema, index, length = self._schema, self.n_episodes, staged.length
        schema.check_episode(staged.vectors, staged.shapes, staged.fps, self._extras)
        extras = extra_specs(staged.vectors) if self._extras is None else self._extras
        tasks = self._tasks if staged.task in self._tasks else [*self._tasks, staged.task]
        auto = auto_columns(
            length,
            schema.fps,
            episode_index=index,
            first_index=self._n_frames,
            task_index=tasks.index(staged.task),
        )
        stats = {**staged.stats, **{key: vector_stats(values) for key, values in auto.items()}}
        all_stats = _merged(self._stats, stats)
        order = [*(key for key in STANDARD if key in staged.vectors), *extras]
        row = episode_row(
            index=index,
            task=staged.task,
            length=length,
            first_index=self._n_frames,
            place=recording_place(index),
            spans={keys.image_key(camera): (0.0, length / schema.fps) for camera in staged.videos},
            stats=stats,
        )
        info = schema.info(n_episodes=index + 1, n_frames=self._n_frames + length, n_tasks=len(tasks), extras=extras)

        chunk, file = recording_place(index)
        for camera, video in staged.videos.items():
            path = VIDEO_PATH.format(video_key=keys.image_key(camera), chunk_index=chunk, file_index=file)
            move(video, self.root / path)
        columns = data_table({**{key: staged.vectors[key] for key in order}, **auto})
        write_row_groups(self.root / DATA_PATH.format(chunk_index=chunk, file_index=file), [columns])
        if tasks is not self._tasks:
            write_row_groups(self.root / TASKS_FILE, [tasks_table(tasks)])
        write_row_groups(self.root / EPISODES_PATH.format(chunk_index=chunk, file_index=file), [row])
        write_json(self.root / STATS_FILE, {k: {n: v.tolist() for n, v in of.items()} for k, of in all_stats.items()})
        write_json(self.root / INFO, info)  # from here on the episode counts
        self.n_episodes, self._n_frames = index + 1, self._n_frames + length
        self._tasks, self._stats, self._extras = tasks, all_stats, extras
        return index

    def finish(self) -> None:
        """Merge the episodes' files up to LeRobot's size limits and let go of the folder.

        Raises:
            DataError: If the disk is full; the data set stays valid with a file an episode.
        """
        self._compact()
        self.close()

    def close(self) -> None:
        """Let go of the folder without merging, for a recording that is to be continued; more than once is fine."""
        self._closed = True
        self._let_go()

    def _take(self) -> FileLock:
        """Make the folder, lock it and empty its staging."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / ".writing.lock")
            lock.acquire(timeout=0)
            shutil.rmtree(self.staging, ignore_errors=True)
            self.staging.mkdir()
        except Timeout as error:
            raise DataError(f"another process is recording into '{self.root}'; wait for it or end it") from error
        except OSError as error:
            raise DataError(cannot_write(self.root, error)) from error
        return lock

    def _let_go(self) -> None:
        shutil.rmtree(self.staging, ignore_errors=True)
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def _open(self, resume: bool) -> None:
        """Take up what is there, and repair it."""
        taken = sorted(path.name for path in self.root.iterdir() if not path.name.startswith("."))
        if taken and not resume:
            raise DataError(
                f"'{self.root}' is not empty (it has {', '.join(taken[:3])}); "
                "resume the recording, or choose another folder"
            )
        if not (self.root / INFO).is_file():
            return
        self.n_episodes = read_info(self.root).total_episodes
        info = load_json(self.root / INFO)
        self._schema.check_same(info, self.root)
        self._extras = self._schema.extras_of(info)
        self._compact()
        for row in read_episode_rows(self.root, self.n_episodes).to_pylist():
            self._n_frames += row["length"]
            self._tasks += [task for task in row["tasks"] if task not in self._tasks]
            self._stats = _merged(self._stats, stats_of_row(row, info["features"]))

    def _compact(self) -> None:
        if self.n_episodes:
            compact(self.root, video_keys=self._schema.video_keys, fps=self._schema.fps, n_episodes=self.n_episodes)


def _merged(before: Mapping[str, FeatureStats], more: Mapping[str, FeatureStats]) -> dict[str, FeatureStats]:
    return {key: merge_stats(before[key], of) for key, of in more.items()} if before else dict(more)
