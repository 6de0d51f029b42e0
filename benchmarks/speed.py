"""CPU time of ACT beside LeRobot's with the same weights: an action chunk at batch 1, and a training step.

    make bench     # LeRobot's environment comes from `make test-lerobot`

Both networks live in one process and take turns, so that a busy machine slows both; the ratio is taken turn by turn.
CPU time is that of the process, to which waiting for other processes adds nothing. No time counts before both have
given the same chunk for the same input. Beside each figure stands its share of the fastest that this processor was
seen to compute in the same run: FLOPs of LeRobot's network by PyTorch's counter, against the faster of two matrix
products, MKL's and oneDNN's.

`compact` has a ResNet-18 here in place of the preset's small network, which LeRobot does not have.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from bundle_files import as_batch, make_frame, write_networks
from lerobot_twin import SIZES, Pair, lerobot_batch, make_batch, make_pair
from torch.utils.flop_counter import FlopCounterMode

import foreact
from foreact.memory import keep_freed_memory
from foreact.model.linear import ONEDNN_IS_FASTER
from foreact.model.losses import act_loss
from foreact.presets import preset
from foreact.train.optimizer import gradient_norm, make_optimizer

GOALS = {
    "inference": {"compact": 1.6, "r1pro": 1.5, "so101": 1.5},
    "training": {"compact": 1.25, "r1pro": 1.25, "so101": 1.4},
}
"""Times LeRobot, eager PyTorch in float32."""
BUNDLE_GOALS = {
    "fp32": {"compact": 2.8, "r1pro": 2.1, "so101": 1.8},
    "int8": {"compact": 8.0, "r1pro": 6.0, "so101": 5.0},
}
"""Times LeRobot, of the faster library."""
SAME = 1e-5
"""Largest difference of a normalised chunk."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    sizes: tuple[str, ...] = tuple(SIZES)
    turns: int = 15
    """Of inference, each after one that does not count."""
    steps: int = 5
    """Of training."""
    threads: int = 1
    seed: int = 0
    out: Path | None = None
    """Write the figures here as JSON."""
    bundles_only: bool = False
    """Leave eager PyTorch and training out."""
    memory_of: tuple[str, Literal["ours", "theirs"]] | None = None
    """Only print the largest memory [MB] of a process that makes training steps of one size with one network."""


def take_turns(ours: Callable[[], object], theirs: Callable[[], object], turns: int) -> dict[str, Any]:
    """Return milliseconds of CPU and of the clock, and the ratios turn by turn, after one turn that does not count."""
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    for turn in range(turns + 1):
        for name, call in (("ours", ours), ("theirs", theirs)):
            begun, cpu_begun = time.perf_counter(), time.process_time()
            call()
            spent = (1000 * (time.process_time() - cpu_begun), 1000 * (time.perf_counter() - begun))
            if turn > 0:
                times[name].append(spent)
    ratios = sorted(t[0] / o[0] for o, t in zip(times["ours"], times["theirs"], strict=True))
    return {
        **{f"{name}_cpu_ms": round(statistics.median(of[0] for of in spent), 2) for name, spent in times.items()},
        **{f"{name}_wall_ms": round(statistics.median(of[1] for of in spent), 2) for name, spent in times.items()},
        "ratio": round(statistics.median(ratios), 2),
        "ratio_from_to": [round(ratios[0], 2), round(ratios[-1], 2)],
        "turns": turns,
    }


def inference(pair: Pair, turns: int) -> dict[str, Any]:
    """Measure a chunk at batch 1."""
    ours, theirs = pair.ours.eval().folded(), pair.theirs.eval()
    batch = make_batch(pair, 1)
    given = lerobot_batch(batch)
    with torch.inference_mode():
        difference = (ours(batch).action_hat - theirs.predict_action_chunk(given)).abs().max().item()
        if difference > SAME:
            raise SystemExit(f"the chunks differ by {difference:.1e}: no time counts")
        with FlopCounterMode(display=False) as counter:
            theirs.predict_action_chunk(given)
        measured = take_turns(lambda: ours(batch), lambda: theirs.predict_action_chunk(given), turns)
    return measured | {"difference": difference, "gflop": round(counter.get_total_flops() / 1e9, 2)}


def bundles(pair: Pair, turns: int, threads: int, seed: int) -> dict[str, dict[str, Any]]:
    """Measure a chunk at batch 1 of exported networks, from uint8 pictures, which LeRobot's gets normalised."""
    frame = make_frame(pair.features, np.random.default_rng(seed))
    theirs, given = pair.theirs.eval(), lerobot_batch(as_batch(frame, pair.features))
    measured = {}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(False), torch.no_grad():
        networks = write_networks(pair.ours, pair.config, pair.features, Path(folder), threads)
        expected = theirs.predict_action_chunk(given)[0].numpy()
        for name, network in networks.items():
            difference = float(np.abs(network(frame) - expected).max())
            if name.startswith("fp32") and difference > SAME:
                raise SystemExit(f"the chunks of {name} differ by {difference:.1e}: no time counts")
            turn = partial(network, frame)
            measured[name] = take_turns(turn, lambda: theirs.predict_action_chunk(given), turns)
            measured[name]["difference"] = difference
    return measured


def training(pair: Pair, preset_name: str, steps: int) -> dict[str, Any]:
    """Measure a step: forward, loss, backward, clipping, AdamW; each as its own trainer makes it."""
    ours, theirs = training_steps(pair, preset_name)
    with FlopCounterMode(display=False) as counter:
        theirs()
    return take_turns(ours, theirs, steps) | {
        "batch": pair.batch_size,
        "gflop": round(counter.get_total_flops() / 1e9, 2),
    }


