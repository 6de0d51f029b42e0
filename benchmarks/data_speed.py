"""How fast samples come, beside LeRobot in one run: from the filled cache, in the first pass, and from GOP-250 video.

    make bench-data     # LeRobot's environment comes from `make test-lerobot`

LeRobot writes the sets itself (two cameras, AV1, chunks of 100 actions) and reads them as `lerobot-train` does: one
worker process, the decoder that it prefers, torchcodec, and its other one, PyAV. Ours has one worker thread, or none,
which is what training does where nothing else is said. Batch size and random order are the same, and all take turns in
short rounds, so that a busy machine slows all of them; the ratio is taken round by round. No time counts before both
have given the same samples: vectors, chunks and masks equal, pictures within what two conversions from the video's
colours differ by. From the cache stands beside each rate its share of the copy rate (peak.py): the pictures of a
sample, read once and written once.

Figures to be kept are made on a machine that does nothing else (the load is noted with them).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

sys.path.insert(0, str(Path(__file__).parent))
from peak import peak, share
from record import Record
from turns import spread

from foreact.data.dataset import ChunkDataset
from foreact.data.frame_cache import cache_frames
from foreact.data.frame_windows import frame_bytes
from foreact.data.source import open_source
from foreact.train.loader import StepLoader, StepSampler
from foreact.train.order import Uniform

CHUNK = 100
PICTURE_TOLERANCE = 2.0
"""Mean grey levels between two decoders' pictures of one frame; that of neighbouring frames is many times as far."""
GOALS = {"480x640 from the cache": 20.0, "96x96 from the cache": 5.0, "480x640 first pass": 1.0}
"""Times LeRobot with its preferred decoder."""
GOAL_GOP_250 = 500.0
"""Frames/s."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured; --small overrides the numbers."""

    episodes: int = 4
    frames: int = 150
    """Of an episode."""
    gop_frames: int = 600
    """Of each of the two episodes of GOP-250 video."""
    rounds: int = 7
    """Counted ones of the cache's speed; of whole passes three."""
    batch: int = 8
    cores: int = 2
    """Processor cores that both sides, with their loader processes, may use."""
    folder: Path | None = None
    """Where the sets are written and kept; a temporary folder where it is not given."""
    python: Path = Path(".venv-lerobot/bin/python")
    """The interpreter of LeRobot's environment."""
    small: bool = False
    """A few frames and rounds, to see that it works."""
    out: Path | None = None
    """Write the figures here as JSON."""


