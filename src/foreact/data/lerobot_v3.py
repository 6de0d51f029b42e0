"""Reads LeRobotDataset v3.0 with pyarrow and PyAV, without LeRobot (FORMATS.md 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foreact.data.lerobot_info import DatasetInfo, fill_template, read_info
from foreact.data.lerobot_source import EpisodeEntry, EpisodeList, LeRobotSource, VideoSpan
from foreact.data.parquet import read_schema, read_table
from foreact.errors import DataError

EPISODES = "meta/episodes"


class LeRobotV3Source(LeRobotSource):
    """An `EpisodeSource` over a LeRobotDataset v3.0 folder; see `LeRobotSource`."""

    def __init__(self, root: str | Path) -> None:
        """Read the metadata.

        Raises:
            DataError: If metadata are missing, damaged or contradict each other, or no episode has all its files.
        """
        root = Path(root)
        info = read_info(root)
        super().__init__(root, info, read_v3_episodes(root, info))


def read_v3_episodes(root: Path, info: DatasetInfo) -> EpisodeList:
    """Return what `meta/episodes` says, in the order of the indices.

    A row may be there twice where files were just being merged: the first counts.

    Raises:
        DataError: If a file is missing or damaged, or there are fewer episodes than info.json counts.
    """
    files = sorted((root / EPISODES).glob("*/*.parquet"))
    if not files:
        raise DataError(f"'{root / EPISODES}' has no parquet files; copy the data set again")
    unique: dict[int, EpisodeEntry] = {}
    for path in files:
        columns = [name for name in read_schema(path).names if not name.startswith("stats/")]
        for row in read_table(path, columns).to_pylist():
            entry = _parse(row, path, root, info)
            unique.setdefault(entry.index, entry)
    info.check_count(len(unique), root / EPISODES)
    return EpisodeList(entries=tuple(sorted(unique.values(), key=lambda of: of.index)), metadata=tuple(files))


def _parse(row: Mapping[str, Any], path: Path, root: Path, info: DatasetInfo) -> EpisodeEntry:
    def number(key: str) -> float:
        value = row.get(key)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise DataError(f"'{path}' lacks a number in column '{key}'; copy the data set again")
        return value

    def place(template: str, prefix: str, **more: str) -> Path:
        chunk, file = int(number(f"{prefix}/chunk_index")), int(number(f"{prefix}/file_index"))
        return root / fill_template(template, chunk_index=chunk, file_index=file, **more)

    length = int(number("length"))
    if length < 1:
        raise DataError(f"'{path}' says that episode {row.get('episode_index')} has {length} frames; record it again")
    tasks = row.get("tasks")
    return EpisodeEntry(
        index=int(number("episode_index")),
        length=length,
        task=str(tasks[0]) if isinstance(tasks, list) and tasks else "",
        data=place(info.data_path, "data"),
        videos={
            key: VideoSpan(
                path=place(info.video_path, f"videos/{key}", video_key=key),
                start=number(f"videos/{key}/from_timestamp"),
                stop=number(f"videos/{key}/to_timestamp"),
            )
            for key in info.video_keys
        },
    )
