"""Training end to end from a data set on disk, `foreact train` beside LeRobot's own `lerobot-train`: samples a second.

    make test-lerobot && python benchmarks/training_speed.py --out benchmarks/results/training_speed.json

Both commands train the same network (ResNet-18, no pretrained weights, no camera embedding, a chunk of 100) on the same
LeRobotDataset v3.0 with AV1 video, at the same batch size, and take turns. Each computes with as many threads as it
chooses, which for LeRobot is PyTorch's choice, or both with the number given. LeRobot reads with torchcodec, its faster
decoder, once in four loader processes as it does where nothing is said, and once without. A rate is that between two
lines of a command's log: after the first steps and before the last, when both save a checkpoint. CPU time is that of
the command and all of its processes. Of ours there is also the rate of the first epoch, with the decoding of every
frame into the cache; LeRobot decodes anew at every step, in every epoch alike.

Figures to be kept are made on a machine that does nothing else (the load is noted with them).
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import tyro
from made_data import write_data

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.data_speed import ffmpeg_for_torchcodec
from benchmarks.grounding.lerobot_peer import PYTHON, train_options

import foreact
from foreact.config import PolicyConfig, RunConfig, TrainConfig
from foreact.data.dataset import ChunkDataset
from foreact.data.selection import select_features
from foreact.data.source import open_source
from foreact.deploy.lerobot_names import SAME_NAME
from foreact.presets import preset

CHUNK = 100
WORKERS = (4, 0)
"""Of LeRobot's loader: its default first."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """A robot's data, and how long a run is."""

    size: tuple[int, int]
    n_cameras: int
    state_dim: int
    action_dim: int
    batch: int
    windows: int
    """Lines of the log; those between the first and the last but one count."""
    every: int
    """Steps a line."""
    goal: float
    """Times LeRobot's rate."""


SIZES = {
    "compact": Size(size=(96, 96), n_cameras=2, state_dim=6, action_dim=6, batch=32, windows=7, every=10, goal=2.0),
    "r1pro": Size(size=(224, 224), n_cameras=3, state_dim=37, action_dim=23, batch=8, windows=7, every=2, goal=1.5),
    "so101": Size(size=(480, 640), n_cameras=2, state_dim=6, action_dim=6, batch=8, windows=6, every=1, goal=1.5),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    sizes: tuple[str, ...] = tuple(SIZES)
    turns: int = 2
    threads: int | None = None
    """To compute with; where it is not given each command chooses, as it does for whoever types it."""
    episodes: int = 4
    frames: int = 150
    """Of an episode."""
    batch: int | None = None
    """Instead of each size's own."""
    every: int | None = None
    """Steps a line instead of each size's own."""
    folder: Path | None = None
    """Where the data sets are written and kept; a temporary folder where it is not given."""
    python: Path = PYTHON
    """The interpreter of LeRobot's environment."""
    out: Path | None = None
    """Write the figures here as JSON."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What was seen of a command that trains."""

    wall: tuple[float, ...]
    """Seconds from its start to each line of its log."""
    cpu: tuple[float, ...]
    """CPU seconds of it and its processes until then."""
    seconds: float
    cpu_seconds: float
    lines: tuple[str, ...]


def recipe(name: str, of: Size) -> RunConfig:
    """Return our recipe, whose network LeRobot can build, too."""
    policy = preset(name).policy
    same = {option: getattr(policy, option) for option in SAME_NAME} | {"chunk_size": CHUNK, "n_action_steps": CHUNK}
    steps = of.windows * of.every
    return RunConfig(
        policy=replace(
            preset("so101").policy,
            **same,
            temporal_ensemble_coeff=None,
            pretrained_backbone_weights=None,
            camera_embedding=False,
            use_environment_state=policy.use_environment_state,
        ),
        train=replace(
            preset("so101").train,
            steps=steps,
            batch_size=of.batch,
            warmup_steps=1,
            lr_schedule="cosine",
            val_fraction=0.0,
            save_every=steps,
            log_every=of.every,
            accelerator="cpu",
            devices="1",
        ),
    )


def our_command(run: RunConfig, data: Path, out: Path, cache: Path, threads: int | None) -> list[str]:
    """Return `foreact train` with every option in which the recipe is not the preset so101."""
    base = preset("so101")
    words = ["train", "so101", "--data", str(data), "--out", str(out), "--cache-dir", str(cache)]
    words += [] if threads is None else ["--threads", str(threads)]
    parts: Sequence[tuple[str, Any, Any]] = (("policy", run.policy, base.policy), ("train", run.train, base.train))
    for part, config, default in parts:
        for field in fields(PolicyConfig if part == "policy" else TrainConfig):
            value, flag = getattr(config, field.name), field.name.replace("_", "-")
            if value == getattr(default, field.name):
                continue
            words += [f"--{part}.{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [
                f"--{part}.{flag}", *map(str, value if isinstance(value, tuple) else (value,)),
            ]  # fmt: skip
    return [sys.executable, "-m", "foreact.cli.main", *words]


def their_command(run: RunConfig, data: Path, out: Path, python: Path, workers: int) -> list[str]:
    """Return `lerobot-train` with the same recipe."""
    features = select_features(open_source(data).features, run.policy)
    options = train_options(run, data=data, out=out)
    given = json.loads(options["policy.input_features"])
    if not features.environment_dim:
        del given["observation.environment_state"]
    options |= {"num_workers": workers, "policy.input_features": json.dumps(given)}
    del options["dataset.video_backend"]  # its own choice: torchcodec where FFmpeg is found
    return [
        str(python.with_name("lerobot-train").absolute()),
        *(f"--{name}={value}" for name, value in options.items()),
    ]


def watch(command: Sequence[str], line: str, environment: Mapping[str, str], log: Path) -> Watched:
    """Run a command that trains, and note when lines of its log come that hold a regular expression."""
    begun, wall, cpu, lines = time.perf_counter(), [], [], []
    pattern = re.compile(line)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment}
    )
    assert process.stdout is not None
    with log.open("w") as file:
        for text in process.stdout:
            file.write(text)
            if pattern.search(text):
                wall.append(time.perf_counter() - begun)
                cpu.append(cpu_of_tree(process.pid))
                lines.append(text)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}: {log.read_text()[-2000:]}")
    return Watched(
        wall=tuple(wall),
        cpu=tuple(cpu),
        seconds=time.perf_counter() - begun,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        lines=tuple(lines),
    )


