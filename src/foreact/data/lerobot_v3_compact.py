"""Merges the files of a recording, one an episode, into files up to LeRobot's size limits.

While recording, each episode has its own files in chunks from `RECORDING_CHUNK` on; merged files stand in the chunks
from 0 on. Readers go by the tables, or by the order of the files' names as LeRobot does, which is the order of the
chunks. So the data set is valid at every instant, whenever the process is killed:

1. The merged files are built in a hidden folder.
2. They are renamed into place, videos first, then data, then `meta/episodes`. A table that was there is replaced by
   one that begins with the same rows; a video gets a new number, because it may only be as long as the rows say.
   Rows are now there twice, the merged ones first, and those count.
3. What no row names any more is removed, in the opposite order.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from foreact.data.files import PARTIAL
from foreact.data.lerobot_v3_tables import (
    DATA_LIMIT_MB,
    DATA_PATH,
    EPISODES_PATH,
    FILES_PER_CHUNK,
    VIDEO_LIMIT_MB,
    VIDEO_PATH,
    write_row_groups,
)
from foreact.data.parquet import read_row_groups, read_schema, read_table
from foreact.data.video import concatenate_videos, stream_parameters
from foreact.errors import DataError

RECORDING_CHUNK = 500
BUILD = ".compacting"
_MB = 2**20


def recording_place(index: int) -> tuple[int, int]:
    """Return chunk and file index of an episode that is not merged yet."""
    return RECORDING_CHUNK + index // FILES_PER_CHUNK, index % FILES_PER_CHUNK


def read_episode_rows(root: Path, n_episodes: int) -> pa.Table:
    """Return the rows of the finished episodes, in order; of a row that is there twice the first.

    Raises:
        DataError: If they are not numbered from 0 without a gap.
    """
    files = sorted((root / "meta/episodes").glob("*/*.parquet"))
    rows = pa.concat_tables([read_table(path) for path in files], promote_options="default")
    indices, first = np.unique(rows["episode_index"].to_numpy(), return_index=True)
    if not np.array_equal(indices[:n_episodes], np.arange(n_episodes)):
        raise DataError(f"the episodes of '{root}' are not numbered 0 to {n_episodes - 1}; record into another folder")
    return rows.take(first[:n_episodes])


def compact(
    root: Path,
    *,
    video_keys: Sequence[str],
    fps: int,
    n_episodes: int,
    data_limit: int = DATA_LIMIT_MB * _MB,
    video_limit: int = VIDEO_LIMIT_MB * _MB,
) -> None:
    """Merge what is not merged yet and remove every file of the data set that no episode needs.

    Args:
        root: The data set.
        video_keys: Features with videos.
        fps: Of the videos.
        n_episodes: Finished ones; rows beyond them are dropped.
        data_limit: Largest size of a data or meta file, in bytes.
        video_limit: Largest size of a video, in bytes; a single episode may be larger.

    Raises:
        DataError: If a file is damaged or the disk is full; the data set stays as it was.
    """
    build = root / BUILD
    shutil.rmtree(build, ignore_errors=True)
    rows = read_episode_rows(root, n_episodes)
    if rows["data/chunk_index"].to_numpy().max() >= RECORDING_CHUNK:
        try:
            for key in video_keys:
                rows = _merge_videos(root, rows, key, fps, video_limit)
            rows = _merge_data(root, rows, data_limit)
            rows = _write_rows(root, rows, data_limit)
            for kind in ("videos", "data", "meta"):
                for path in sorted((build / kind).rglob("file-*")):
                    target = root / path.relative_to(build)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(path, target)
        finally:
            shutil.rmtree(build, ignore_errors=True)
    _remove_unneeded(root, rows, video_keys)


@dataclass(frozen=True)
class _File:
    """A file to be merged, or one to be continued."""

    path: Path
    n_frames: int
    """How many to take; a table to be continued may hold more, where an earlier merging was killed."""
    kind: Any
    """Only files of an equal kind can be merged."""
    size: int
    """Bytes."""


def _column(rows: pa.Table, name: str) -> np.ndarray:
    return rows[name].to_numpy().copy()


def _replaced(rows: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    position = rows.column_names.index(name)
    return rows.set_column(position, name, pa.array(values, rows.schema.field(name).type))


def _places(rows: pa.Table, prefix: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Return each row's chunk and file index, and the number of the first row that is not merged."""
    chunk, file = _column(rows, f"{prefix}/chunk_index"), _column(rows, f"{prefix}/file_index")
    return chunk, file, int((chunk < RECORDING_CHUNK).sum())


def _groups(parts: Sequence[_File], existing: _File | None, limit: int) -> Iterator[list[_File]]:
    """Yield what goes into each merged file; the existing one is continued where kind and size allow."""
    group = [] if existing is None else [existing]
    for part in parts:
        if group and (part.kind != group[-1].kind or sum(file.size for file in group) + part.size > limit):
            if group != [existing]:
                yield group
            group = []
        group.append(part)
    yield group


