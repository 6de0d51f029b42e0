"""Closed loop: a policy, or the scripted expert, acts in the simulation, and each episode ends in one outcome."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.errors import ConfigError
from foreact.policy.policy import Policy
from foreact.sim.task import TaskConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeResult:
    """How one episode went."""

    seed: int
    outcome: str
    steps: int
    """Control ticks."""
    seconds: float
    """Simulated time."""
    target: tuple[float, float]
    """Where the target began, x and y [m]."""
    cue: tuple[float, float]
    """What the policy was told, x and y [m]."""
    closed_to_target_mm: float | None
    """How far from the target the gripper first closed [mm]; None where it never closed."""
    closed_to_confuser_mm: float | None
    """The same for the nearest confuser; None without confusers too."""
    actions: np.ndarray
    """float32 (steps, A): enough to show the episode again, since the simulation is deterministic."""

    @property
    def success(self) -> bool:
        """Whether the target lies in the bowl."""
        return self.outcome == "success"


def rollout(policy: Policy, task: TaskConfig, seeds: Sequence[int], *, n_envs: int | None = None) -> list[EpisodeResult]:
    """Run one episode a seed with parallel environments and batched inference.

    The same policy, task, seeds and `n_envs` give the same results.

    Args:
        policy: Any policy with six actions; its own executor settings are used, one executor an environment.
        task: The task; the sizes of its pictures are those that the policy was trained on.
        seeds: Of the episodes.
        n_envs: Simulating processes; None for one a core.

    Raises:
        ConfigError: If the policy's control rate is not the task's.
        ObservationError: If the policy needs a key or size that the task does not give.
    """
    if policy.features.fps != task.fps:
        raise ConfigError(f"the policy was trained at {policy.features.fps:g} Hz, the task runs at {task.fps:g} Hz")
    n_envs = min(n_envs or os.cpu_count() or 1, len(seeds))
    results: dict[int, EpisodeResult] = {}
    with _environments(task, n_envs) as envs, _progress(len(seeds)) as advance:
        waiting = list(enumerate(seeds))
        slots: list[_Slot | None] = [None] * n_envs
        executors = [policy.make_executor() for _ in range(n_envs)]
        observation: dict[str, np.ndarray] = {}
        while True:
            free = np.array([slot is None for slot in slots])
            if free.any() and waiting:
                for i in np.flatnonzero(free)[: len(waiting)]:
                    slots[i] = _Slot(*waiting.pop(0))
                    executors[i].reset()
                observation, info = _reset(envs, slots, free)
                for i in np.flatnonzero(free):
                    if (slot := slots[i]) is not None:
                        slot.begin(_of(info, i))
            if all(slot is None for slot in slots):
                return [results[i] for i in range(len(seeds))]
            asking = [i for i, slot in enumerate(slots) if slot is not None and executors[i].needs_chunk]
            if asking:
                chunks = policy.predict_chunks([{key: of[i] for key, of in observation.items()} for i in asking])
                for i, chunk in zip(asking, chunks, strict=True):
                    executors[i].add(chunk)
            actions = np.zeros(envs.action_space.shape, np.float32)
            for i, slot in enumerate(slots):
                if slot is not None:
                    actions[i] = executors[i].next_action()
                    slot.actions.append(actions[i].copy())
            observation, _, terminated, truncated, info = envs.step(np.clip(actions, *_limits(envs)))
            for i, slot in enumerate(slots):
                if slot is not None and (terminated[i] or truncated[i]):
                    results[slot.place] = slot.result(_of(info, i), task)
                    slots[i] = None
                    advance(results[slot.place])
