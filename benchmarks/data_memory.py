"""Memory and opening time against the size of the data set: peak of opening, of statistics and of 50 training steps.

    python benchmarks/data_memory.py --out benchmarks/results/data_memory.json

Sets of 1, 10 and 100 thousand frames, one camera of 32x32 and 24 numbers a frame, each in a process of its own, with
the frame cache filled beforehand. Counted is the highest resident memory of each stage above that of a process which
has trained once on a few frames. Frames of the cache are mapped: pages that were touched count as resident, but the
kernel takes them back when memory is short; so what it cannot take back (`anonymous`) is given apart. Kept a frame are
its vectors alone, 4 bytes a number, and while samples are drawn 8 bytes for their order; besides, the allocator holds
back what reading the largest parquet file took (LeRobot starts another at 100 MB).

Sets of 20,000 episodes are metadata only, of LeRobot v3.0 and v2.1; their other files are empty.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from moving_pictures import moving_pictures

import foreact
from foreact.config import PolicyConfig, RunConfig, TrainConfig
from foreact.data.dataset import ChunkDataset
from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.data.source import open_source
from foreact.data.statistics import compute_statistics
from foreact.records import Camera, Features
from foreact.train.run import train

SIZE = 32
DIM = 12
LENGTH = 500
"""Frames of an episode."""
N_EPISODES = 20_000
STEPS = 50
NAMES = tuple(f"joint_{i}" for i in range(DIM))
FEATURES = Features(
    action_names=NAMES, state_names=NAMES, cameras=(Camera(name="top", height=SIZE, width=SIZE),), fps=30.0
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    frames: tuple[int, ...] = (1_000, 10_000, 100_000)
    folder: Path | None = None
    """Where the sets are written and kept; a temporary folder where it is not given."""
    out: Path | None = None
    """Write the figures here as JSON."""


def write(root: Path, n_frames: int) -> Path:
    """Write a set with our writer, the pictures of all episodes alike."""
    pictures = list(moving_pictures(LENGTH, SIZE, SIZE, 0))
    writer = DatasetWriter(root, features=FEATURES, robot_type="none")
    for number in range(n_frames // LENGTH):
        path = np.random.default_rng(number).normal(size=(LENGTH + 1, DIM)).cumsum(axis=0)
        vectors = {"observation.state": path[:-1], "action": path[1:]}
        writer.add(stage_episode(writer.staging, task="move", vectors=vectors, frames={"top": pictures}, fps=30))
    writer.finish()
    return root


def status(name: str) -> int:
    """Return a figure of this process [bytes] from the kernel."""
    line = next(of for of in Path("/proc/self/status").read_text().splitlines() if of.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def memory() -> dict[str, int]:
    """Return what is resident now."""
    return {name: status(name) for name in ("VmRSS", "RssAnon")}


@contextmanager
def peak(of: dict[str, Any], name: str, base: Mapping[str, int]) -> Iterator[None]:
    """Note the highest resident memory above a base, how much more is anonymous at the end, and the time."""
    Path("/proc/self/clear_refs").write_text("5")  # begin to look for the highest anew
    begun = time.perf_counter()
    yield
    of[name] = {
        "peak_MB": round((status("VmHWM") - base["VmRSS"]) / 1e6, 1),
        "anonymous_MB": round((status("RssAnon") - base["RssAnon"]) / 1e6, 1),
        "seconds": round(time.perf_counter() - begun, 2),
    }


def measure(root: Path, folder: Path) -> dict[str, Any]:
    """Return the peaks of a set; called in a process of its own."""
    warm_up(folder)
    figures: dict[str, Any] = {}
    base = memory()
    with peak(figures, "opening", base):
        source = open_source(root)
    with peak(figures, "vectors and statistics", base):
        dataset = ChunkDataset(
            source, source.episode_indices, features=FEATURES, chunk_size=20, cache_dir=folder / "cache"
        )
        compute_statistics(dataset.episodes)
    figures["frames"] = len(dataset)
    del source, dataset  # training opens its own
    figures["bytes_of_vectors_a_frame"] = 2 * DIM * 4
    with tempfile.TemporaryDirectory(dir=folder) as out, peak(figures, f"{STEPS} steps", base):
        train(recipe(), data=root, out=out, cache_dir=folder / "cache")
    return figures


def warm_up(folder: Path) -> None:
    """Train once on a few frames, so that libraries have loaded what they load at their first use."""
    tiny = folder / "tiny"
    if not tiny.exists():
        write(tiny, 2 * LENGTH)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        train(recipe(), data=tiny, out=out, cache_dir=folder / "cache")


def recipe() -> RunConfig:
    """Return a tiny network and a short run, validation left out: it would look at more frames of a larger set."""
    policy = PolicyConfig(
        chunk_size=20,
        n_action_steps=20,
        vision_backbone="cnn",
        pretrained_backbone_weights=None,
        backbone_norm="group",
        dim_model=32,
        n_heads=2,
        dim_feedforward=64,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        latent_dim=4,
    )
    options: dict[str, Any] = {"val_fraction": 0.0, "save_every": STEPS, "log_every": STEPS}
    return RunConfig(
        policy=policy, train=TrainConfig(steps=STEPS, batch_size=8, accelerator="cpu", devices="1", **options)
    )


def fill_cache(root: Path, folder: Path) -> None:
    """Decode all frames; in a process of its own."""
    source = open_source(root)
    ChunkDataset(source, source.episode_indices, features=FEATURES, chunk_size=20, cache_dir=folder / "cache")


def write_metadata_v3(root: Path, n_episodes: int) -> Path:
    """Write what LeRobot v3.0 says of so many episodes, a thousand of them a file."""
    _write_info(
        root,
        "v3.0",
        n_episodes,
        data_path="data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        video_path="videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    )
    numbers = np.arange(n_episodes)
    file, first = numbers // 1000, numbers % 1000 * LENGTH
    columns: dict[str, Any] = {
        "episode_index": numbers,
        "tasks": pa.array([["move"]] * n_episodes),
        "length": np.full(n_episodes, LENGTH),
        "data/chunk_index": 0 * numbers,
        "data/file_index": file,
        "dataset_from_index": numbers * LENGTH,
        "dataset_to_index": (numbers + 1) * LENGTH,
    }
    for key in ("observation.images.top", "observation.images.wrist"):
        columns |= {
            f"videos/{key}/chunk_index": 0 * numbers,
            f"videos/{key}/file_index": file,
            f"videos/{key}/from_timestamp": first / 30,
            f"videos/{key}/to_timestamp": (first + LENGTH) / 30,
        }
        for number in range(n_episodes // 1000 + 1):
            _touch(root / f"videos/{key}/chunk-000/file-{number:03d}.mp4")
    for key in ("observation.state", "action"):  # they make up most of such a file
        for name in ("min", "max", "mean", "std", "q01", "q50", "q99"):
            columns[f"stats/{key}/{name}"] = pa.array(np.random.default_rng(0).normal(size=(n_episodes, DIM)).tolist())
    for number in range(n_episodes // 1000 + 1):
        _touch(root / f"data/chunk-000/file-{number:03d}.parquet")
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table(columns), path, row_group_size=1000)
    return root


def write_metadata_v2(root: Path, n_episodes: int) -> Path:
    """Write what LeRobot v2.1 says of so many episodes, and an empty file for each of their parts."""
    _write_info(
        root,
        "v2.1",
        n_episodes,
        data_path="data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        video_path="videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    )
    lines = (json.dumps({"episode_index": of, "tasks": ["move"], "length": LENGTH}) for of in range(n_episodes))
    (root / "meta/episodes.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (root / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "move"}\n')
    for number in range(n_episodes):
        chunk = f"chunk-{number // 1000:03d}"
        _touch(root / f"data/{chunk}/episode_{number:06d}.parquet")
        for key in ("observation.images.top", "observation.images.wrist"):
            _touch(root / f"videos/{chunk}/{key}/episode_{number:06d}.mp4")
    return root


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def _write_info(root: Path, version: str, n_episodes: int, **templates: str) -> None:
    vector = {"dtype": "float32", "shape": [DIM], "names": list(NAMES)}
    picture = {"dtype": "video", "shape": [480, 640, 3], "names": ["height", "width", "channels"], "info": {}}
    info = {
        "codebase_version": version,
        "fps": 30,
        "total_episodes": n_episodes,
        "total_frames": n_episodes * LENGTH,
        "chunks_size": 1000,
        "features": {
            "observation.state": vector,
            "action": vector,
            "observation.images.top": picture,
            "observation.images.wrist": picture,
        },
        **templates,
    }
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))


def measure_opening(root: Path) -> dict[str, Any]:
    """Return how long opening takes and what it needs; called in a process of its own."""
    figures: dict[str, Any] = {}
    with peak(figures, "opening", memory()):
        source = open_source(root)
    return {**figures["opening"], "episodes": len(source.episode_indices)}


def main(options: Options) -> None:
    """Measure, print, and write what was asked for."""
    folder = options.folder or Path(tempfile.mkdtemp(prefix="data-memory-"))
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    results: dict[str, Any] = {"training": {}, "opening": {}}
    try:
        with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
            for n_frames in options.frames:
                root = folder / f"frames-{n_frames}"
                if not root.exists():
                    write(root, n_frames)
                pool.submit(fill_cache, root, folder).result()
                results["training"][n_frames] = figures = pool.submit(measure, root, folder).result()
                print(f"{n_frames:>7} frames: {json.dumps(figures)}", flush=True)
            for version, make in (("v3.0", write_metadata_v3), ("v2.1", write_metadata_v2)):
                root = folder / f"episodes-{version}"
                if not root.exists():
                    make(root, N_EPISODES)
                results["opening"][version] = figures = pool.submit(measure_opening, root).result()
                print(f"{version}: {json.dumps(figures)}", flush=True)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    if options.out is not None:
        content = {
            "results": results,
            "settings": {"frames": options.frames, "episode_length": LENGTH, "numbers_a_frame": 2 * DIM},
            "versions": {"foreact": foreact.__version__, "python": platform.python_version()},
            "machine": platform.machine(),
            "cores": os.cpu_count(),
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
