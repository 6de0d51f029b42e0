"""CPU time of ACT beside LeRobot's with the same weights: an action chunk at batch 1, and a training step.

    make bench     # LeRobot's environment comes from `make test-lerobot`

Both networks live in one process and take turns, so that a busy machine slows both; the ratio is taken turn by turn.
CPU time is that of the process, to which waiting for other processes adds nothing. No time counts before both have
given the same chunk for the same input, and the same loss where it is a training step's. Beside each figure stand its
shares of the fastest that this processor was seen to do in the same run (peak.py): of the matrix rate, FLOPs of
LeRobot's network by PyTorch's counter; of the copy rate, at batch 1, every weight that inference needs, read once.

Memory is that of processes of their own that make training steps of one network, ours with freed memory kept as
`foreact train` does.

`compact` has a ResNet-18 here in place of the preset's small network, which LeRobot does not have.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import tyro
from bundle_files import as_batch, make_frame, write_networks
from lerobot_twin import SIZES, Pair, lerobot_batch, make_batch, make_pair
from peak import matrix_rate, peak, share
from record import Record, processor
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from turns import spread, take_turns

from foreact.config import PolicyConfig
from foreact.memory import keep_freed_memory
from foreact.model.act import ACT
from foreact.model.linear import ONEDNN_IS_FASTER
from foreact.model.losses import act_loss
from foreact.presets import preset
from foreact.records import Batch
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
PROBE = {"compact": 54, "r1pro": 350, "so101": 1010}
"""The least milliseconds of LeRobot's chunk in the probe that the goals come from."""
SAME = 1e-5
"""Largest difference of a normalised chunk, and of a loss relative to itself."""
GRADIENTS = "tests_lerobot/test_act_parity.py::test_losses_and_gradients_in_training_are_the_same"
"""Where the gradients of both are compared, too."""
MEMORY_STEPS = 3
"""Of a process whose memory is measured."""
Side = Literal["ours", "theirs"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    sizes: tuple[str, ...] = tuple(SIZES)
    turns: int = 15
    """Of inference, each after one that does not count."""
    steps: int = 5
    """Of training."""
    memory: int = 3
    """Processes of each side whose memory is measured."""
    threads: int = 1
    seed: int = 0
    out: Path | None = None
    """Write the figures here as JSON."""
    bundles_only: bool = False
    """Leave eager PyTorch and training out."""
    memory_of: tuple[str, Side] | None = None
    """Only print the largest memory [MB] of a process that makes training steps of one size with one network."""


def inference(pair: Pair, turns: int) -> dict[str, Any]:
    """Measure a chunk at batch 1."""
    ours, theirs = pair.ours.eval().folded(), pair.theirs.eval()
    batch = make_batch(pair, 1)
    given = lerobot_batch(batch)
    with torch.inference_mode():
        difference = (ours(batch).action_hat - theirs.predict_action_chunk(given)).abs().max().item()
        check_same("chunks", difference)
        measured = take_turns(lambda: ours(batch), lambda: theirs.predict_action_chunk(given), turns)
    return measured | {"difference": difference}


def check_same(what: str, difference: float) -> None:
    """Refuse to go on where both sides differ, or where anything is not a number."""
    if not difference <= SAME:
        raise SystemExit(f"the {what} differ by {difference:.1e}: no time counts")


def cost_of_a_chunk(pair: Pair) -> tuple[float, int]:
    """Return the FLOPs of LeRobot's network at batch 1, and how many weights inference needs."""
    given = lerobot_batch(make_batch(pair, 1))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        pair.theirs.eval().predict_action_chunk(given)
    parts = pair.ours.named_parameters()
    return counter.get_total_flops(), sum(of.numel() for name, of in parts if not name.startswith("vae_encoder."))


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
            if name.startswith("fp32"):
                check_same(f"chunks of {name}", difference)
            turn = partial(network, frame)
            measured[name] = take_turns(turn, lambda: theirs.predict_action_chunk(given), turns)
            measured[name]["difference"] = difference
    return measured


def training(pair: Pair, preset_name: str, steps: int, seed: int) -> dict[str, Any]:
    """Measure a step: forward, loss, backward, clipping, AdamW; each as its own trainer makes it."""
    difference = difference_of_losses(preset_name, seed)
    check_same("losses", difference)
    ours, theirs = (training_step(pair, preset_name, side) for side in get_args(Side))
    with FlopCounterMode(display=False) as counter:
        theirs()
    return take_turns(ours, theirs, steps) | {
        "batch": pair.batch_size,
        "flop": counter.get_total_flops(),
        "difference_of_losses": difference,
        "gradients_compared_by": GRADIENTS,
    }


def difference_of_losses(preset_name: str, seed: int) -> float:
    """Return how far the losses of a batch differ, relative to LeRobot's, without dropout and with one noise."""
    pair = make_pair(preset_name, seed, dropout=0.0)
    batch = make_batch(pair, pair.batch_size)
    with torch.no_grad():
        torch.manual_seed(seed)
        theirs = pair.theirs.train().forward(lerobot_batch(batch))[0].item()
        torch.manual_seed(seed)
        ours = our_loss(pair.ours.train(), batch, pair.config).item()
    return abs(ours / theirs - 1)


def our_loss(ours: ACT, batch: Batch, config: PolicyConfig, *, mixed: bool = False) -> Tensor:
    """Return the loss of a training step; mixed: computed in bfloat16 autocast."""
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        return act_loss(ours(batch, z="posterior"), batch, config).loss


def training_step(pair: Pair, preset_name: str, side: Side, *, mixed: bool = False) -> Callable[[], None]:
    """Return a step of one side, which keeps nothing of the other; mixed: forward and loss in bfloat16 autocast."""
    config, train = pair.config, preset(preset_name).train
    batch = make_batch(pair, pair.batch_size)
    if side == "ours":
        ours = pair.ours.train()
        our_optimizer = make_optimizer(ours, train)

        def our_step() -> None:
            our_optimizer.zero_grad()
            our_loss(ours, batch, config, mixed=mixed).backward()
            gradient_norm(ours, 10.0)
            our_optimizer.step()

        return our_step
    theirs, given = pair.theirs.train(), lerobot_batch(batch)
    their_optimizer = torch.optim.AdamW(theirs.get_optim_params(), lr=train.lr, weight_decay=train.weight_decay)

    def their_step() -> None:
        their_optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = theirs.forward(given)[0]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 10.0)
        their_optimizer.step()

    return their_step