class Peer:
    """LeRobot in its own environment and process."""

    def __init__(self, python: Path, folder: Path) -> None:
        if not python.exists():
            raise SystemExit(f"no LeRobot environment at '{python}': type make test-lerobot, or give --python")
        quiet = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        libraries = os.pathsep.join(str(path) for path in ffmpeg_for_torchcodec(python, folder))
        self._log = folder / "lerobot.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [str(python.absolute()), str(Path(__file__).with_name("lerobot_data_worker.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **quiet, "LD_LIBRARY_PATH": libraries},
                text=True,
            )
        self.backend = self._answer()["backend"]

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """Return the answer to a request."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **what}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"LeRobot ended with {self._process.wait()}: {self._log.read_text()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def ffmpeg_for_torchcodec(python: Path, folder: Path) -> list[Path]:
    """Return folders for LD_LIBRARY_PATH with the FFmpeg that torchcodec wants: PyAV's, by its usual names.

    torchcodec needs FFmpeg's shared libraries, which a machine may not have; PyAV brings them under names of its own.
    """
    bundled = next(python.parent.parent.glob("lib/python*/site-packages/av.libs")).absolute()
    links = folder / "ffmpeg"
    links.mkdir(exist_ok=True)
    for library in (*bundled.glob("libav*.so.*"), *bundled.glob("libsw*.so.*")):
        name, version = library.name.partition("-")[0], library.name.partition(".so.")[2].partition(".")[0]
        link = links / f"{name}.so.{version}"
        link.unlink(missing_ok=True)
        link.symlink_to(library)
    return [links, bundled]


def open_ours(root: Path, cache_dir: Path) -> ChunkDataset:
    """Return all samples, after filling the cache."""
    source = open_source(root)
    return ChunkDataset(source, source.episode_indices, features=source.features, chunk_size=CHUNK, cache_dir=cache_dir)


def check_equal(peer: Peer, ours: ChunkDataset, folder: Path, frames: int, name: str) -> None:
    """Compare some samples, those at both ends of episodes among them."""
    indices = sorted({0, 1, frames // 2, frames - 2, frames - 1, frames, len(ours) - 2, len(ours) - 1})
    path = folder / "samples.npz"
    peer.ask("save", name=name, indices=indices, path=str(path))
    batch = ours.__getitems__(indices)
    with np.load(path) as theirs:
        for key, tensor in {
            "action": batch.action,
            "action_is_pad": batch.action_is_pad,
            "observation.state": batch.state,
        }.items():
            assert tensor is not None
            if not np.array_equal(theirs[key], tensor.numpy()):
                raise SystemExit(f"'{key}' is not what LeRobot gives")
        for camera, images in batch.images.items():
            other = theirs[f"observation.images.{camera}"].astype(float)
            error = np.abs(other - images.numpy()).mean(axis=(1, 2, 3))
            apart = np.abs(other[0] - other[1]).mean()
            if error.max() > PICTURE_TOLERANCE or error.max() > apart / 2:
                raise SystemExit(f"camera '{camera}': pictures are {error.max():.1f} levels from LeRobot's")


def stream(dataset: ChunkDataset, batch: int, num_workers: int) -> Iterator[Any]:
    """Return batches without end, as training gets them."""
    sampler = StepSampler(Uniform(len(dataset)), batch_size=batch, n_batches=10**7, seed=0)
    return iter(StepLoader(dataset, sampler, num_workers=num_workers, pin_memory=False))


def seconds_of(batches: Iterator[Any], n: int) -> float:
    """Return the time of some batches, after those that may lie ready."""
    for _ in range(3):
        next(batches)
    begun = time.perf_counter()
    for _ in range(n):
        next(batches)
    return time.perf_counter() - begun


def from_the_cache(peer: Peer, root: Path, folder: Path, options: Options, copy_gb_s: float) -> dict[str, Any]:
    """Samples/s of both sides in turns, one loader process each."""
    backends = [peer.backend] + (["pyav"] if peer.backend != "pyav" else [])
    for backend in backends:
        peer.ask(
            "open", name=f"{root.name} {backend}", root=str(root), chunk=CHUNK, batch=options.batch, backend=backend
        )
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        ours = open_ours(root, Path(cache))
        for backend in backends:
            check_equal(peer, ours, folder, options.frames, f"{root.name} {backend}")
        gb_a_sample = frame_bytes(open_source(root).features) / 1e9
        streams = {"ours": stream(ours, options.batch, 1), "ours without a worker": stream(ours, options.batch, 0)}
        n_ours, n_theirs = (20, 3) if options.small else (500, 15)
        rates: dict[str, list[float]] = {name: [] for name in (*streams, *backends)}
        for number in range(1 + options.rounds):
            for backend in backends:
                seconds = peer.ask("samples", name=f"{root.name} {backend}", batches=n_theirs)["seconds"]
                rates[backend].append(n_theirs * options.batch / seconds)
            for name, batches in streams.items():
                rates[name].append(n_ours * options.batch / seconds_of(batches, n_ours))
            if number == 0:  # warming up
                rates = {name: [] for name in rates}
        del streams, batches
        for backend in backends:
            peer.ask("close", name=f"{root.name} {backend}")
    medians = {name: spread(of, 1) for name, of in rates.items()}
    return {
        "samples_per_s": medians,
        "share_of_copy_rate": {
            name: share(2 * gb_a_sample * of["median"], 1.0, copy_gb_s) for name, of in medians.items()
        },
        "times_lerobot": {
            backend: spread([mine / other for mine, other in zip(rates["ours"], rates[backend], strict=True)])
            for backend in backends
        },
    }


def first_pass(peer: Peer, root: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds to fill the cache and seconds of one LeRobot epoch over the same frames."""
    ours, theirs, n_samples = [], [], 0
    for _ in range(rounds):
        answer = peer.ask("epoch", name=f"{root.name} {peer.backend}")
        theirs.append(answer["seconds"])
        n_samples = answer["samples"]
        with tempfile.TemporaryDirectory(dir=folder) as cache:
            begun = time.perf_counter()
            dataset = open_ours(root, Path(cache))
            ours.append(time.perf_counter() - begun)
        if len(dataset) != n_samples:
            raise SystemExit(f"LeRobot has {n_samples} samples, we have {len(dataset)}")
    return {
        "samples": n_samples,
        "seconds": {"ours": spread(ours), peer.backend: spread(theirs)},
        "times_lerobot": {peer.backend: spread([b / a for a, b in zip(ours, theirs, strict=True)])},
    }