def training_steps(pair: Pair, preset_name: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a step of ours and one of LeRobot's."""
    ours, theirs = pair.ours.train(), pair.theirs.train()
    train = preset(preset_name).train
    batch = make_batch(pair, pair.batch_size)
    given = lerobot_batch(batch)
    our_optimizer = make_optimizer(ours, train)
    their_optimizer = torch.optim.AdamW(theirs.get_optim_params(), lr=train.lr, weight_decay=train.weight_decay)

    def our_step() -> None:
        our_optimizer.zero_grad()
        act_loss(ours(batch, z="posterior"), batch, pair.config).loss.backward()
        gradient_norm(ours, 10.0)
        our_optimizer.step()

    def their_step() -> None:
        their_optimizer.zero_grad()
        theirs.forward(given)[0].backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 10.0)
        their_optimizer.step()

    return our_step, their_step


def peak() -> dict[str, float]:
    """Return this processor's rates: GFLOP/s of products of 1024 x 1024, GB/s of copying 256 MB."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    big, other = torch.randn(1 << 26), torch.empty(1 << 26)

    def best(call: Callable[[], object]) -> float:
        spent = []
        for _ in range(7):
            begun = time.process_time()
            call()
            spent.append(time.process_time() - begun)
        return min(spent)

    rates = {"mkl_gflops": 2 * 1024**3 / best(lambda: a @ b) / 1e9}
    rates["onednn_gflops"] = (
        2 * 1024**3 / best(lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")) / 1e9
    )
    rates["copy_gb_s"] = 2 * big.numel() * 4 / best(lambda: other.copy_(big)) / 1e9
    return {name: round(value, 1) for name, value in rates.items()}


def memory_of(name: str, side: str, options: Options) -> float:
    """Return the largest memory [MB] of a process of its own that makes three training steps."""
    command = [sys.executable, __file__, "--memory-of", name, side, "--seed", str(options.seed)]
    command += ["--threads", str(options.threads)]
    return round(float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1]), 1)


def _print_memory(options: Options, name: str, side: str) -> None:
    pair = make_pair(name, options.seed)
    ours, theirs = training_steps(pair, name)
    for _ in range(3):
        (ours if side == "ours" else theirs)()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) / 1024)  # getrusage's would be the parent's where that is larger


def cpu_model() -> str:
    """Return the processor's name and the vector units that matter."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    units = [
        flag
        for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
        if flag in fields.get("flags", "")
    ]
    return f"{fields.get('model name', platform.machine())}, family {fields.get('cpu family', '?')}, {' '.join(units)}"


def main(options: Options) -> None:
    """Measure, print a table, and write it."""
    torch.set_num_threads(options.threads)
    if options.memory_of is not None:
        _print_memory(options, *options.memory_of)
        return
    keep_freed_memory()  # as `foreact train` does; both networks profit
    load = os.getloadavg()[0]
    rates = peak()
    fastest = max(rates["mkl_gflops"], rates["onednn_gflops"])
    print(f"{cpu_model()}: {rates}, load {load:.1f}")
    results: dict[str, Any] = {}
    for name in options.sizes:
        pair = make_pair(name, options.seed)
        of_bundles = bundles(pair, options.turns, options.threads, options.seed)
        for kind, of in of_bundles.items():
            low, high = of["ratio_from_to"]
            print(
                f"{name:<8} bundle {kind:<14} {of['ours_cpu_ms']:8.1f} ms  LeRobot {of['theirs_cpu_ms']:8.1f} ms  "
                f"ratio {of['ratio']:.2f} ({low:.2f} to {high:.2f}), goal {BUNDLE_GOALS[kind[:4]][name]}; "
                f"chunks differ by {of['difference']:.1e}",
                flush=True,
            )
        results[name] = {"bundle": of_bundles}
        if options.bundles_only:
            continue
        results[name] |= {"inference": inference(pair, options.turns), "training": training(pair, name, options.steps)}
        results[name]["memory_mb"] = {side: memory_of(name, side, options) for side in ("ours", "theirs")}
        for stage, goal in ((stage, GOALS[stage][name]) for stage in GOALS):
            of = results[name][stage]
            of["share_of_peak"] = {
                side: round(of["gflop"] / of[f"{side}_cpu_ms"] * 1000 / fastest / options.threads, 2)
                for side in ("ours", "theirs")
            }
            low, high = of["ratio_from_to"]
            print(
                f"{name:<8} {stage:<10} ours {of['ours_cpu_ms']:8.1f} ms  LeRobot {of['theirs_cpu_ms']:8.1f} ms  "
                f"ratio {of['ratio']:.2f} ({low:.2f} to {high:.2f}), goal {goal}; "
                f"share of peak {of['share_of_peak']['ours']:.0%} and {of['share_of_peak']['theirs']:.0%}"
            )
        print(f"{name:<8} memory of a training process: {results[name]['memory_mb']} MB", flush=True)
    versions = {
        "foreact": foreact.__version__,
        "lerobot": "0.6.1",
        "torch": torch.__version__,
        **{package: version(package) for package in ("onnxruntime", "openvino", "nncf")},
        "python": platform.python_version(),
    }
    machine = {
        "cpu": cpu_model(),
        "peak": rates,
        "onednn_for_products": ONEDNN_IS_FASTER,
        "threads": options.threads,
        "load_at_start": load,
        "freed_memory": "kept",
    }
    if options.out is not None:
        settings = {"turns": options.turns, "steps": options.steps, "seed": options.seed}
        goals = {**GOALS, "bundle": BUNDLE_GOALS}
        content = {"results": results, "goals": goals, "settings": settings, "versions": versions, "machine": machine}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