def memory_of(name: str, side: Side, options: Options) -> dict[str, float]:
    """Return the largest memory [MB] of processes of their own that make training steps."""
    command = [sys.executable, __file__, "--memory-of", name, side, "--seed", str(options.seed)]
    command += ["--threads", str(options.threads)]
    found = [
        float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1])
        for _ in range(options.memory)
    ]
    return spread(found, 1)


def _print_memory(name: str, side: Side, seed: int) -> None:
    if side == "ours":
        keep_freed_memory()
    step = training_step(make_pair(name, seed), name, side)
    for _ in range(MEMORY_STEPS):
        step()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) / 1024)  # getrusage's would be the parent's where that is larger


def with_shares(of: dict[str, Any], rates: dict[str, float], flop: float, weights: int = 0, precision: str = "fp32"
                ) -> dict[str, Any]:  # fmt: skip
    """Return a stage's figures with both sides' shares of this processor's rates, all for one thread.

    Args:
        of: The figures.
        rates: Of `peak`.
        flop: LeRobot's, of one call.
        weights: How many are read, where that is known.
        precision: Of ours; LeRobot's is fp32.
    """
    seconds = {"ours": of["ours_cpu_ms"] / 1000, "theirs": of["theirs_cpu_ms"] / 1000}
    kinds = {"ours": precision, "theirs": "fp32"}
    copied = rates["copy_gb_s"] * 1e9
    shares: dict[str, Any] = {
        "share_of_matrix_rate": {
            side: share(flop / 1e9, seconds[side], matrix_rate(rates, kind)) for side, kind in kinds.items()
        }
    }
    if weights:
        sizes = {side: weights * (1 if kind == "int8" else 4) for side, kind in kinds.items()}
        shares["share_of_copy_rate"] = {side: share(size, seconds[side], copied) for side, size in sizes.items()}
    return of | shares


def said(name: str, what: str, of: dict[str, Any], goal: float) -> str:
    """Return a line for whoever waits."""
    low, high = of["ratio_from_to"]
    return (
        f"{name:<8} {what:<21} {of['ours_cpu_ms']:8.1f} ms  LeRobot {of['theirs_cpu_ms']:8.1f} ms  "
        f"ratio {of['ratio']:.2f} ({low:.2f} to {high:.2f}), goal {goal}; of the matrix rate "
        f"{of['share_of_matrix_rate']['ours']} and {of['share_of_matrix_rate']['theirs']}"
    )


def main(options: Options) -> None:
    """Measure, print a line a figure, and write them."""
    torch.set_num_threads(options.threads)
    if options.memory_of is not None:
        _print_memory(*options.memory_of, options.seed)
        return
    keep_freed_memory()  # as `foreact train` does; here both networks profit
    record = Record(seed=options.seed)
    rates = peak()
    print(f"{processor()['cpu']}: {rates}")
    results: dict[str, Any] = {}
    for name in options.sizes:
        pair = make_pair(name, options.seed)
        flop, weights = cost_of_a_chunk(pair)
        results[name] = of = {"weights": weights, "flop_of_a_chunk": flop, "bundle": {}}
        for kind, figures in bundles(pair, options.turns, options.threads, options.seed).items():
            precision = kind.split()[0]
            of["bundle"][kind] = with_shares(figures, rates, flop, weights, precision)
            print(said(name, f"bundle {kind}", of["bundle"][kind], BUNDLE_GOALS[precision][name]), flush=True)
        if options.bundles_only:
            continue
        of["inference"] = with_shares(inference(pair, options.turns), rates, flop, weights)
        print(said(name, "inference", of["inference"], GOALS["inference"][name]), flush=True)
        step = training(pair, name, options.steps, options.seed)
        of["training"] = with_shares(step, rates, step["flop"])
        print(said(name, "training", of["training"], GOALS["training"][name]), flush=True)
        del pair
        of["memory_mb"] = {side: memory_of(name, side, options) for side in get_args(Side)}
        print(f"{name:<8} memory of a training process: {of['memory_mb']} MB", flush=True)
    record.write(
        options.out,
        results=results,
        goals={**GOALS, "bundle": BUNDLE_GOALS},
        probe_ms=PROBE,
        peak=rates,
        settings={
            "turns": options.turns,
            "steps": options.steps,
            "memory_processes": options.memory,
            "memory_steps": MEMORY_STEPS,
            "onednn_for_products": ONEDNN_IS_FASTER,
        },
        threads={"ours": options.threads, "LeRobot": options.threads},
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
