"""Episodes a minute of `rollout` beside a loop that renders, infers and steps one environment at a time.

    python benchmarks/evaluation_speed.py --out benchmarks/results/evaluation_speed.json

Both run the same seeds with the same policy and take turns; its weights are untrained, for an arm that misses uses all
of its ticks. The start of the simulating processes counts. The plain loop renders every camera at every tick, as a
gymnasium environment does, and may use all cores for inference.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro
from inference import untrained_policy

import foreact
from foreact.policy.policy import Policy
from foreact.presets import preset
from foreact.records import Camera, Features
from foreact.sim.env import PickPlaceEnv
from foreact.sim.rollout import rollout
from foreact.sim.scene import ACTION_NAMES
from foreact.sim.task import TaskConfig, level

SIZE = (96, 96)
GOAL = 3.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    preset: str = "compact"
    episodes: int = 100
    """Of a turn."""
    turns: int = 3
    threads: int = os.cpu_count() or 1
    out: Path | None = None
    """Write the figures here as JSON."""


def features_of(task: TaskConfig) -> Features:
    """Return what a policy is told of this task, with both cameras."""
    return Features(
        action_names=ACTION_NAMES,
        state_names=ACTION_NAMES,
        environment_names=("target_x", "target_y"),
        cameras=tuple(Camera(name=camera, height=SIZE[0], width=SIZE[1]) for camera in task.cameras),
        fps=task.fps,
    )


def one_at_a_time(policy: Policy, task: TaskConfig, seeds: range) -> None:
    """Render, infer, step, one environment after the other."""
    env = PickPlaceEnv(task)
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        policy.reset()
        over = False
        while not over:
            observation, _, terminated, truncated, _ = env.step(policy.act(observation))
            over = terminated or truncated
    env.close()


def main(options: Options) -> None:
    """Measure, print and write."""
    torch.set_num_threads(options.threads)
    task = level("L2", overhead_size=SIZE, wrist_size=SIZE)
    policy = untrained_policy(preset(options.preset).policy, features_of(task))
    load = os.getloadavg()[0]
    seconds: dict[str, list[float]] = {"ours": [], "one at a time": []}
    for turn in range(options.turns + 1):  # the first does not count
        seeds = range(1000 * turn, 1000 * turn + options.episodes)
        for name, call in (("ours", rollout), ("one at a time", one_at_a_time)):
            begun = time.perf_counter()
            call(policy, task, seeds)
            if turn > 0:
                seconds[name].append(time.perf_counter() - begun)
    ratios = [slow / fast for slow, fast in zip(seconds["one at a time"], seconds["ours"], strict=True)]
    results = {
        "episodes_a_minute": {
            name: round(60 * options.episodes / statistics.median(of), 1) for name, of in seconds.items()
        },
        "ratio": round(statistics.median(ratios), 2),
        "ratio_from_to": [round(min(ratios), 2), round(max(ratios), 2)],
        "goal": GOAL,
    }
    print(results)
    if options.out is not None:
        settings = {key: str(value) for key, value in asdict(options).items() if key != "out"}
        versions = {"foreact": foreact.__version__, "torch": torch.__version__, "python": platform.python_version()}
        machine = {"cores": os.cpu_count(), "load_at_start": load}
        content = {"results": results, "settings": settings, "versions": versions, "machine": machine}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
