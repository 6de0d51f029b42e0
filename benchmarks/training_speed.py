"""Training end to end from a data set on disk, `foreact train` beside LeRobot's own `lerobot-train`: samples a second.

    make test-lerobot && python benchmarks/training_speed.py --out benchmarks/results/training_speed.json

Both commands train the same network (ResNet-18, no pretrained weights, no camera embedding, a chunk of 100) on the same
LeRobotDataset v3.0 with AV1 video, at the same batch size, and take turns. Each computes with as many threads as it
chooses, which for LeRobot is PyTorch's choice, or both with the number given. LeRobot reads with torchcodec, its faster
decoder, once in four loader processes as it does where nothing is said, and once without. A rate is that between two
lines of a command's log: after the first steps and before the last, when both save a checkpoint. CPU time is that of
the command and all of its processes. Of ours there is also the rate of the first epoch, with the decoding of every
frame into the cache; LeRobot decodes anew at every step, in every epoch alike.

Both commands' networks must have as many weights to train. That their losses and gradients are the same, given the same
weights and the same batch, is what `EQUALITY` tests and `speed.py` checks again before a step's time counts.

A share of the matrix rate is the FLOPs of a step, as `foreact plan` counts them, over its share of a second and the
rate of this processor's products with as many threads as that side has (peak.py).

Figures to be kept are made on a machine that does nothing else: what others computed during each turn is noted, and so
are each side's threads, of which `foreact train` takes only as many as there are free cores.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from made_data import write_data
from peak import matrix_rate, peak, share
from record import OTHERS, Neighbours, Record, cpu_of_tree
from turns import spread

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.data_speed import ffmpeg_for_torchcodec
from benchmarks.grounding.lerobot_peer import PYTHON, train_options

from foreact.config import PolicyConfig, RunConfig, TrainConfig
from foreact.data.dataset import ChunkDataset
from foreact.data.selection import select_features
from foreact.data.source import open_source
from foreact.deploy.lerobot_names import SAME_NAME
from foreact.presets import preset
from foreact.threads import cores
from foreact.train.cost import count_step

CHUNK = 100
EQUALITY = "tests_lerobot/test_act_parity.py::test_losses_and_gradients_in_training_are_the_same"
"""The same weights and the same batch give the same loss to 1e-5, and the same gradients."""


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
    workers: tuple[int, ...] = (4, 0)
    """Of LeRobot's loader, whose default is 4."""
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
    log: str
    cores_of_others: float
    """Mean number that other programs used meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one command gave."""

    side: str
    threads: int
    """That it computed with."""
    million_weights: str
    """To train, as it says."""
    cores_of_others: float
    rates: Mapping[str, float]
    """Of `rates`."""
    said: Mapping[str, float] = field(default_factory=dict)
    """LeRobot's own times of a step and of its data."""


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
        for option in fields(PolicyConfig if part == "policy" else TrainConfig):
            value, flag = getattr(config, option.name), option.name.replace("_", "-")
            if value == getattr(default, option.name):
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
    neighbours = Neighbours()
    begun, wall, cpu, lines = time.perf_counter(), [], [], []
    pattern = re.compile(line)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
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
        log=log.read_text(),
        cores_of_others=neighbours.cores(),
        wall=tuple(wall),
        cpu=tuple(cpu),
        seconds=time.perf_counter() - begun,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        lines=tuple(lines),
    )


def environment_of(threads: int | None, further: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with a number of threads only where one was asked for, and long lines."""
    own = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    asked = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    return {**own, "PYTHONUNBUFFERED": "1", "COLUMNS": "300", **asked, **further}


def threads_of(python: Path, environment: Mapping[str, str]) -> int:
    """Return how many threads PyTorch takes in LeRobot's environment, which `lerobot-train` leaves at that."""
    code = "import torch; print(torch.get_num_threads())"
    return int(subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, env=environment, check=True).stdout)


def found_in(log: str, pattern: str) -> str:
    """Return what a log says where it must."""
    found = re.search(pattern, log)
    if found is None:
        raise SystemExit(f"the log does not say '{pattern}': {log[-2000:]}")
    return found[1]


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