def gop_250(root: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Frames/s from HEVC with a key frame every 250 into the cache, 480x640 to 240x240, all frames and every third."""
    source = open_source(root)
    n_frames = sum(source.lengths.values())
    rates: dict[int, list[float]] = {1: [], 3: []}
    for _ in range(rounds):
        for every, of in rates.items():
            with tempfile.TemporaryDirectory(dir=folder) as cache:
                begun = time.perf_counter()
                cache_frames(
                    source,
                    source.episode_indices,
                    camera="top",
                    size=(240, 240),
                    downsample_factor=every,
                    cache_dir=Path(cache),
                )
                of.append(n_frames / (time.perf_counter() - begun))
    return {"frames": n_frames, "video_frames_per_s": {f"every {every}": spread(of, 1) for every, of in rates.items()}}


def measure(peer: Peer, folder: Path, options: Options, copy_gb_s: float) -> dict[str, Any]:
    """Write the sets and return all figures."""
    results: dict[str, Any] = {}
    for height, width in ((480, 640), (96, 96)):
        root = folder / f"av1-{height}x{width}"
        written = peer.ask(
            "write",
            root=str(root),
            height=height,
            width=width,
            episodes=options.episodes,
            frames=options.frames,
            fps=30,
            seed=0,
        )
        name = f"{height}x{width}"
        results[f"{name} from the cache"] = written | from_the_cache(peer, root, folder, options, copy_gb_s)
        results[f"{name} first pass"] = first_pass(peer, root, folder, 1 if options.small else 3)
        for what in ("from the cache", "first pass"):
            print(f"{name} {what}: {json.dumps(results[f'{name} {what}'])}", flush=True)
    root = folder / "gop250"
    written = peer.ask(
        "write",
        root=str(root),
        height=480,
        width=640,
        episodes=2,
        frames=options.gop_frames,
        fps=30,
        seed=0,
        cameras=["top"],
        codec="hevc",
    )
    results["GOP 250"] = written | gop_250(root, folder, 1 if options.small else 3)
    print(f"GOP 250: {json.dumps(results['GOP 250'])}", flush=True)
    return results


def goals(results: dict[str, Any], backend: str) -> dict[str, bool]:
    """Return whether the median of each figure reaches its goal."""
    reached = {
        f"{name} at least {goal:g} times": results[name]["times_lerobot"][backend]["median"] >= goal
        for name, goal in GOALS.items()
    }
    rate = results["GOP 250"]["video_frames_per_s"]["every 1"]["median"]
    return reached | {f"GOP 250 at least {GOAL_GOP_250:g} frames/s": rate >= GOAL_GOP_250}


def main(options: Options) -> None:
    """Measure, print, and write what was asked for."""
    if options.small:
        options = replace(options, episodes=2, frames=30, gop_frames=60, rounds=2)
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    os.sched_setaffinity(0, cores)  # the processes that are started from here have the same
    torch.set_num_threads(len(cores))
    record = Record(seed=0, lerobot=options.python)
    rates = peak()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="data-speed-"))
    folder.mkdir(parents=True, exist_ok=True)
    peer = Peer(options.python, folder)
    try:
        results = measure(peer, folder, options, rates["copy_gb_s"])
    finally:
        peer.close()
        if options.folder is None:
            shutil.rmtree(folder)
    reached = goals(results, peer.backend)
    for goal, yes in reached.items():
        print(f"{'reached' if yes else 'MISSED'}: {goal}")
    record.write(
        options.out,
        results=results,
        goals=reached,
        peak=rates,
        settings={
            **{name: getattr(options, name) for name in ("episodes", "frames", "gop_frames", "rounds", "batch")},
            "lerobot_backend": peer.backend,
        },
        threads={"ours": len(cores), "LeRobot": len(cores)},
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
