"""Step time and memory as curves, and beside each point what `foreact plan` would have said.

    python benchmarks/scaling.py run     # measures what is missing in benchmarks/results/scaling.json, then plots
    python benchmarks/scaling.py run --only image-128 ddp --redo
    python benchmarks/scaling.py plot

Every point is a process of its own, for its peak of memory: it makes training steps as Lightning does (the module's own
step on a raw batch, clipping, AdamW), and afterwards counts the step, as `foreact plan` does. The processor's rates,
as `foreact plan` measures them, are the mean of before and after the steps, so that no slow moment decides; those
before come from a process of their own, whose memory is not the point's. Time is CPU time of the one thread that
computes, to which waiting for other processes adds nothing, and the clock's beside it. `ddp` is `foreact train` with
one process and with two.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from record import Neighbours, Record
from turns import spread

BASE = {"image": (128, 128), "cameras": 2, "chunk": 100, "batch": 8, "layers": 4}
"""Of the preset so101: ResNet-18, width 512."""
AXES: dict[str, tuple[Any, ...]] = {
    "image": ((64, 64), (96, 96), (128, 128), (192, 192), (256, 256), (360, 360)),
    "cameras": (1, 2, 3, 4),
    "chunk": (10, 25, 50, 100, 200),
    "batch": (1, 2, 4, 8, 16, 32),
    "layers": (1, 2, 4, 8),
}
LABELS = {"image": "side of the pictures", "layers": "layers of the encoder"}
PRESETS = {"compact": {"batch": 64}, "r1pro": {"batch": 4}, "so101": {"batch": 2}}
"""At their own sizes, with batches that take seconds."""
GOAL = 0.2
"""Largest error of a prediction."""
DDP = {"1 process": (1, 1), "1 process, 2 threads": (1, 2), "2 processes": (2, 1)}
"""Processes and threads of each."""
STEPS = 3
"""Of a point, after one that does not count."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Measure, and plot what there is."""

    only: tuple[str, ...] = ()
    """Points' names; all where none is given."""
    redo: bool = False
    """Measure again what is there already."""
    out: Path = Path("benchmarks/results/scaling.json")
    """The figures, written after each point; those that are there are kept."""
    plots: Path = Path("docs/scaling.png")


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Plot what was measured."""

    out: Path = Path("benchmarks/results/scaling.json")
    plots: Path = Path("docs/scaling.png")


@dataclass(frozen=True, kw_only=True)
class Point:
    """Measure one point in this process and print it as JSON."""

    name: Annotated[str, tyro.conf.Positional]


def points() -> dict[str, dict[str, Any]]:
    """Return all points: what differs from the base, by name."""
    named: dict[str, dict[str, Any]] = {"base": {}}
    for axis, values in AXES.items():
        for value in values:
            if value != BASE[axis]:
                named[f"{axis}-{value[0] if isinstance(value, tuple) else value}"] = {axis: value}
    return named | {name: {"preset": name, **other} for name, other in PRESETS.items()}


def measure_point(name: str) -> dict[str, Any]:
    """Make steps, then predict them."""
    import lightning  # noqa: F401
    import torch

    from foreact.config import RunConfig
    from foreact.data.selection import select_features
    from foreact.memory import keep_freed_memory
    from foreact.presets import preset
    from foreact.train.cost import QuietModule, any_statistics, count_step, raw_batch
    from foreact.train.rates import measure_rates, process_bytes
    from foreact.train.stand_in import ROBOTS, SO101, stand_in_features

    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    in_process = process_bytes()
    before = rates_apart()
    point = points()[name]
    if "preset" in point:
        recipe, robot = preset(point["preset"]), ROBOTS[point["preset"]]
        run = RunConfig(policy=recipe.policy, train=replace(recipe.train, batch_size=point["batch"]))
    else:
        sizes = {**BASE, **point}
        recipe, robot = preset("so101"), replace(SO101, size=sizes["image"], n_cameras=sizes["cameras"])
        policy = replace(recipe.policy, chunk_size=sizes["chunk"], n_action_steps=1, n_encoder_layers=sizes["layers"])
        run = RunConfig(policy=policy, train=replace(recipe.train, batch_size=sizes["batch"]))
    run = replace(run, policy=replace(run.policy, pretrained_backbone_weights=None))
    run = replace(run, train=replace(run.train, ema_decay=None))  # which is Lightning's work, not the step's
    features = select_features(stand_in_features(robot), run.policy)

    module = QuietModule(run, features, any_statistics(run, features)).train()
    optimizer = module.configure_optimizers()["optimizer"]
    batch = raw_batch(run, features, run.train.batch_size)

    neighbours, cpu, wall = Neighbours(), [], []
    for number in range(STEPS + 1):
        begun, cpu_begun = time.perf_counter(), time.thread_time()
        module.make_step(optimizer, batch)
        if number:
            cpu.append(time.thread_time() - cpu_begun)
            wall.append(time.perf_counter() - begun)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak, others = 1024 * int(status["VmHWM"].split()[0]), neighbours.cores()
    del module, optimizer, batch

    after = measure_rates()
    rates = {kind: statistics.harmonic_mean((before[kind], rate)) for kind, rate in after.items()}  # of the times
    begun = time.thread_time()
    cost = count_step(run, features)
    predicted_s, predicted_bytes = cost.seconds(rates), cost.process_peak(in_process)
    measured_s = statistics.median(cpu)
    return {
        "differs": {key: list(value) if isinstance(value, tuple) else value for key, value in point.items()},
        "step_s": {
            "cpu": round(measured_s, 4),
            "cpu_from_to": [round(min(cpu), 4), round(max(cpu), 4)],
            "wall": round(statistics.median(wall), 4),
            "predicted": round(predicted_s, 4),
            "error": round(predicted_s / measured_s - 1, 3),
        },
        "memory_mb": {
            "measured": round(peak / 1e6, 1),
            "predicted": round(predicted_bytes / 1e6, 1),
            "error": round(predicted_bytes / peak - 1, 3),
            "before": round(in_process / 1e6, 1),
        },
        "gflop": round(cost.all_work.flops / 1e9, 2),
        "parameters": cost.n_parameters,
        "share_of_a_step": {part: round(work.seconds(rates) / predicted_s, 3) for part, work in cost.work.items()},
        "rates": {kind: float(f"{rate:.4g}") for kind, rate in rates.items()},
        "rates_after_to_before": {kind: round(rate / before[kind], 2) for kind, rate in after.items()},
        "seconds_to_count": round(time.thread_time() - begun, 2),
        "cores_of_others": others,
    }


def rates_apart() -> dict[str, float]:
    """Measure the rates in another process, which keeps freed memory and computes with one thread like this one."""
    from foreact.memory import keep_freed_memory
    from foreact.train.rates import measure_rates

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=keep_freed_memory) as pool:
        return pool.submit(measure_rates).result()


def measure_ddp(turns: int = 3, steps: int = 24, batch: int = 16) -> dict[str, Any]:
    """Return samples/s of one process and of two for one budget of samples, in turns."""
    from made_data import write_data

    rates: dict[str, list[float]] = {name: [] for name in DDP}
    budgets = set()
    neighbours = Neighbours()
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        data = write_data(
            Path(folder) / "data", size=(96, 96), n_cameras=2, state_dim=6, action_dim=6, coordinates=True, episodes=4,
            frames=60,
        )  # fmt: skip
        for turn in range(turns):
            for number, (name, (processes, threads)) in enumerate(DDP.items()):
                options = {
                    "data": data, "out": f"{folder}/{number}-{turn}", "cache-dir": f"{folder}/cache",
                    "devices": processes, "accelerator": "cpu", "threads": threads,
                    "strategy": "ddp" if processes > 1 else "auto", "train.batch-size": batch // processes,
                    "train.steps": steps, "train.warmup-steps": 1, "train.val-fraction": 0.0, "train.log-every": 8,
                    "train.save-every": steps,
                }  # fmt: skip
                rate, budget = train_once(options)
                rates[name].append(rate)
                budgets.add(budget)
    if len(budgets) > 1:
        raise SystemExit(f"the budgets of samples differ: {sorted(budgets)}")
    single, double = (rates[name] for name in ("1 process", "2 processes"))
    return {
        "samples_per_s": {name: spread(of, 1) for name, of in rates.items()},
        "times_one_process": spread([two / one for one, two in zip(single, double, strict=True)]),
        "turns": turns,
        "budget": budgets.pop(),
        "cores_of_others": neighbours.cores(),
    }


def train_once(options: Mapping[str, object]) -> tuple[float, int]:
    """Return a run's samples/s and its budget of samples."""
    call = [sys.executable, "-m", "foreact.cli.main", "train", "compact"]
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    done = subprocess.run([*call, *words], stderr=subprocess.PIPE, text=True, env=without_threads())
    if done.returncode:
        raise SystemExit(f"foreact train ended with {done.returncode}: {done.stderr[-1000:]}")
    rate = re.search(r"([\d.]+) samples/s, [\d.]+% of the time", done.stderr)
    budget = re.search(r"budget (\d+) samples in \d+ steps", done.stderr)
    assert rate is not None
    assert budget is not None
    return float(rate[1]), int(budget[1])


