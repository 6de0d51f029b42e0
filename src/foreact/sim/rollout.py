"""Closed loop: a policy, or the scripted expert, acts in the simulation, and each episode ends in one outcome."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from foreact.errors import ConfigError, UnreachableError
from foreact.keys import STATE
from foreact.policy.executor import Executor
from foreact.policy.policy import Policy
from foreact.processes import interrupts_held
from foreact.sim.episode import EpisodeResult, episode_progress, episode_result
from foreact.sim.on_demand import PicturesOnDemand
from foreact.sim.task import CAMERAS, TaskConfig


def rollout(
    policy: Policy, task: TaskConfig, seeds: Sequence[int], *, n_envs: int | None = None, name: str = "policy"
) -> list[EpisodeResult]:
    """Run one episode a seed with parallel environments and batched inference.

    The same policy, task, seeds and `n_envs` give the same results.

    Args:
        policy: Any policy with six actions; its own executor settings are used, one executor an environment.
        task: The task; its cameras' sizes and its rate are those that the policy was trained on.
        seeds: Of the episodes.
        n_envs: Simulating processes; None for one a core.
        name: For the progress bar.

    Raises:
        ConfigError: If the policy's control rate is not the task's.
        ObservationError: If the policy needs a key or size that the task does not give.
    """
    if policy.features.fps != task.fps:
        raise ConfigError(f"the policy was trained at {policy.features.fps:g} Hz, the task runs at {task.fps:g} Hz")
    n_envs = min(n_envs or os.cpu_count() or 1, len(seeds))
    policy.reset()
    results: dict[int, EpisodeResult] = {}
    waiting = deque(seeds)
    slots: list[_Slot | None] = [None] * n_envs
    observation: dict[str, np.ndarray] = {}
    with _environments(task, n_envs) as envs, episode_progress(name, len(seeds)) as advance:
        while len(results) < len(seeds):
            free = [i for i, slot in enumerate(slots) if slot is None][: len(waiting)]
            if free:
                for i in free:
                    slots[i] = _Slot(seed=waiting.popleft(), executor=policy.make_executor())
                observation = _reset(envs, {i: slot.seed for i in free if (slot := slots[i]) is not None})
            acting = {i: slot for i, slot in enumerate(slots) if slot is not None}
            asking = [i for i, slot in acting.items() if slot.executor.needs_chunk]
            if asking:
                chunks = policy.predict_chunks([{key: of[i] for key, of in observation.items()} for i in asking])
                for i, chunk in zip(asking, chunks, strict=True):
                    acting[i].executor.add(chunk)
            actions = np.zeros(envs.action_space.shape or (), np.float32)  # those that wait for the others stand by
            for i, slot in acting.items():
                action = slot.next_action(observation[STATE][i])
                slot.actions.append(action)
                actions[i] = [*action, slot.executor.needs_chunk]
            observation, _, terminated, truncated, info = envs.step(actions)
            for i, slot in acting.items():
                if terminated[i] or truncated[i]:
                    final = {key: value[i] for key, value in info.items()}
                    result = episode_result(slot.seed, final, np.stack(slot.actions), task.fps)
                    results[slot.seed] = replace(result, unreachable=slot.unreachable)
                    slots[i] = None
                    advance(results[slot.seed])
    return [results[seed] for seed in seeds]


def task_for_policy(task: TaskConfig, policy: Policy) -> TaskConfig:
    """Return the task with the cameras, sizes and rate that a policy was trained on.

    Raises:
        ConfigError: If the policy needs a camera that the simulation does not have.
    """
    wanted = {camera.name: camera for camera in policy.features.cameras}
    for name in wanted:
        if name not in CAMERAS:
            raise ConfigError(f"the policy needs camera '{name}'; the simulation has: {', '.join(CAMERAS)}")
    sizes = {f"{name}_size": camera.recorded_size or (camera.height, camera.width) for name, camera in wanted.items()}
    cameras = tuple(name for name in CAMERAS if name in wanted)
    return replace(task, cameras=cameras, fps=policy.features.fps, **sizes)  # type: ignore[arg-type]


@dataclass(kw_only=True)
class _Slot:
    """An episode that is running in one of the environments."""

    seed: int
    executor: Executor
    actions: list[np.ndarray] = field(default_factory=list)
    unreachable: int = 0

    def next_action(self, state: np.ndarray) -> np.ndarray:
        """Return the executor's action; where the arm cannot do it, it stays where it is for that tick."""
        try:
            return self.executor.next_action()
        except UnreachableError:
            self.unreachable += 1
            return self.actions[-1] if self.actions else state


@contextmanager
def _environments(task: TaskConfig, n_envs: int) -> Iterator[AsyncVectorEnv]:
    """Environments in processes of their own; spawned, because OpenGL and torch do not survive a fork."""
    makers = [partial(PicturesOnDemand, task) for _ in range(n_envs)]
    with interrupts_held():
        envs = AsyncVectorEnv(makers, context="spawn", autoreset_mode=AutoresetMode.DISABLED)
    try:
        yield envs
    finally:
        envs.close()


def _reset(envs: AsyncVectorEnv, seeds: Mapping[int, int]) -> dict[str, np.ndarray]:
    """Begin episodes in some of the environments; the others stay as they are."""
    mask = np.array([i in seeds for i in range(envs.num_envs)])
    observation, _ = envs.reset(seed=[seeds.get(i) for i in range(envs.num_envs)], options={"reset_mask": mask})
    return observation