def cpu_of_tree(root: int) -> float:
    """Return the CPU seconds of a process, of its children and of theirs, ended ones included."""
    children: dict[int, list[int]] = {}
    spent: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            values = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        number = int(path.parent.name)
        children.setdefault(int(values[1]), []).append(number)
        spent[number] = sum(int(value) for value in values[11:15]) / os.sysconf("SC_CLK_TCK")
    total, waiting = 0.0, [root]
    while waiting:
        number = waiting.pop()
        total += spent.get(number, 0.0)
        waiting += children.get(number, [])
    return total


def rates(watched: Watched, run: RunConfig, of: Size) -> dict[str, float]:
    """Return samples/s of what counts and of the whole command, and CPU seconds a sample."""
    if len(watched.wall) != of.windows:
        raise SystemExit(f"the log has {len(watched.wall)} lines for {of.windows}: {''.join(watched.lines)}")
    samples = (of.windows - 2) * of.every * of.batch
    return {
        "samples_per_s": samples / (watched.wall[-2] - watched.wall[0]),
        "cpu_s_a_sample": (watched.cpu[-2] - watched.cpu[0]) / samples,
        "samples_per_s_with_start": run.train.steps * of.batch / watched.seconds,
        "cpu_s_a_sample_with_start": watched.cpu_seconds / (run.train.steps * of.batch),
    }


def own_words(watched: Watched) -> dict[str, float]:
    """Return the medians of what LeRobot says of itself, the first line left out: seconds of a step and of its data."""
    said = {name: [float(found[1]) for line in watched.lines[1:-1] if (found := re.search(rf"{name}:([\d.]+)", line))]
            for name in ("updt_s", "data_s")}  # fmt: skip
    return {name: round(statistics.median(values), 4) for name, values in said.items() if values}


def decode_seconds(run: RunConfig, data: Path, folder: Path) -> tuple[float, int]:
    """Return how long it takes to decode all frames into an empty cache, and how many samples these are."""
    source = open_source(data)
    features = select_features(source.features, run.policy)
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        begun = time.perf_counter()
        dataset = ChunkDataset(
            source, source.episode_indices, features=features, chunk_size=CHUNK, cache_dir=Path(cache)
        )
        return time.perf_counter() - begun, len(dataset)