def our_turn(run: RunConfig, of: Size, data: Path, folder: Path, options: Options) -> Turn:
    """Train with `foreact train`, into an empty cache."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        command = our_command(run, data, Path(place) / "run", Path(place) / "cache", options.threads)
        log = folder / f"{data.name}-ours.log"
        watched = watch(command, r"^step \d+/\d+ ", environment_of(options.threads, {}), log)
    return Turn(
        side="ours",
        threads=int(found_in(watched.log, r"computing with (\d+) thread")),
        million_weights=found_in(watched.log, r"([\d.]+) M parameters"),
        cores_of_others=watched.cores_of_others,
        rates=rates(watched, run, of),
    )


def their_turn(run: RunConfig, of: Size, data: Path, folder: Path, options: Options, workers: int) -> Turn:
    """Train with `lerobot-train`."""
    libraries = os.pathsep.join(str(path) for path in ffmpeg_for_torchcodec(options.python, folder))
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "WANDB_MODE": "disabled"}
    environment = environment_of(options.threads, offline | {"LD_LIBRARY_PATH": libraries})
    with tempfile.TemporaryDirectory(dir=folder) as place:
        command = their_command(run, data, Path(place) / "run", options.python, workers)
        log = folder / f"{data.name}-lerobot-{workers}.log"
        watched = watch(command, r" step:\d+K? smpl:", environment, log)
    learned = int(found_in(watched.log, r"num_learnable_params=(\d+)"))
    return Turn(
        side=f"lerobot, {workers} workers",
        threads=threads_of(options.python, environment),
        million_weights=f"{learned / 1e6:.2f}",
        cores_of_others=watched.cores_of_others,
        rates=rates(watched, run, of),
        said=own_words(watched),
    )


def measure(name: str, folder: Path, options: Options) -> dict[str, Any]:
    """Return all figures of one size."""
    of = replace(SIZES[name], batch=options.batch or SIZES[name].batch, every=options.every or SIZES[name].every)
    run = recipe(name, of)
    data = write_data(
        folder / name, size=of.size, n_cameras=of.n_cameras, state_dim=of.state_dim, action_dim=of.action_dim,
        coordinates=run.policy.use_environment_state, episodes=options.episodes, frames=options.frames,
    )  # fmt: skip
    sides: dict[str, list[Turn]] = {}
    for _ in range(options.turns):
        for workers in (None, *options.workers):
            turn = (
                our_turn(run, of, data, folder, options)
                if workers is None
                else their_turn(run, of, data, folder, options, workers)
            )
            sides.setdefault(turn.side, []).append(turn)
            print(f"{name}: {json.dumps(asdict(turn))}", flush=True)
    weights = {turn.million_weights for turns in sides.values() for turn in turns}
    if len(weights) > 1:
        raise SystemExit(f"the networks have {' and '.join(sorted(weights))} million weights: no time counts")
    decode, n_samples = decode_seconds(run, data, folder)
    flop = count_step(run, select_features(open_source(data).features, run.policy)).all_work.flops / of.batch
    return {
        "batch": of.batch,
        "steps": run.train.steps,
        "counted_steps": (of.windows - 2) * of.every,
        "threads": {
            who: min(turn.threads for side, turns in sides.items() if side.startswith(who.lower()) for turn in turns)
            for who in ("ours", "LeRobot")
        },
        "million_weights": float(*weights),
        "flop_a_sample": flop,
        "sides": {
            side: {figure: spread([turn.rates[figure] for turn in turns], 4) for figure in turns[0].rates}
            for side, turns in sides.items()
        },
        "share_of_matrix_rate": {side: share_of_matrix_rate(turns, flop) for side, turns in sides.items()},
        "decode_s": round(decode, 2),
        "samples": n_samples,
        "times_lerobot": {
            side: times(sides["ours"], turns, decode / n_samples) for side, turns in sides.items() if side != "ours"
        },
        "goal": of.goal,
        "turns": [asdict(turn) for turns in sides.values() for turn in turns],
        "busy": reasons([turn for turns in sides.values() for turn in turns], options.threads),
    }


def times(ours: Sequence[Turn], theirs: Sequence[Turn], decode: float) -> dict[str, Any]:
    """Return how many times LeRobot's rate ours is, turn by turn.

    Args:
        ours: Our turns.
        theirs: LeRobot's.
        decode: Seconds a sample that ours takes to fill the cache, in the first epoch only.
    """
    pairs = [(a.rates, b.rates) for a, b in zip(ours, theirs, strict=True)]
    return {
        "steady": spread([a["samples_per_s"] / b["samples_per_s"] for a, b in pairs]),
        "first_epoch": spread([1 / (1 / a["samples_per_s"] + decode) / b["samples_per_s"] for a, b in pairs]),
        "cpu": spread([b["cpu_s_a_sample"] / a["cpu_s_a_sample"] for a, b in pairs]),
    }


def share_of_matrix_rate(turns: Sequence[Turn], flop: float) -> float | None:
    """Return what part of this processor's products, with as many threads, a side's samples take."""
    before = torch.get_num_threads()
    torch.set_num_threads(turns[0].threads)
    rate = matrix_rate(peak())
    torch.set_num_threads(before)
    return share(flop / 1e9, 1 / statistics.median(turn.rates["samples_per_s"] for turn in turns), rate)


def reasons(turns: Sequence[Turn], asked: int | None) -> list[str]:
    """Return why a size's figures are not those of an idle machine."""
    most, fewest = (
        max(turn.cores_of_others for turn in turns),
        min(turn.threads for turn in turns if turn.side == "ours"),
    )
    busy = [f"other programs used up to {most:g} cores in a turn"] if most > OTHERS else []
    if asked is None and fewest < cores():
        busy.append(f"foreact train took {fewest} of {cores()} cores, for the others were not free")
    return busy


def main(options: Options) -> None:
    """Measure, print and write after each size."""
    if not options.python.exists():
        raise SystemExit(f"no LeRobot environment at '{options.python}': type make test-lerobot, or give --python")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="training-speed-"))
    folder.mkdir(parents=True, exist_ok=True)
    record, results = Record(seed=0, lerobot=options.python), {}
    try:
        for name in options.sizes:
            results[name] = found = measure(name, folder, options)
            for side, ratio in found["times_lerobot"].items():
                print(f"{name}: times {side}: {json.dumps(ratio)}; goal {found['goal']}", flush=True)
            record.write(
                options.out,
                results=results,
                equality=EQUALITY,
                settings={
                    "threads_asked_for": options.threads,
                    **{of: getattr(options, of) for of in ("turns", "workers", "episodes", "frames", "batch", "every")},
                },
                threads={side: min(of["threads"][side] for of in results.values()) for side in ("ours", "LeRobot")},
                busy=[f"{size}: {reason}" for size, of in results.items() for reason in of["busy"]],
            )
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main(tyro.cli(Options))
