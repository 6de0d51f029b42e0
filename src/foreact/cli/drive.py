"""`foreact drive L2 --server URL`: a simulated robot in real time, driven by a policy server."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from foreact.cli.options import parse
from foreact.errors import ConfigError
from foreact.sim.task import level, task_for_features

if TYPE_CHECKING:
    from foreact.sim.drive import Drive


@dataclass(frozen=True, kw_only=True)
class DriveOptions:
    """Try the whole path of a deployment: a simulated SO-101 with its own clock asks a policy server for its actions.

    Where an action is late, the one before is held for that tick, and the tick is counted.
    """

    env: Annotated[str, tyro.conf.Positional]
    """Difficulty of the simulation: L0, L1, L2 or L3."""
    server: str = "ws://127.0.0.1:8000"
    """Where `foreact serve` runs."""
    api_key_file: Path | None = None
    """A file whose first line is the server's key."""
    episodes: int = 10
    """One seed each."""
    seed: int = 10000
    """Seed of the first episode; each further one takes the next."""
    executor: str = "server"
    """`server` asks every tick, so that the server executes chunks as the policy was trained to; a number asks for that
    many actions and executes them here before it asks again."""
    as_fast_as_possible: bool = False
    """Wait for each action instead of keeping the rate."""
    json: Path | None = None
    """Write what was measured here."""


def run(arguments: list[str]) -> int:
    """Parse, drive, print and return 0."""
    options = parse(DriveOptions, arguments, command="drive")
    task = level(options.env)
    n_ahead = _n_ahead(options.executor)
    if options.episodes < 1:
        raise ConfigError(f"--episodes is {options.episodes}; it must be at least 1")

    from foreact.sim.drive import drive
    from foreact_runtime.serve.client import PolicyClient
    from foreact_runtime.serve.command import read_api_key

    key = None if options.api_key_file is None else read_api_key(options.api_key_file)
    with PolicyClient(options.server, api_key=key) as client:
        task = task_for_features(task, client.features)
        seeds = range(options.seed, options.seed + options.episodes)
        real_time = not options.as_fast_as_possible
        if n_ahead is None and not real_time and client.metadata.get("clock") == "wall":
            raise ConfigError(
                f"the policy at '{options.server}' is asynchronous, by the clock on the wall, which "
                "--as-fast-as-possible does not keep; start its server with --clock calls, or leave the option out"
            )
        if n_ahead is None:
            driven = drive(lambda seen: client.act(seen)[None], task, seeds, begin=client.reset, real_time=real_time)
        else:
            driven = drive(lambda seen: client.act_ahead(seen, n_ahead), task, seeds, real_time=real_time)
    figures = _figures(driven, task.fps)
    _print(driven, figures, options)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        settings = {name: str(value) for name, value in asdict(options).items()}
        options.json.write_text(json.dumps({"settings": settings, **figures}, indent=2) + "\n")
    return 0


def _n_ahead(executor: str) -> int | None:
    if executor == "server":
        return None
    if not executor.isdigit() or executor == "0":
        raise ConfigError(f"--executor is '{executor}'; it must be server, or a number of actions from 1 on")
    return int(executor)


def _figures(driven: Drive, fps: float) -> dict[str, Any]:
    import numpy as np

    p50, p99 = np.percentile(driven.latencies_ms, (50, 99)).tolist()
    return {
        "episodes": len(driven.episodes),
        "successes": sum(episode.success for episode in driven.episodes),
        "ticks": driven.ticks,
        "late_ticks": driven.late,
        "overruns": driven.overrun,
        "wanted_hz": fps,
        "achieved_hz": driven.rate,
        "latency_p50_ms": p50,
        "latency_p99_ms": p99,
    }


def _print(driven: Drive, figures: dict[str, Any], options: DriveOptions) -> None:
    from foreact.console import out
    from foreact.sim.evaluation import Evaluation

    success = Evaluation(name="server", episodes=driven.episodes).rate_text()
    wanted = "as fast as possible" if options.as_fast_as_possible else f"wanted {figures['wanted_hz']:g} Hz"
    out.print(f"{options.env} over {options.server}: success {success}")
    out.print(f"rate       {figures['achieved_hz']:.2f} Hz, {wanted}")
    out.print(f"latency    p50 {figures['latency_p50_ms']:.1f} ms, p99 {figures['latency_p99_ms']:.1f} ms")
    out.print(f"late ticks {driven.late} of {driven.ticks}; the action before was held")
    if driven.overrun:
        out.print(f"the simulation itself was too slow {driven.overrun} times; its clock began anew each time")
