"""The demonstrations of a cell: recorded where they are missing, with copies and uninformative coordinates."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from benchmarks.grounding.cells import Data, data_settings, digest, plain
from filelock import FileLock

from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.data.sidecar import read_sidecar, write_sidecar
from foreact.data.source import open_source
from foreact.sim.layout import WORKSPACE
from foreact.sim.record import ROBOT_TYPE, record, recorded_scenes
from foreact_runtime import keys


def prepare(data: Data, folder: Path, *, workers: int) -> Path:
    """Return the data set's folder; record and rewrite what is missing.

    Args:
        data: What it holds.
        folder: Of all data sets; the settings are part of a data set's name, so none is ever overwritten.
        workers: Simulating processes.

    Raises:
        KeyboardInterrupt: If Ctrl-C ended the recording; it goes on with the next call.
        DataError: From recording.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recorded = recording(data, folder)
    with FileLock(f"{recorded}.lock"):  # two sessions may want the same data
        if not record(data.recording, recorded, workers=workers).finished:
            raise KeyboardInterrupt
    if data.copies == 1 and not data.uninformed:
        return recorded
    root = folder / f"{data.name}-{digest(data_settings(data))}"
    with FileLock(f"{root}.lock"):
        if not root.exists():
            _rewrite(data, recorded, root)
    return root


def recorded_seeds(data: Data, folder: Path) -> list[int]:
    """Return the seeds of the scenes that a prepared data set shows."""
    return [scene["seed"] for scene in recorded_scenes(recording(data, folder))]


def recording(data: Data, folder: Path) -> Path:
    """Return the folder of what was recorded, before anything in it was rewritten."""
    return folder / f"recording-{digest(plain({'recording': data_settings(data)['recording']}))}"


def _rewrite(data: Data, recording: Path, root: Path) -> None:
    """Write the recording's episodes several times over, some with coordinates that tell nothing.

    Pictures are encoded a second time. Each copy counts as a scene of its own, so that copies of a training episode
    are in the validation split too, as they were in seed 000.
    """
    source = open_source(recording)
    rng = np.random.default_rng(0)
    partial = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    writer = DatasetWriter(partial, features=source.features, robot_type=ROBOT_TYPE)
    n = len(source.episode_indices)
    uninformed = set(rng.permutation(source.episode_indices)[: round(data.uninformed * n)].tolist())
    cameras = [camera.name for camera in source.features.cameras]
    try:
        for index in source.episode_indices:
            episode = source.episode(index)
            assert episode.state is not None
            assert episode.environment_state is not None
            vectors = {
                keys.ACTION: episode.action,
                keys.STATE: episode.state,
                keys.ENVIRONMENT_STATE: episode.environment_state,
            }
            if index in uninformed:
                vectors[keys.ENVIRONMENT_STATE] = np.tile(rng.uniform(*WORKSPACE), (episode.length, 1))
            frames = {camera: list(source.frames(index, camera)) for camera in cameras}
            for _ in range(data.copies):
                writer.add(
                    stage_episode(
                        writer.staging, task=episode.task, vectors=vectors, frames=frames, fps=source.features.fps
                    )
                )
        writer.finish()
    finally:
        writer.close()
    write_sidecar(partial, read_sidecar(recording))
    partial.rename(root)
