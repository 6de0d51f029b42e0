"""A simulated robot with a control clock of its own, driven by a policy elsewhere: the whole path of a deployment.

The clock waits for nobody. Where an action is late, the one before is held for that tick, as on a robot.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from foreact.sim.env import PickPlaceEnv
from foreact.sim.episode import EpisodeResult, episode_progress, episode_result
from foreact.sim.task import TaskConfig
from foreact_runtime.keys import STATE
from foreact_runtime.observation import Observation
from foreact_runtime.rate import Rate

Ask = Callable[[Observation], np.ndarray]
"""From an observation to the actions (n, A) to execute before the next question."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drive:
    """How a drive went."""

    episodes: Sequence[EpisodeResult]
    seconds: float
    """By the clock on the wall, without what lies between episodes."""
    late: int
    """Ticks without an action in time: the one before was held."""
    overrun: int
    """Times that the simulation itself was more than a period behind, so that the schedule began anew."""
    latencies_ms: np.ndarray
    """From each question to its answer (n,) [ms]."""

    @property
    def ticks(self) -> int:
        """Of all episodes."""
        return sum(episode.steps for episode in self.episodes)

    @property
    def rate(self) -> float:
        """Ticks a second [Hz]."""
        return self.ticks / self.seconds


def drive(
    ask: Ask,
    task: TaskConfig,
    seeds: Sequence[int],
    *,
    begin: Callable[[], None] = lambda: None,
    real_time: bool = True,
) -> Drive:
    """Play one episode a seed.

    Args:
        ask: Called in a thread of its own, one question at a time. Of several actions that come late, those whose tick
            is over are dropped.
        task: Its cameras' sizes and its rate are those that the policy was trained on.
        seeds: Of the episodes.
        begin: Called before each episode.
        real_time: Keep the task's rate; otherwise wait for each answer, however long it takes.
    """
    env = PickPlaceEnv(task)
    episodes, seconds, late, overrun = [], 0.0, 0, 0
    with ThreadPoolExecutor(1, thread_name_prefix="ask") as pool, episode_progress("the server", len(seeds)) as advance:
        asking = _Asking(ask, pool)
        for seed in seeds:
            observation, info = env.reset(seed=seed)
            asking.forget()
            begin()
            began, step_seconds = time.perf_counter(), 0.0
            rate = Rate(task.fps) if real_time else None
            actions: list[np.ndarray] = []
            ended = False
            while not ended:
                # What is left of the tick, less what the robot's step took last; None waits however long it takes.
                patience = None if rate is None else max(0.0, rate.left() - step_seconds)
                action = asking.action(observation, patience)
                if action is None:
                    late += 1
                    action = actions[-1] if actions else observation[STATE]
                actions.append(action)
                stepping = time.perf_counter()
                observation, _, terminated, truncated, info = env.step(action)
                ended = terminated or truncated
                step_seconds = time.perf_counter() - stepping
                if rate is not None:
                    rate.wait()
            seconds += time.perf_counter() - began
            overrun += 0 if rate is None else rate.overruns
            episodes.append(episode_result(seed, info, np.stack(actions), task.fps))
            advance(episodes[-1])
    env.close()
    latencies = np.array(asking.latencies_ms)
    return Drive(episodes=episodes, seconds=seconds, late=late, overrun=overrun, latencies_ms=latencies)


class _Asking:
    """Asks in the background, so that a late answer stops no clock."""

    def __init__(self, ask: Ask, pool: ThreadPoolExecutor) -> None:
        self._ask = ask
        self._pool = pool
        self._asked: Future[np.ndarray] | None = None
        self._ticks_late = 0
        self._actions: deque[np.ndarray] = deque()
        self.latencies_ms: list[float] = []

    def action(self, observation: Observation, patience: float | None) -> np.ndarray | None:
        """Return the action for this tick, None where it is not there after that many seconds; None waits for it."""
        if not self._actions:
            if self._asked is None:
                self._asked = self._pool.submit(self._timed, observation)
                self._ticks_late = 0
            try:
                answer = self._asked.result(patience)
            except TimeoutError:
                self._ticks_late += 1
                return None
            self._asked = None
            self._actions.extend(answer[min(self._ticks_late, len(answer) - 1) :])
        return self._actions.popleft()

    def forget(self) -> None:
        """Begin an episode: what was asked before it is of no use."""
        if self._asked is not None:
            self._asked.result()
            self._asked = None
        self._actions.clear()

    def _timed(self, observation: Observation) -> np.ndarray:
        began = time.perf_counter()
        answer = self._ask(observation)
        self.latencies_ms.append(1000 * (time.perf_counter() - began))
        return answer
