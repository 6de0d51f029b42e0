"""What a late network costs: success, jerk and stalls by the way of executing chunks, in simulation.

    python benchmarks/delay.py RUN --level L2 --episodes 200 --out benchmarks/results/delay.json

Chunks come 0, 100, 300 or 600 ms after their observation, always or by up to half more or less; time is simulated, so
the figures depend on no machine (src/foreact/sim/delayed.py). All ways see the same episodes. Stopped, it goes on
where it was. The table stands beside the JSON, as Markdown.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

import foreact
from foreact.intervals import wilson
from foreact.policy import policy as _imported_for_the_workers  # noqa: F401
from foreact.policy.checkpoint import MANIFEST, MODEL, find_checkpoint, load_policy
from foreact.policy.policy import Policy
from foreact.processes import WorkerPool
from foreact.sim import worker
from foreact.sim.delayed import Delay, DelayedEpisode, delayed_episode
from foreact.sim.env import PickPlaceEnv
from foreact.sim.rollout import task_for_policy
from foreact.sim.task import level
from foreact_runtime.settings import ExecutorSettings
from foreact_runtime.smoothness import jerk

MILLISECONDS = (0, 100, 300, 600)
JITTER = 0.5
ARM = slice(0, 5)
"""The joints whose jerk counts: all but the gripper, which is to snap."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    run: Annotated[Path, tyro.conf.Positional]
    """A run or a checkpoint directory."""
    level: str = "L2"
    episodes: int = 200
    seed: int = 10000
    """Of the first episode."""
    ensemble: float = 0.01
    """Coefficient of the two ways that average."""
    workers: int = 1
    out: Path = Path("benchmarks/results/delay.json")