def without_threads() -> dict[str, str]:
    """Return this process's environment without a number of threads, which --threads gives, and with long lines."""
    return {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | {"COLUMNS": "300"}


def run(options: Run) -> None:
    """Measure what is missing, one process a point, and write after each."""
    measured = json.loads(options.out.read_text())["results"] if options.out.exists() else {}
    record = Record(seed=0)
    for name in options.only or (*points(), "ddp"):
        if name != "ddp" and name not in points():
            raise SystemExit(f"unknown point '{name}'; choices: {', '.join(points())}, ddp")
        if name in measured and not options.redo:
            continue
        if name == "ddp":
            measured[name] = found = measure_ddp()
        else:
            call = [sys.executable, __file__, "point", name]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True, env=environment)
            measured[name] = found = json.loads(done.stdout.splitlines()[-1])
        shown = {key: found[key] for key in found if not key.startswith(("rates", "share"))}
        print(f"{name}: {json.dumps(shown)}", flush=True)
        record.write(
            options.out, results=measured, base=BASE, goal=GOAL, settings={"steps": STEPS}, threads={"ours": 1}
        )
    plot(measured, options.plots)
    print("\n".join(summary(measured)))


def summary(measured: dict[str, Any]) -> Iterator[str]:
    """Yield lines that say how good the predictions are."""
    for what in ("step_s", "memory_mb"):
        errors = {name: abs(of[what]["error"]) for name, of in measured.items() if what in of}
        if errors:
            worst = max(errors, key=lambda name: errors[name])
            within = sum(error <= GOAL for error in errors.values())
            yield (
                f"{what}: {within} of {len(errors)} points within {GOAL:.0%}, median error "
                f"{statistics.median(errors.values()):.0%}, largest {errors[worst]:.0%} ({worst})"
            )


