"""Closed loop: a policy acts in the simulation, and each episode ends in one outcome."""

from __future__ import annotations

import pickle
from collections.abc import Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import cache
from typing import Protocol

import numpy as np

from foreact.errors import ConfigError, SimulationError, UnreachableError
from foreact.processes import WorkerPool
from foreact.records import Features
from foreact.sim import worker
from foreact.sim.env import PickPlaceEnv
from foreact.sim.episode import EpisodeResult, episode_progress, episode_result
from foreact.sim.rendering import SceneRenderer
from foreact.sim.task import TaskConfig, task_for_features
from foreact.sim.unit import check_radians
from foreact.threads import cores
from foreact_runtime.controller import measured_action
from foreact_runtime.executor import Executor, LimitedActions
from foreact_runtime.keys import STATE, image_key
from foreact_runtime.observation import Observation, read_vectors

_SIDE_BY_SIDE = 4
"""Episodes that a worker plays together, so that the network answers them together. On one core the preset `compact`
takes 6.8 ms for one observation, 3.6 ms each for four and 3.4 ms each for eight."""


class ActingPolicy(Protocol):
    """What `rollout` asks of a policy. `Policy` is one.

    It must pickle, for every worker process acts with a copy. One that holds what cannot be copied, like a process of
    its own, pickles as a call that makes another (`__reduce__`).
    """

    @property
    def features(self) -> Features:
        """Names of actions and state, cameras and rate that it was trained on."""
        ...

    def reset(self) -> None:
        """Begin anew: what is drawn at random from here on does not depend on what was drawn before."""
        ...

    def make_executor(self) -> Executor:
        """Return what turns the chunks of one episode into actions."""
        ...

    def predict_chunks(self, observations: Sequence[Observation]) -> np.ndarray:
        """Return chunks (B, T, C) for the executors of B episodes, from their observations now."""
        ...


def rollout(
    policy: ActingPolicy, task: TaskConfig, seeds: Sequence[int], *, n_envs: int | None = None, name: str = "policy"
) -> list[EpisodeResult]:
    """Run one episode a seed, in processes that each have a copy of the policy and one core.

    The same policy, task and seeds give the same results, whatever `n_envs` is. Episodes are played four at a time in
    the order of their seeds, and the network answers those four together: a seed among other neighbours may come out
    differently, since sums of floats differ in their last bits and contacts carry that on.

    Args:
        policy: Any policy with six actions; its own executor settings are used, one executor an episode, with the
            limits that a robot has. Its chunks come at once, also where it is to be `asynchronous`
            (`foreact.sim.delayed` plays them late), and its alarm is off.
        task: The task; its cameras' sizes and its rate are those that the policy was trained on.
        seeds: Of the episodes.
        n_envs: Processes, at most one for four episodes; None for one a core.
        name: For the progress bar.

    Returns:
        In the order of the seeds.

    Raises:
        ConfigError: If the policy's control rate is not the task's, its joints are not in radians, or `n_envs` is less
            than 1.
        ObservationError: If the policy needs a key or size that the task does not give.
        SimulationError: If a process was killed.
    """
    if policy.features.fps != task.fps:
        raise ConfigError(f"the policy was trained at {policy.features.fps:g} Hz, the task runs at {task.fps:g} Hz")
    check_radians(policy.features, getattr(policy, "executor_settings", None))
    if n_envs is not None and n_envs < 1:
        raise ConfigError(f"n_envs is {n_envs}; it must be at least 1")
    groups = [seeds[i : i + _SIDE_BY_SIDE] for i in range(0, len(seeds), _SIDE_BY_SIDE)]
    n_workers = max(1, min(n_envs or cores(), len(groups)))
    results = []
    pool = WorkerPool(
        n_workers, worker.begin, (pickle.dumps(policy), task), preload=(__name__, "foreact.policy.policy")
    )
    try:
        with pool, episode_progress(name, len(seeds)) as advance:
            for group in pool.map(_play, groups):
                for result in group:
                    results.append(result)
                    advance(result)
    except BrokenProcessPool as error:
        raise SimulationError("a simulating process was killed, perhaps for memory; try fewer --envs") from error
    return results


def task_for_policy(task: TaskConfig, policy: ActingPolicy) -> TaskConfig:
    """Return the task with the cameras, sizes and rate that a policy was trained on.

    Raises:
        ConfigError: If the policy needs a camera that the simulation does not have.
    """
    return task_for_features(task, policy.features)


@cache
def _env(place: int) -> PickPlaceEnv:
    """One for each episode of a group; without cameras, for only a few of the pictures are looked at."""
    return PickPlaceEnv(replace(worker.task(), cameras=()))


def _play(seeds: Sequence[int]) -> list[EpisodeResult]:
    """Play a group of episodes in a worker: each goes on until it asks, and the policy answers all that ask."""
    policy: ActingPolicy = worker.policy()
    policy.reset()
    episodes = [
        _episode(_env(place), policy.make_executor(), policy.features, seed) for place, seed in enumerate(seeds)
    ]
    asking = {place: next(episode) for place, episode in enumerate(episodes)}
    results: dict[int, EpisodeResult] = {}
    while asking:
        chunks = policy.predict_chunks(list(asking.values()))
        for place, chunk in zip(list(asking), chunks, strict=True):
            try:
                asking[place] = episodes[place].send(chunk)
            except StopIteration as end:
                results[place] = end.value
                del asking[place]
    return [results[place] for place in range(len(seeds))]


def _episode(
    env: PickPlaceEnv, executor: Executor, features: Features, seed: int
) -> Generator[Observation, np.ndarray, EpisodeResult]:
    """Yield an observation whenever the executor needs the chunk that begins there, and return the result."""
    observation, _ = env.reset(seed=seed)
    actions: list[np.ndarray] = []
    unreachable = 0
    while True:
        if executor.needs_chunk:
            executor.add((yield {**observation, **_pictures(env)}))
        try:
            action = _next_action(executor, observation, features)
        except UnreachableError:  # the arm stays where it is for that tick
            unreachable += 1
            action = actions[-1] if actions else observation[STATE]
        actions.append(action)
        observation, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            result = episode_result(seed, info, np.stack(actions), worker.task().fps)
            limited = executor.limiter.ticks if isinstance(executor, LimitedActions) else 0
            return replace(result, unreachable=unreachable, limited=limited)


def _next_action(executor: Executor, observation: Observation, features: Features) -> np.ndarray:
    """With the limits that a robot has: the first action's is relative to where the arm is."""
    if not isinstance(executor, LimitedActions):
        return executor.next_action()
    state, _ = read_vectors(observation, features)
    return executor.next_action(measured_action(state, features))


def _pictures(env: PickPlaceEnv) -> dict[str, np.ndarray]:
    sizes = {camera: worker.task().size(camera) for camera in worker.task().cameras}
    return {image_key(of): _renderer().render(env.model, env.data, of, size) for of, size in sizes.items()}


@cache
def _renderer() -> SceneRenderer:
    """One for all scenes of a worker: to make one takes as long as to play an episode."""
    height, width = np.max([worker.task().size(camera) for camera in worker.task().cameras], axis=0).tolist()
    return SceneRenderer(_env(0).model, height=height, width=width)