def ways(policy: Policy, coeff: float) -> dict[str, ExecutorSettings]:
    """Return the ways of executing chunks by name, the policy's own queue first."""
    loaded = policy.executor_settings
    quiet = replace(loaded.alarm, action="off")
    queue = replace(loaded, temporal_ensemble_coeff=None, asynchronous=False, blend_steps=0, alarm=quiet)
    ensemble = replace(queue, n_action_steps=1, temporal_ensemble_coeff=coeff)
    late = replace(queue, asynchronous=True, blend_steps=loaded.chunk_size // 2)
    return {
        "queue": queue,
        "temporal ensemble": ensemble,
        "asynchronous": late,
        "asynchronous, not blended": replace(late, blend_steps=0),
        "asynchronous + ensemble": replace(ensemble, asynchronous=True),
    }


def delays() -> dict[str, Delay]:
    """Return the delays by name."""
    fixed = {f"{ms} ms": Delay(seconds=ms / 1000) for ms in MILLISECONDS}
    spread = {f"{ms} ms ± {JITTER:.0%}": Delay(seconds=ms / 1000, jitter=JITTER) for ms in MILLISECONDS if ms}
    return {**fixed, **spread}


@cache
def _env() -> PickPlaceEnv:
    return PickPlaceEnv(replace(worker.task(), cameras=()))


def _play(job: tuple[int, Delay, ExecutorSettings]) -> DelayedEpisode:
    seed, delay, settings = job
    return delayed_episode(worker.policy(), _env(), worker.task(), seed, delay, settings)


def figures(episodes: Sequence[DelayedEpisode], fps: float) -> dict[str, Any]:
    """Return what one way and one delay came to."""
    jerks = [of for of in (jerk(e.result.actions[:, ARM], fps) for e in episodes) if len(of)]
    largest = [float(of.max()) for of in jerks]
    successes = sum(e.result.success for e in episodes)
    low, high = wilson(successes, len(episodes))

    def mean(values: Sequence[float]) -> float:
        return round(float(np.mean(values)), 2)

    return {
        "episodes": len(episodes),
        "successes": successes,
        "success_rate": round(successes / len(episodes), 4),
        "wilson_95": [round(low, 4), round(high, 4)],
        "jerk_mean": mean([float(of.mean()) for of in jerks]),
        "jerk_max": mean(largest),
        "jerk_largest": round(max(largest), 1),
        "stalls": mean([e.stalls for e in episodes]),
        "chunks": mean([e.chunks for e in episodes]),
        "steps": mean([e.result.steps for e in episodes]),
        "limited_ticks": sum(e.result.limited for e in episodes),
        "unreachable_ticks": sum(e.result.unreachable for e in episodes),
    }


def markdown(content: dict[str, Any]) -> str:
    """Return the table and what became of the two goals."""
    settings, results = content["settings"], content["results"]
    lines = [
        f"`{settings['run']}` (weights {settings['weights']}), {settings['level']}, {settings['episodes']} episodes a "
        f"row from seed {settings['seed']}, {settings['fps']:g} Hz. Jerk of the arm's commands [rad/s³]: mean, and the "
        "mean over episodes of each one's maximum. Stalls are ticks an episode in which the arm was held for want of "
        "an action.",
        "",
        "| delay | execution | success | 95 % | mean jerk | maximum jerk | stalls | chunks |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for delay, of in results.items():
        for way, at in of.items():
            low, high = at["wilson_95"]
            lines.append(
                f"| {delay} | {way} | {at['success_rate']:.1%} | {low:.0%} to {high:.0%} | {at['jerk_mean']:.0f} "
                f"| {at['jerk_max']:.0f} | {at['stalls']:.1f} | {at['chunks']:.1f} |"
            )
    at_once, late = results.get("0 ms", {}), results.get("300 ms", {})
    if "asynchronous" in at_once and {"queue", "asynchronous"} <= late.keys():
        best = max(of["success_rate"] for of in (at_once["queue"], at_once["asynchronous"]))
        kept = late["asynchronous"]["success_rate"] / max(best, 1e-9)
        share = late["asynchronous"]["jerk_max"] / late["queue"]["jerk_max"]
        lines += [
            "",
            f"Asynchronous at 300 ms keeps {kept:.0%} of the success at 0 ms (of its own or the queue's, "
            f"whichever is more); its maximum jerk is {share:.0%} of the "
            "plain queue's.",
        ]
    return "\n".join(lines) + "\n"


def main(options: Options) -> None:
    """Play what is missing, one way and one delay after the other, and write after each."""
    directory = find_checkpoint(options.run)
    policy = load_policy(directory)
    task = task_for_policy(level(options.level), policy)
    settings = {
        "run": "/".join(options.run.parts[-2:]),
        "weights": json.loads((directory / MANIFEST).read_text())["sha256"][MODEL][:12],
        "level": options.level,
        "episodes": options.episodes,
        "seed": options.seed,
        "ensemble": options.ensemble,
        "jitter": JITTER,
        "fps": task.fps,
        "executors": {name: asdict(of) for name, of in ways(policy, options.ensemble).items()},
    }
    content: dict[str, Any] = {"settings": json.loads(json.dumps(settings)), "results": {}}
    if options.out.exists():
        before = json.loads(options.out.read_text())
        if before["settings"] != content["settings"]:
            raise SystemExit(f"'{options.out}' was measured with other settings; choose another --out or remove it")
        content["results"] = before["results"]
    content["versions"] = {"foreact": foreact.__version__, "torch": torch.__version__}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    seeds = range(options.seed, options.seed + options.episodes)
    pool = WorkerPool(options.workers, worker.begin, (pickle.dumps(policy), task), preload=("foreact.sim.delayed",))
    with pool:
        for delay_name, delay in delays().items():
            for name, of in ways(policy, options.ensemble).items():
                if name in content["results"].setdefault(delay_name, {}):
                    continue
                at = figures(list(pool.map(_play, [(seed, delay, of) for seed in seeds])), task.fps)
                content["results"][delay_name][name] = at
                _write(options.out, json.dumps(content, indent=2) + "\n")
                print(f"{delay_name:<16}{name:<28}{at['success_rate']:.0%}  {at}", flush=True)
    _write(options.out.with_suffix(".md"), markdown(content))


def _write(path: Path, text: str) -> None:
    """All of it or nothing, so that a killed run leaves what it had."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text)
    os.replace(temporary, path)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
