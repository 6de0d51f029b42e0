"""Parquet files read whole or in part; what is wrong with one is said in one line."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foreact.data.files import refuse_lfs_pointer
from foreact.errors import DataError


def read_schema(path: Path) -> pa.Schema:
    """Return the columns of a parquet file; raises like `read_table`."""
    with _readable(path):
        return pq.read_schema(path)


def read_table(
    path: Path, columns: Sequence[str] | None = None, filters: list[tuple[str, str, int]] | None = None
) -> pa.Table:
    """Read a parquet file, or some of its columns and rows.

    Raises:
        DataError: If it is missing or damaged.
    """
    with _readable(path):
        return pq.ParquetDataset(path, filters=filters).read(columns=None if columns is None else list(columns))


def read_row_groups(path: Path, n_rows: int) -> Iterator[pa.Table]:
    """Yield the row groups of the first rows of a parquet file; raises like `read_table`."""
    with _readable(path), pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            if n_rows > 0:
                yield (table := file.read_row_group(group).slice(0, n_rows))
                n_rows -= len(table)


class RowGroups:
    """A parquet file of which only the row groups in question are in memory: LeRobot writes one an episode.

    Other programs write one for the whole file. The last groups read are kept for the next question.
    """

    def __init__(self, path: Path, wanted: Collection[str], by: str) -> None:
        """Read the metadata.

        Args:
            path: The file.
            wanted: Columns to read, as far as there are such.
            by: The column that is asked for.

        Raises:
            DataError: If the file is missing or damaged.
        """
        self.path = path
        with _readable(path):
            self._metadata = pq.read_metadata(path)
            self._columns = [name for name in self._metadata.schema.to_arrow_schema().names if name in wanted]
            self._low, self._high = self._ranges(by)
        self._last: tuple[list[int], pa.Table] | None = None

    def read(self, value: int) -> pa.Table:
        """Return the groups in which a value of the column may be, whole; raises DataError where they are damaged."""
        groups = np.flatnonzero((self._low <= value) & (value <= self._high)).tolist()
        last = self._last  # threads may ask at once
        if last is None or last[0] != groups:
            with _readable(self.path), pq.ParquetFile(self.path, metadata=self._metadata) as file:
                last = groups, file.read_row_groups(groups, columns=self._columns)
            self._last = last
        return last[1]

    def _ranges(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column's lowest and highest number of each group; infinite where the file does not say."""
        n_groups = self._metadata.num_row_groups
        low, high = np.full(n_groups, -np.inf), np.full(n_groups, np.inf)
        paths = [self._metadata.schema.column(place).path for place in range(self._metadata.num_columns)]
        for group in range(n_groups) if name in paths else ():
            statistics = self._metadata.row_group(group).column(paths.index(name)).statistics
            if statistics is not None and statistics.has_min_max and isinstance(statistics.min, int):
                low[group], high[group] = statistics.min, statistics.max
        return low, high


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        refuse_lfs_pointer(path)
        reason = str(error).partition("\n")[0]
        raise DataError(f"'{path}' cannot be read as parquet ({reason}); copy it again") from error