def measure(name: str, folder: Path, options: Options) -> dict[str, Any]:
    """Return all figures of one size."""
    of = replace(SIZES[name], batch=options.batch or SIZES[name].batch, every=options.every or SIZES[name].every)
    run = recipe(name, of)
    data = write_data(
        folder / name, size=of.size, n_cameras=of.n_cameras, state_dim=of.state_dim, action_dim=of.action_dim,
        coordinates=run.policy.use_environment_state, episodes=options.episodes, frames=options.frames,
    )  # fmt: skip
    libraries = os.pathsep.join(str(path) for path in ffmpeg_for_torchcodec(options.python, folder))
    threads = {"PYTHONUNBUFFERED": "1"}
    if options.threads is not None:
        threads["OMP_NUM_THREADS"] = str(options.threads)
    offline = {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "WANDB_MODE": "disabled",
        "LD_LIBRARY_PATH": libraries,
    }
    sides: dict[str, list[dict[str, float]]] = {"ours": [], **{f"lerobot, {n} workers": [] for n in WORKERS}}
    said: dict[str, dict[str, float]] = {}
    for turn in range(options.turns):
        for side, found in sides.items():
            with tempfile.TemporaryDirectory(dir=folder) as place:
                out, log = Path(place) / "run", folder / f"{name}-{side.replace(', ', '-').replace(' ', '-')}.log"
                if side == "ours":
                    command = our_command(run, data, out, Path(place) / "cache", options.threads)
                    watched = watch(command, r"^step \d+/\d+ ", threads, log)
                else:
                    command = their_command(run, data, out, options.python, int(side.split()[1]))
                    watched = watch(command, r" step:\d+K? smpl:", threads | offline, log)
                    said[side] = own_words(watched)
            found.append(rates(watched, run, of))
            print(
                f"{name} turn {turn} {side}: {json.dumps({k: round(v, 4) for k, v in found[-1].items()})}", flush=True
            )
    decode, n_samples = decode_seconds(run, data, folder)
    steady = [of_turn["samples_per_s"] for of_turn in sides["ours"]]
    first_epoch = [n_samples / (decode + n_samples / rate) for rate in steady]
    ratios: dict[str, Any] = {}
    for side, found in sides.items():
        if side == "ours":
            continue
        theirs = [of_turn["samples_per_s"] for of_turn in found]
        ratios[side] = {
            "steady": spread([a / b for a, b in zip(steady, theirs, strict=True)]),
            "first_epoch": spread([a / b for a, b in zip(first_epoch, theirs, strict=True)]),
            "cpu": spread(
                [b["cpu_s_a_sample"] / a["cpu_s_a_sample"] for a, b in zip(sides["ours"], found, strict=True)]
            ),
        }
    return {
        "batch": of.batch,
        "steps": run.train.steps,
        "counted_steps": (of.windows - 2) * of.every,
        "sides": {
            side: {figure: spread([of_turn[figure] for of_turn in found], 4) for figure in found[0]}
            for side, found in sides.items()
        },
        "lerobot_says": said,
        "decode_s": round(decode, 2),
        "samples": n_samples,
        "first_epoch_samples_per_s": spread(first_epoch, 3),
        "times_lerobot": ratios,
        "goal": of.goal,
    }


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Return median, lowest and highest."""
    return {
        "median": round(statistics.median(values), digits),
        "lowest": round(min(values), digits),
        "highest": round(max(values), digits),
    }


def main(options: Options) -> None:
    """Measure, print and write after each size."""
    if not options.python.exists():
        raise SystemExit(f"no LeRobot environment at '{options.python}': type make test-lerobot, or give --python")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="training-speed-"))
    folder.mkdir(parents=True, exist_ok=True)
    load, results = os.getloadavg()[0], {}
    try:
        for name in options.sizes:
            results[name] = found = measure(name, folder, options)
            for side, ratio in found["times_lerobot"].items():
                print(f"{name}: times {side}: {json.dumps(ratio)}; goal {found['goal']}", flush=True)
            if options.out is not None:
                content = {
                    "results": results,
                    "settings": {
                        of: getattr(options, of) for of in ("turns", "threads", "episodes", "frames", "batch", "every")
                    },
                    "versions": {
                        "foreact": foreact.__version__,
                        "lerobot": lerobot_version(options.python),
                        "python": platform.python_version(),
                    },
                    "machine": {"cores": os.cpu_count(), "load_at_start": round(load, 2)},
                }
                options.out.parent.mkdir(parents=True, exist_ok=True)
                options.out.write_text(json.dumps(content, indent=2) + "\n")
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


def lerobot_version(python: Path) -> str:
    """Return the version in LeRobot's environment."""
    code = "from importlib.metadata import version; print(version('lerobot'))"
    return subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main(tyro.cli(Options))
