"""What is met at every turn: a tick of the temporal ensemble, beside LeRobot's, and `foreact --help`.

    PYTHONPATH=src:runtime/src .venv-lerobot/bin/python benchmarks/odds.py --out benchmarks/results/odds.json

Both ensembles get the same new chunk at every tick, each as its own network gives it, and must say the same before a
time counts. `limited` is ours with position, velocity and jump limited, as a robot has it and LeRobot's has not. Both
sides' shares of the copy rate (peak.py) are those of a tick that read its new chunk once and did nothing else.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from lerobot.policies.act.modeling_act import ACTTemporalEnsembler
from peak import peak, share
from record import Record
from turns import spread, take_turns

from foreact_runtime.executor import Executor, TemporalEnsemble, make_executor
from foreact_runtime.limits import Limits
from foreact_runtime.records import Features
from foreact_runtime.settings import ExecutorSettings

CHUNKS = {20: 23, 100: 6}
"""Dimensions of the action by the chunk's size: those of r1pro and so101."""
COEFF = 0.01
SAME = 1e-5
"""Largest difference of two actions, which are about 1."""
GOALS = {"ensemble_ms": 0.1, "help_seconds": 1.0}
TICKS = 300
"""Of a turn."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    turns: int = 15
    starts: int = 5
    """Of `foreact --help`, after one that does not count."""
    python: Path = Path(".venv/bin/python")
    """The interpreter of foreact's own environment, whose `foreact --help` it is."""
    seed: int = 0
    out: Path | None = None
    """Write the figures here as JSON."""


def limited(chunk_size: int, dim: int) -> Executor:
    """Return our ensemble as a robot has it."""
    wide = (100.0,) * dim
    limits = Limits(lower=(-100.0,) * dim, upper=wide, velocity=wide, jump=wide)
    settings = ExecutorSettings(chunk_size=chunk_size, n_action_steps=1, temporal_ensemble_coeff=COEFF, limits=limits)
    return make_executor(settings, Features(action_names=tuple(f"a{i}" for i in range(dim)), fps=30))


def ensemble(chunk_size: int, dim: int, turns: int, seed: int, copy_gb_s: float) -> dict[str, Any]:
    """Measure a tick: a new chunk comes in, an action goes out."""
    chunks = np.random.default_rng(seed).normal(size=(TICKS, chunk_size, dim)).astype(np.float32)
    tensors = torch.from_numpy(chunks)[:, None]

    def ours(executor: Executor) -> list[np.ndarray]:
        executor.reset()
        actions = []
        for chunk in chunks:
            executor.add(chunk)
            actions.append(executor.next_action())
        return actions

    ensembler = ACTTemporalEnsembler(COEFF, chunk_size)

    def theirs() -> list[torch.Tensor]:
        ensembler.reset()
        return [ensembler.update(chunk) for chunk in tensors]

    plain, guarded = TemporalEnsemble(chunk_size, COEFF), limited(chunk_size, dim)
    with torch.inference_mode():
        difference = float(np.abs(np.stack(ours(plain)) - torch.cat(theirs()).numpy()).max())
        if not difference <= SAME:
            raise SystemExit(f"the actions of chunk {chunk_size} differ by {difference:.1e}: no time counts")
        figures = {
            name: take_turns(partial(ours, executor), theirs, turns, TICKS)
            for name, executor in (("plain", plain), ("limited", guarded))
        }
    for of in figures.values():
        of["share_of_copy_rate"] = {
            side: share(chunks[0].nbytes / 1e9, of[f"{side}_cpu_ms"] / 1e3, copy_gb_s) for side in ("ours", "theirs")
        }
    return {"dimensions": dim, "difference": difference, **figures}


def starts(call: Callable[[], object], n: int) -> list[float]:
    """Return the seconds that each of some calls takes, after one that does not count."""
    seconds = []
    for _ in range(n + 1):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return seconds[1:]


def main(options: Options) -> None:
    """Measure, print and write."""
    torch.set_num_threads(1)
    record = Record(seed=options.seed)
    rates = peak()
    results: dict[str, Any] = {"ensemble": {}}
    for chunk_size, dim in CHUNKS.items():
        results["ensemble"][chunk_size] = of = ensemble(
            chunk_size, dim, options.turns, options.seed, rates["copy_gb_s"]
        )
        for name in ("plain", "limited"):
            print(f"ensemble, chunk {chunk_size}, {name}: {of[name]}", flush=True)
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(options.python), "-m", "foreact.cli.main", "--help"]
    call = partial(subprocess.run, command, env=own, stdout=subprocess.DEVNULL, check=True)
    results["help_seconds"] = spread(starts(call, options.starts))
    print(f"foreact --help: {results['help_seconds']} s", flush=True)
    settings = {"turns": options.turns, "ticks": TICKS, "starts": options.starts, "coeff": COEFF}
    record.write(
        options.out, results=results, goals=GOALS, peak=rates, settings=settings, threads={"ours": 1, "LeRobot": 1}
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
