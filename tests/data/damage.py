"""Real damage to real data sets."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.recordings import record


def cut_video(root: Path, episode: int, camera: str = "wrist") -> Path:
    """Cut the video of an episode that has a file of its own in half, as a broken copy does."""
    path = root / f"videos/observation.images.{camera}/chunk-500/file-{episode:03d}.mp4"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def write_nan(root: Path, episode: int, frame: int = 2, dim: int = 1) -> None:
    """Put a NaN into the action of an episode that has a file of its own."""
    path = root / f"data/chunk-500/file-{episode:03d}.parquet"
    table = pq.read_table(path)
    values = table["action"].to_pylist()
    values[frame][dim] = float("nan")
    column = pa.array(values, table.schema.field("action").type)
    pq.write_table(table.set_column(table.column_names.index("action"), "action", column), path)


def record_damaged(root: Path, n_episodes: int = 6) -> Path:
    """Record episodes of which 1 has a video that is cut short and 4 a NaN; the others are whole."""
    record(root, n_episodes, finish=False)
    cut_video(root, 1)
    write_nan(root, 4)
    return root
