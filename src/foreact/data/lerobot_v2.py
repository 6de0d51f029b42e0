"""Reads LeRobotDataset v2.0 and v2.1 with pyarrow and PyAV, without LeRobot (FORMATS.md 1).

Each episode has a parquet file and a video a camera of its own. The versions differ in their statistics only, which
are not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from foreact.data.files import refuse_lfs_pointer
from foreact.data.lerobot_info import DatasetInfo, fill_template, read_info
from foreact.data.lerobot_source import EpisodeEntry, EpisodeList, LeRobotSource, VideoSpan
from foreact.errors import DataError

EPISODES = "meta/episodes.jsonl"
TASKS = "meta/tasks.jsonl"


class LeRobotV2Source(LeRobotSource):
    """An `EpisodeSource` over a LeRobotDataset v2.0 or v2.1 folder; see `LeRobotSource`."""

    def __init__(self, root: str | Path) -> None:
        """Read the metadata.

        Raises:
            DataError: If metadata are missing, damaged or contradict each other, or no episode has all its files.
        """
        root = Path(root)
        info = read_info(root)
        super().__init__(root, info, read_v2_episodes(root, info))


def read_v2_episodes(root: Path, info: DatasetInfo) -> EpisodeList:
    """Return what `meta/episodes.jsonl` and `meta/tasks.jsonl` say; raises DataError where they are damaged."""
    entries = _read_entries(root, info, dict(_tasks(root / TASKS)))
    return EpisodeList(
        entries=tuple(entries.values()),
        metadata=tuple(path for path in (root / EPISODES, root / TASKS) if path.is_file()),
        # Many small files: a few GB for 20,000 episodes. A parquet file's end holds extremes and sizes of its columns.
        whole_file=2**16,
        file_ends=2**14,
    )


def _read_entries(root: Path, info: DatasetInfo, tasks: Mapping[int, str]) -> dict[int, EpisodeEntry]:
    """By episode index; of two lines for one episode the later counts, as in LeRobot."""
    path = root / EPISODES
    entries = {}
    for number, line in _lines(path):
        index, length = line.get("episode_index"), line.get("length")
        if type(index) is not int or type(length) is not int or index < 0 or length < 1:
            raise DataError(
                f"'{path}' line {number} has episode_index {index} and length {length}, "
                "expected whole numbers and a length of at least 1; copy it again"
            )
        chunk = index // info.chunks_size
        data = fill_template(info.data_path, episode_chunk=chunk, episode_index=index)
        videos = {
            key: VideoSpan(
                path=root / fill_template(info.video_path, episode_chunk=chunk, episode_index=index, video_key=key)
            )
            for key in info.video_keys
        }
        task = _task(line.get("tasks"), tasks)
        entries[index] = EpisodeEntry(index=index, length=length, task=task, data=root / data, videos=videos)
    info.check_count(len(entries), path)
    return entries


def _task(tasks: Any, known: Mapping[int, str]) -> str:
    """The first of an episode's tasks; some tools write numbers, some nothing where all episodes have one task."""
    if isinstance(tasks, list) and tasks:
        return known.get(tasks[0], str(tasks[0])) if isinstance(tasks[0], int) else str(tasks[0])
    return next(iter(known.values())) if len(known) == 1 else ""


def _tasks(path: Path) -> Iterator[tuple[int, str]]:
    if not path.is_file():
        return
    for number, line in _lines(path):
        if type(line.get("task_index")) is not int:
            raise DataError(f"'{path}' line {number} has task_index {line.get('task_index')}, expected a whole number")
        yield line["task_index"], str(line.get("task", ""))


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON lines file with their line numbers, the first being 1; empty lines are none."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines would cut at more
    except FileNotFoundError as error:
        raise DataError(f"'{path}' is missing; copy the data set again") from error
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read as text ({error}); copy it again") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError as error:
            refuse_lfs_pointer(path)
            raise DataError(f"'{path}' line {number} is not JSON ({error}); copy it again") from error
        if not isinstance(content, dict):
            raise DataError(f"'{path}' line {number} holds a {type(content).__name__}, expected a JSON object")
        yield number, content
