"""Closed loop with a network that takes its time: chunks come late by a given delay, in simulated time.

A robot does not stand still because its policy thinks. Here it does not either: while a chunk is computed, control
ticks go by, in which the arm does what the executor has left, or holds its last command (a stall).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from foreact.errors import UnreachableError
from foreact.records import Features
from foreact.sim.env import PickPlaceEnv
from foreact.sim.episode import EpisodeResult, episode_result
from foreact.sim.task import TaskConfig
from foreact_runtime.asynchronous import AsynchronousController
from foreact_runtime.controller import Controller
from foreact_runtime.keys import STATE, image_key
from foreact_runtime.observation import Observation
from foreact_runtime.settings import ExecutorSettings


@dataclass(frozen=True, kw_only=True)
class Delay:
    """How long after its observation a chunk is there."""

    seconds: float
    jitter: float = 0.0
    """Evenly spread by this share of it either way: 0.5 gives half to one and a half of it."""

    def draw(self, rng: np.random.Generator) -> float:
        """Return one chunk's delay [s]."""
        return self.seconds * (1 + self.jitter * rng.uniform(-1, 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class DelayedEpisode:
    """How an episode went."""

    result: EpisodeResult
    stalls: int
    """Ticks in which the arm held its last command because no action was there; not those before the first chunk."""
    chunks: int
    """How many were predicted."""


class PredictingPolicy(Protocol):
    """What is asked of a policy. `Policy` is one."""

    @property
    def features(self) -> Features:
        """Names of actions and state, cameras and rate that it was trained on."""
        ...

    @property
    def executor_settings(self) -> ExecutorSettings:
        """How it wants its chunks executed."""
        ...

    def reset(self) -> None:
        """Begin anew."""
        ...

    def predict_chunk(self, observation: Observation) -> np.ndarray:
        """Return the chunk (T, C) that begins with an observation."""
        ...


def delayed_episode(
    policy: PredictingPolicy,
    env: PickPlaceEnv,
    task: TaskConfig,
    seed: int,
    delay: Delay,
    settings: ExecutorSettings | None = None,
) -> DelayedEpisode:
    """Play one episode; the same arguments give the same episode.

    It begins when the first chunk is there, as on a robot that waits for it, whatever the way of executing.

    Args:
        policy: What acts.
        env: A simulation of the task without cameras, for only pictures that the policy looks at are rendered.
        task: With the cameras, their sizes and the rate that the policy was trained on.
        seed: Of the episode, and of the delays where they jitter.
        delay: Of each chunk.
        settings: How to execute chunks; None for the policy's own way.
    """
    settings = settings or policy.executor_settings
    rng = np.random.default_rng((seed, 1))
    robot = _Robot(env, task, seed)
    chunks = stalls = unreachable = 0

    def predict(observation: Observation) -> np.ndarray:
        nonlocal chunks
        chunks += 1
        return policy.predict_chunk(observation)

    def predict_late(observation: Observation) -> np.ndarray:
        nonlocal stalls
        chunk = predict(observation)
        late = math.ceil(delay.draw(rng) * task.fps - _ROUNDING) if robot.actions else 0
        for _ in range(late):
            stalls += robot.send(robot.actions[-1])
        return chunk

    controller: Controller
    if settings.asynchronous:
        worker = _LateWorker(predict, robot, lambda: delay.draw(rng))
        controller = AsynchronousController(predict, settings, policy.features, clock=robot.clock, worker=worker)
    else:
        controller = Controller(predict_late, settings, policy.features)
    policy.reset()
    while not robot.is_over:
        try:
            robot.send(controller.act(_Observed(robot)))
        except UnreachableError:  # the arm stays where it is for that tick
            unreachable += 1
            robot.send(robot.actions[-1] if robot.actions else robot.vectors[STATE])
    result = episode_result(seed, robot.info, np.stack(robot.actions), task.fps)
    return DelayedEpisode(
        result=replace(result, unreachable=unreachable, limited=controller.executor.limiter.ticks),
        stalls=stalls + (controller.stalls if isinstance(controller, AsynchronousController) else 0),
        chunks=chunks,
    )


_ROUNDING = 1e-6
"""Ticks by which sums of floats may be off."""


class _Robot:
    """The simulation as a robot that goes on while its policy thinks."""

    def __init__(self, env: PickPlaceEnv, task: TaskConfig, seed: int) -> None:
        self.env = env
        self.task = task
        self.vectors, self.info = env.reset(seed=seed)
        self.actions: list[np.ndarray] = []
        self.is_over = False
        self.waited = 0.0
        """For the first chunk [s]; the arm has not begun by then."""

    def send(self, action: np.ndarray) -> bool:
        """Do as told for a tick; False where the episode has ended before."""
        if self.is_over:
            return False
        self.actions.append(action)
        self.vectors, _, terminated, truncated, self.info = self.env.step(action)
        self.is_over = terminated or truncated
        return True

    def clock(self) -> float:
        """Return the time [s]."""
        return self.waited + len(self.actions) / self.task.fps


class _Observed(Mapping[str, Any]):
    """What the robot sees now; a picture is rendered when it is looked at."""

    def __init__(self, robot: _Robot) -> None:
        self._robot = robot
        self._cameras = {image_key(camera): camera for camera in robot.task.cameras}

    def __getitem__(self, key: str) -> Any:
        if key not in self._cameras:
            return self._robot.vectors[key]
        camera = self._cameras[key]
        return self._robot.env.picture(camera, self._robot.task.size(camera))

    def __iter__(self) -> Iterator[str]:
        return iter((*self._robot.vectors, *self._cameras))

    def __len__(self) -> int:
        return len(self._robot.vectors) + len(self._cameras)


class _LateWorker:
    """Predicts at once, from what is seen now, and gives the chunk away when its time has come."""

    def __init__(
        self, predict: Callable[[Observation], np.ndarray], robot: _Robot, draw_delay: Callable[[], float]
    ) -> None:
        self._predict = predict
        self._robot = robot
        self._draw_delay = draw_delay
        self._chunk: np.ndarray | None = None
        self._ready = 0.0

    @property
    def busy(self) -> bool:
        return self._chunk is not None

    def start(self, observation: Observation) -> None:
        self._chunk = self._predict(observation)
        self._ready = self._robot.clock() + self._draw_delay()

    def poll(self) -> np.ndarray | None:
        return None if self._chunk is None or self._is_late() else self._take()

    def wait(self) -> np.ndarray:
        while self._robot.actions and not self._robot.is_over and self._is_late():
            self._robot.send(self._robot.actions[-1])
        if not self._robot.actions:
            self._robot.waited += max(0.0, self._ready - self._robot.clock())
        return self._take()

    def _is_late(self) -> bool:
        return (self._ready - self._robot.clock()) * self._robot.task.fps > _ROUNDING

    def _take(self) -> np.ndarray:
        chunk, self._chunk = self._chunk, None
        assert chunk is not None
        return chunk

    def drop(self) -> None:
        self._chunk = None

    def close(self) -> None:
        self.drop()
