"""Reads LeRobotDataset v3.0 with pyarrow and PyAV, without LeRobot (FORMATS.md 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foreact.data.lerobot_info import DatasetInfo, fill_template, read_info
from foreact.data.lerobot_source import EpisodeEntry, LeRobotSource, VideoSpan
from foreact.data.parquet import read_schema, read_table
from foreact.errors import DataError

EPISODES = "meta/episodes"


class LeRobotV3Source(LeRobotSource):
    """An `EpisodeSource` over a LeRobotDataset v3.0 folder; see `LeRobotSource`."""

    def __init__(self, root: str | Path, *, info: DatasetInfo | None = None) -> None:
        """Read the metadata.

        Args:
            root: The data set's folder.
            info: In place of what `meta/info.json` says.

        Raises:
            DataError: If metadata are missing, damaged or contradict each other, or no episode has all its files.
        """
        root = Path(root)
        info = info or read_info(root)
        files = sorted((root / EPISODES).glob("*/*.parquet"))
        super().__init__(root, info, _read_entries(root, info, files), metadata=files)


def _read_entries(root: Path, info: DatasetInfo, files: list[Path]) -> list[EpisodeEntry]:
    """Rows of finished episodes, in the order of their indices.

    info.json is written last and says how many episodes are finished; a row beyond that number is one that a killed
    recording did not finish. A row may be there twice where files were just being merged: the first counts.
    """
    if not files:
        raise DataError(f"'{root / EPISODES}' has no parquet files; copy the data set again")
    unique: dict[int, EpisodeEntry] = {}
    for path in files:
        columns = [name for name in read_schema(path).names if not name.startswith("stats/")]
        for row in read_table(path, columns).to_pylist():
            entry = _parse(row, path, root, info)
            unique.setdefault(entry.index, entry)
    entries = sorted(unique.values(), key=lambda entry: entry.index)
    if len(entries) < info.total_episodes:
        raise DataError(
            f"'{root / EPISODES}' lists {len(entries)} episodes, info.json {info.total_episodes}; "
            "copy the data set again"
        )
    return entries[: info.total_episodes]


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
