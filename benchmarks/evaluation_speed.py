"""Episodes a minute of `rollout` beside a loop that renders, infers and steps one environment at a time.

    python benchmarks/evaluation_speed.py --out benchmarks/results/evaluation_speed.json

Both run the same seeds with the same policy and take turns; its weights are untrained, for an arm that misses uses all
of its ticks. The start of the simulating processes counts; what only the first call in a process does, to import
PyTorch for all that follow, is told apart. The plain loop renders every camera at every tick, as a gymnasium
environment does, and may use all cores for inference.

Beside wall time stands processor time, of this process and all it started: on a busy machine the one says how the
cores were shared out, the other still how much work there was; and the share of all cores' fastest matrix product
(peak.py) that the network's own FLOPs are: the rest is physics and pictures. Linux only.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from inference import untrained_policy
from peak import matrix_rate, peak, share
from record import Record, cpu_of_tree
from torch.utils.flop_counter import FlopCounterMode

from foreact.policy.policy import Policy
from foreact.presets import preset
from foreact.records import Camera, Features
from foreact.sim.env import PickPlaceEnv
from foreact.sim.rollout import rollout
from foreact.sim.scene import ACTION_NAMES
from foreact.sim.task import TaskConfig, level
from foreact.threads import cores
from foreact.train.cost import ONEDNN_FLOPS

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


def spent(call: Callable[[], object]) -> tuple[float, float]:
    """Return the wall and the processor time of a call [s]."""
    wall, cpu = time.perf_counter(), cpu_of_tree(os.getpid())
    call()
    return time.perf_counter() - wall, cpu_of_tree(os.getpid()) - cpu


def compared(ours: list[float], plain: list[float]) -> dict[str, Any]:
    """Return how many times as long the plain loop takes: the median of the turns, the least and the most."""
    ratios = [slow / fast for slow, fast in zip(plain, ours, strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 2),
        "ratio_from_to": [round(min(ratios), 2), round(max(ratios), 2)],
    }


def flop_of_an_episode(policy: Policy, task: TaskConfig) -> int:
    """Return what the network computes in one, oneDNN's products included, which PyTorch does not count."""
    with FlopCounterMode(display=False, custom_mapping=dict(ONEDNN_FLOPS)) as counter:
        one_at_a_time(policy, task, range(1))
    return counter.get_total_flops()


def main(options: Options) -> None:
    """Measure, print and write."""
    torch.set_num_threads(cores())
    rates = peak()
    torch.set_num_threads(options.threads)
    task = level("L2", overhead_size=SIZE, wrist_size=SIZE)
    policy = untrained_policy(preset(options.preset).policy, features_of(task))
    policy.predictor.requires_grad_(False)  # PyTorch's counter of FLOPs wants it
    record = Record(seed=0)
    wall: dict[str, list[float]] = {"ours": [], "one at a time": []}
    cpu: dict[str, list[float]] = {name: [] for name in wall}
    for turn in range(options.turns + 1):
        seeds = range(1000 * turn, 1000 * turn + options.episodes)
        for name, play in (("ours", rollout), ("one at a time", one_at_a_time)):
            for of, seconds in zip((wall, cpu), spent(partial(play, policy, task, seeds)), strict=True):
                of[name].append(seconds)
    first = {name: round(60 * options.episodes / of.pop(0), 1) for name, of in wall.items()}
    first_cpu = {name: round(of.pop(0) / options.episodes, 3) for name, of in cpu.items()}
    flop = flop_of_an_episode(policy, task)
    results = {
        "wall": {
            "episodes_a_minute": {
                name: round(60 * options.episodes / statistics.median(of), 1) for name, of in wall.items()
            },
            "share_of_matrix_rate": {
                name: share(flop * options.episodes / 1e9, statistics.median(of), matrix_rate(rates))
                for name, of in wall.items()
            },
            **compared(wall["ours"], wall["one at a time"]),
        },
        "cpu": {
            "seconds_an_episode": {
                name: round(statistics.median(of) / options.episodes, 3) for name, of in cpu.items()
            },
            **compared(cpu["ours"], cpu["one at a time"]),
        },
        "first_call": {"episodes_a_minute": first, "cpu_seconds_an_episode": first_cpu},
        "goal": GOAL,
    }
    print(results)
    settings = {"preset": options.preset, "episodes": options.episodes, "turns": options.turns, "level": "L2"}
    threads = {"ours": options.threads, "one at a time": options.threads}
    record.write(options.out, results=results, flop_of_an_episode=flop, peak=rates, settings=settings, threads=threads)


if __name__ == "__main__":
    main(tyro.cli(Options))
