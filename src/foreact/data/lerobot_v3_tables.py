"""The parquet tables of a LeRobotDataset v3.0, column for column as LeRobot 0.6 writes them (FORMATS.md 1.3)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foreact.data.files import write_atomically
from foreact.data.lerobot_stats import FeatureStats
from foreact_runtime import keys

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
FILES_PER_CHUNK = 1000
DATA_LIMIT_MB = 100
VIDEO_LIMIT_MB = 200

AUTO_FEATURES: Mapping[str, str] = {
    keys.TIMESTAMP: "float32",
    keys.FRAME_INDEX: "int64",
    keys.EPISODE_INDEX: "int64",
    keys.INDEX: "int64",
    keys.TASK_INDEX: "int64",
}
"""Columns that every data set has, and their types."""


def auto_columns(
    length: int, fps: int, *, episode_index: int, first_index: int, task_index: int
) -> dict[str, np.ndarray]:
    """Return the columns that follow from an episode's place, each (L, 1)."""
    frame_index = np.arange(length)
    columns = {
        keys.TIMESTAMP: frame_index / fps,
        keys.FRAME_INDEX: frame_index,
        keys.EPISODE_INDEX: np.full(length, episode_index),
        keys.INDEX: first_index + frame_index,
        keys.TASK_INDEX: np.full(length, task_index),
    }
    return {name: columns[name].astype(dtype)[:, None] for name, dtype in AUTO_FEATURES.items()}


def data_table(columns: Mapping[str, np.ndarray]) -> pa.Table:
    """Return a table of vectors (L, D): lists of fixed size, or plain numbers where D is 1."""
    arrays, features = [], {}
    for name, values in columns.items():
        dim, value = values.shape[1], {"dtype": values.dtype.name, "_type": "Value"}
        flat = pa.array(values.ravel())
        arrays.append(flat if dim == 1 else pa.FixedSizeListArray.from_arrays(flat, dim))
        features[name] = value if dim == 1 else {"feature": value, "length": dim, "_type": "List"}
    table = pa.Table.from_arrays(arrays, names=list(columns))
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def tasks_table(tasks: Sequence[str]) -> pa.Table:
    """Return the tasks; LeRobot finds them by name, as the index of a pandas frame."""
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for name, kind, numpy in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    axis = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [{**axis, "metadata": {"encoding": "UTF-8"}}],
        "columns": columns,
        "attributes": {},
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.3.3",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def episode_row(
    *,
    index: int,
    task: str,
    length: int,
    first_index: int,
    place: tuple[int, int],
    spans: Mapping[str, tuple[float, float]],
    stats: Mapping[str, FeatureStats],
) -> pa.Table:
    """Return an episode's row of `meta/episodes`.

    Args:
        index: The episode's.
        task: What was done.
        length: Frames.
        first_index: Global index of the first frame.
        place: Chunk and file index, while recording the same for table, video and row.
        spans: From and to [s] in the video, by feature key.
        stats: By feature key.
    """
    chunk, file = place
    row: dict[str, Any] = {
        "episode_index": index,
        "tasks": [task],
        "length": length,
        "data/chunk_index": chunk,
        "data/file_index": file,
        "dataset_from_index": first_index,
        "dataset_to_index": first_index + length,
    }
    for key, (start, stop) in spans.items():
        row |= {f"videos/{key}/chunk_index": chunk, f"videos/{key}/file_index": file}
        row |= {f"videos/{key}/from_timestamp": start, f"videos/{key}/to_timestamp": stop}
    for key, of in stats.items():
        row |= {f"stats/{key}/{name}": value.tolist() for name, value in of.items()}
    row |= {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file}
    return pa.Table.from_pylist([row])


def stats_of_row(row: Mapping[str, Any], features: Iterable[str]) -> dict[str, dict[str, np.ndarray]]:
    """Return the statistics that `episode_row` wrote."""
    names = ("min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99")
    return {key: {name: np.asarray(row[f"stats/{key}/{name}"]) for name in names} for key in features}


def write_row_groups(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write tables of one schema as a snappy parquet file, a row group a table; raises DataError on a full disk."""
    writer = None
    with write_atomically(path) as temporary:
        try:
            for table in tables:
                if writer is None:
                    writer = pq.ParquetWriter(temporary, table.schema, compression="snappy")
                writer.write_table(table, row_group_size=max(1, len(table)))
        finally:
            if writer is not None:
                writer.close()
