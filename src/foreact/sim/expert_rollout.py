"""The scripted expert on the seeds of an evaluation: what can be reached at all. Needs no deep-learning library."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import cache, partial

import numpy as np

from foreact.errors import SimulationError
from foreact.processes import WorkerPool
from foreact.sim.env import PickPlaceEnv
from foreact.sim.episode import EpisodeResult, episode_progress, episode_result
from foreact.sim.expert import Expert
from foreact.sim.task import TaskConfig
from foreact.threads import cores


def rollout_expert(task: TaskConfig, seeds: Sequence[int], *, n_processes: int | None = None) -> list[EpisodeResult]:
    """Run the scripted expert, which sees the true state, on the same seeds: what can be reached at all.

    Raises:
        SimulationError: If a process was killed.
    """
    blind = replace(task, cameras=())  # it needs no pictures, and they would cost most of the time
    n_processes = max(1, min(n_processes or cores(), len(seeds)))
    results = []
    try:
        with WorkerPool(n_processes) as pool, episode_progress("expert", len(seeds)) as advance:
            for result in pool.map(partial(_expert_episode, blind), seeds):
                results.append(result)
                advance(result)
    except BrokenProcessPool as error:
        raise SimulationError("a simulating process was killed, perhaps for memory; try fewer --envs") from error
    return results


@cache
def _env(task: TaskConfig) -> PickPlaceEnv:
    """Kept between a worker's episodes: to build the scene takes longer than to play one."""
    return PickPlaceEnv(task)


def _expert_episode(task: TaskConfig, seed: int) -> EpisodeResult:
    env = _env(task)
    env.reset(seed=seed)
    expert = Expert(env)
    expert.reset()
    actions: list[np.ndarray] = []
    while True:
        actions.append(expert.act())
        _, _, terminated, truncated, info = env.step(actions[-1])
        if terminated or truncated:
            return episode_result(seed, info, np.stack(actions), task.fps)