def plot(measured: dict[str, Any], file: Path) -> None:
    """Draw each axis twice: seconds a step and MB."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, len(AXES), figsize=(3.2 * len(AXES), 6), layout="constrained")
    for column, (axis, values) in enumerate(AXES.items()):
        at = []
        for value in values:
            side = value[0] if isinstance(value, tuple) else value
            name = "base" if value == BASE[axis] else f"{axis}-{side}"
            if name in measured:
                at.append((side, measured[name]))
        for row, (what, ours, label) in enumerate(
            (("step_s", "cpu", "CPU seconds a step"), ("memory_mb", "measured", "memory of the process, MB"))
        ):
            panel = panels[row][column]
            panel.plot([x for x, _ in at], [of[what][ours] for _, of in at], "o-", label="measured")
            panel.plot([x for x, _ in at], [of[what]["predicted"] for _, of in at], "x--", label="predicted")
            panel.set_xlabel(LABELS.get(axis, axis))
            panel.set_ylim(0, 1.08 * max(of[what][which] for _, of in at for which in (ours, "predicted")))
            panel.grid(alpha=0.3)
            if column == 0:
                panel.set_ylabel(label)
                panel.legend()
    sizes = f"{BASE['image'][0]}x{BASE['image'][1]}, {BASE['cameras']} cameras, chunk {BASE['chunk']}"
    figure.suptitle(f"A training step of so101's network from {sizes}, batch {BASE['batch']}; one thread")
    figure.savefig(file, dpi=110)
    plt.close(figure)


def main() -> None:
    """Do what was asked for."""
    options = tyro.extras.subcommand_cli_from_dict({"run": Run, "plot": Plot, "point": Point})
    if isinstance(options, Point):
        print(json.dumps(measure_point(options.name)))
    elif isinstance(options, Run):
        run(options)
    else:
        plot(json.loads(options.out.read_text())["results"], options.plots)


if __name__ == "__main__":
    main()