def _last_number(chunk: np.ndarray, file: np.ndarray, n_merged: int) -> int:
    """Number of the last merged file; -1 where there is none."""
    return int(chunk[n_merged - 1]) * FILES_PER_CHUNK + int(file[n_merged - 1]) if n_merged else -1


def _merge_videos(root: Path, rows: pa.Table, key: str, fps: int, limit: int) -> pa.Table:
    prefix = f"videos/{key}"
    chunk, file, n_merged = _places(rows, prefix)
    start, stop = _column(rows, f"{prefix}/from_timestamp"), _column(rows, f"{prefix}/to_timestamp")

    def video(row: int) -> _File:
        path = root / VIDEO_PATH.format(video_key=key, chunk_index=chunk[row], file_index=file[row])
        return _File(path, round(stop[row] * fps), stream_parameters(path), path.stat().st_size)

    existing = video(n_merged - 1) if n_merged else None
    parts = [video(row) for row in range(n_merged, len(rows))]
    number, row = _last_number(chunk, file, n_merged), n_merged
    for group in _groups(parts, existing, limit):
        number += 1
        place = divmod(number, FILES_PER_CHUNK)
        target = root / BUILD / VIDEO_PATH.format(video_key=key, chunk_index=place[0], file_index=place[1])
        concatenate_videos(target, [(part.path, part.n_frames) for part in group], fps)
        n_before = 0
        for part in group:
            if part is existing:
                moved = (chunk == chunk[n_merged - 1]) & (file == file[n_merged - 1])
                chunk[moved], file[moved] = place
            else:
                chunk[row], file[row] = place
                start[row], stop[row] = n_before / fps, (n_before + part.n_frames) / fps
                row += 1
            n_before += part.n_frames
    changed = {"chunk_index": chunk, "file_index": file, "from_timestamp": start, "to_timestamp": stop}
    for name, values in changed.items():
        rows = _replaced(rows, f"{prefix}/{name}", values)
    return rows


def _merge_data(root: Path, rows: pa.Table, limit: int) -> pa.Table:
    chunk, file, n_merged = _places(rows, "data")
    length = rows["length"].to_numpy()

    def table(row: int) -> _File:
        path = root / DATA_PATH.format(chunk_index=chunk[row], file_index=file[row])
        in_file = (chunk == chunk[row]) & (file == file[row])
        return _File(path, int(length[in_file].sum()), read_schema(path), path.stat().st_size)

    existing = table(n_merged - 1) if n_merged else None
    parts = [table(row) for row in range(n_merged, len(rows))]
    number, row = _last_number(chunk, file, n_merged), n_merged
    for group in _groups(parts, existing, limit):
        number += group[0] is not existing
        place = divmod(number, FILES_PER_CHUNK)
        target = root / BUILD / DATA_PATH.format(chunk_index=place[0], file_index=place[1])
        write_row_groups(target, (rows_ for part in group for rows_ in read_row_groups(part.path, part.n_frames)))
        for part in group:
            if part is not existing:
                chunk[row], file[row] = place
                row += 1
    return _replaced(_replaced(rows, "data/chunk_index", chunk), "data/file_index", file)


def _write_rows(root: Path, rows: pa.Table, limit: int) -> pa.Table:
    per_file = max(1, limit * len(rows) // max(1, rows.nbytes))
    number = np.arange(len(rows)) // per_file
    rows = _replaced(rows, "meta/episodes/chunk_index", number // FILES_PER_CHUNK)
    rows = _replaced(rows, "meta/episodes/file_index", number % FILES_PER_CHUNK)
    for first in range(0, len(rows), per_file):
        chunk, file = divmod(first // per_file, FILES_PER_CHUNK)
        path = root / BUILD / EPISODES_PATH.format(chunk_index=chunk, file_index=file)
        write_row_groups(path, [rows.slice(first, per_file)])
    return rows


def _remove_unneeded(root: Path, rows: pa.Table, video_keys: Sequence[str]) -> None:
    places = [("meta/episodes", EPISODES_PATH, ""), ("data", DATA_PATH, "")]
    places += [(f"videos/{key}", VIDEO_PATH, key) for key in video_keys]
    for prefix, template, key in places:
        numbers = zip(*_places(rows, prefix)[:2], strict=True)
        needed = {root / template.format(video_key=key, chunk_index=chunk, file_index=file) for chunk, file in numbers}
        for path in (root / prefix).glob("chunk-*/file-*"):
            if path not in needed:
                path.unlink()
        for folder in (root / prefix).glob("chunk-*"):
            if not any(folder.iterdir()):
                folder.rmdir()
    for path in (root / "meta").glob(f"*{PARTIAL}"):
        path.unlink()
