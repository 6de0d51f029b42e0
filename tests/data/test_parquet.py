"""Parquet files a few row groups at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from foreact.data.parquet import RowGroups
from foreact.errors import DataError

LENGTHS = (3, 5, 2, 4)


def table() -> pa.Table:
    episodes = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    return pa.table({"episode_index": episodes, "x": np.arange(len(episodes), dtype=np.float32), "other": episodes})


@pytest.mark.parametrize("rows_a_group", [1, 2, 3, 100])
@pytest.mark.parametrize("has_statistics", [True, False])
def test_all_rows_of_a_value_come_however_they_are_grouped(
    tmp_path: Path, rows_a_group: int, has_statistics: bool
) -> None:
    path = tmp_path / "file.parquet"
    pq.write_table(table(), path, row_group_size=rows_a_group, write_statistics=has_statistics)
    groups = RowGroups(path, {"episode_index", "x", "missing"}, by="episode_index")
    starts = np.cumsum((0, *LENGTHS))
    for index in (2, 0, 3, 1, 1):
        rows = groups.read(index)
        assert rows.column_names == ["episode_index", "x"]
        of_episode = rows.filter(pc.equal(rows["episode_index"], index))
        assert of_episode["x"].to_pylist() == list(range(starts[index], starts[index + 1]))


def test_only_the_groups_in_question_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    with pq.ParquetWriter(path, table().schema) as writer:
        for index in range(len(LENGTHS)):
            writer.write_table(table().filter(pc.equal(table()["episode_index"], index)))
    groups = RowGroups(path, {"x"}, by="episode_index")
    assert [len(groups.read(index)) for index in range(len(LENGTHS))] == list(LENGTHS)
    assert len(groups.read(9)) == 0


def test_a_file_without_the_column_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    pq.write_table(table().drop_columns("episode_index"), path, row_group_size=4)
    assert len(RowGroups(path, {"x"}, by="episode_index").read(1)) == sum(LENGTHS)


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    pq.write_table(table(), path)
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)  # the first column's first page; the metadata at the end stay
    path.write_bytes(content)
    groups = RowGroups(path, {"episode_index"}, by="episode_index")
    with pytest.raises(DataError, match=r"file\.parquet.*cannot be read as parquet"):
        groups.read(0)
    path.write_bytes(content[:40])
    with pytest.raises(DataError, match=r"file\.parquet.*cannot be read as parquet"):
        RowGroups(path, {"x"}, by="episode_index")
