"""The scripted expert on the seeds of an evaluation: what can be reached at all. Needs no deep-learning library."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from foreact.processes import WorkerPool
from foreact.sim.env import PickPlaceEnv
from foreact.sim.episode import EpisodeResult, episode_progress, episode_result
from foreact.sim.expert import Expert
from foreact.sim.task import TaskConfig


def rollout_expert(task: TaskConfig, seeds: Sequence[int], *, n_processes: int | None = None) -> list[EpisodeResult]:
    """Run the scripted expert, which sees the true state, on the same seeds: what can be reached at all."""
    blind = replace(task, cameras=())  # it needs no pictures, and they would cost most of the time
    n_processes = min(n_processes or os.cpu_count() or 1, len(seeds))
    with (
        WorkerPool(n_processes) as pool,
        episode_progress("expert", len(seeds)) as advance,
    ):
        results = []
        for result in pool.map(partial(_expert_episode, blind), seeds):
            results.append(result)
            advance(result)
    return results


def _expert_episode(task: TaskConfig, seed: int) -> EpisodeResult:
    env = PickPlaceEnv(task)
    env.reset(seed=seed)
    expert = Expert(env)
    expert.reset()
    actions: list[np.ndarray] = []
    while True:
        actions.append(expert.act())
        _, _, terminated, truncated, info = env.step(actions[-1])
        if terminated or truncated:
            env.close()
            return episode_result(seed, info, np.stack(actions), task.fps)
