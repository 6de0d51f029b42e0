"""A training step in bfloat16 (`train.precision` bf16-mixed) on this processor, beside LeRobot's in both precisions.

    PYTHONPATH=src:runtime/src .venv-lerobot/bin/python benchmarks/bf16.py --out benchmarks/results/bf16.json

Networks, batches and turns are those of speed.py. What the precision costs in value stands beside the time: how far the
loss is from float32's, and the cosine of both gradients, without dropout and with one noise. What it costs in success
is measured by `benchmarks/faithfulness.py --only pictures pictures-bf16`. Where a processor emulates bfloat16,
`foreact train` refuses it, and nothing is measured here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from lerobot_twin import SIZES, Pair, make_batch, make_pair
from record import Record
from speed import check_same, difference_of_losses, our_loss, training_step
from turns import take_turns

from foreact.memory import keep_freed_memory
from foreact.processor import has_bf16_units
from foreact.records import Batch


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    sizes: tuple[str, ...] = tuple(SIZES)
    steps: int = 5
    threads: int = 1
    seed: int = 0
    out: Path | None = None
    """Write the figures here as JSON."""


def cost_in_value(name: str, seed: int) -> dict[str, float]:
    """Return how far loss and gradient are from float32's."""
    pair = make_pair(name, seed, dropout=0.0)
    batch = make_batch(pair, pair.batch_size)
    exact, gradient = _loss_and_gradient(pair, batch, seed, mixed=False)
    loss, mixed = _loss_and_gradient(pair, batch, seed, mixed=True)
    return {
        "loss": abs(loss / exact - 1),
        "cosine_of_gradients": torch.nn.functional.cosine_similarity(gradient.double(), mixed.double(), dim=0).item(),
    }


def _loss_and_gradient(pair: Pair, batch: Batch, seed: int, *, mixed: bool) -> tuple[float, torch.Tensor]:
    network = pair.ours.train()
    network.zero_grad()
    torch.manual_seed(seed)
    loss = our_loss(network, batch, pair.config, mixed=mixed)
    loss.backward()
    return loss.item(), torch.cat([of.grad.flatten() for of in network.parameters() if of.grad is not None])


def main(options: Options) -> None:
    """Measure, print a line a figure, and write them."""
    if not has_bf16_units():
        print("this processor has no units for bfloat16: foreact train refuses it, and there is nothing to measure")
        return
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    record = Record(seed=options.seed)
    results: dict[str, Any] = {}
    for name in options.sizes:
        check_same("losses", difference_of_losses(name, options.seed))
        pair = make_pair(name, options.seed)
        ours = training_step(pair, name, "ours", mixed=True)
        plain, mixed = (training_step(pair, name, "theirs", mixed=of) for of in (False, True))
        results[name] = {
            "batch": pair.batch_size,
            "beside fp32": take_turns(ours, plain, options.steps),
            "beside bf16": take_turns(ours, mixed, options.steps),
            "error": cost_in_value(name, options.seed),
        }
        print(f"{name:<8} {results[name]}", flush=True)
    threads = {"ours": options.threads, "LeRobot": options.threads}
    record.write(options.out, results=results, settings={"steps": options.steps}, threads=threads)


if __name__ == "__main__":
    main(tyro.cli(Options))
