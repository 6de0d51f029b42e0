"""Parquet files read whole or in part; what is wrong with one is said in one line."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

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


def read_known_columns(path: Path, wanted: Collection[str]) -> pa.Table:
    """Read those of the wanted columns that a parquet file has; raises like `read_table`."""
    return read_table(path, [name for name in read_schema(path).names if name in wanted])


def read_row_groups(path: Path, n_rows: int) -> Iterator[pa.Table]:
    """Yield the row groups of the first rows of a parquet file; raises like `read_table`."""
    with _readable(path), pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            if n_rows > 0:
                yield (table := file.read_row_group(group).slice(0, n_rows))
                n_rows -= len(table)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        refuse_lfs_pointer(path)
        reason = str(error).partition("\n")[0]
        raise DataError(f"'{path}' cannot be read as parquet ({reason}); copy it again") from error
