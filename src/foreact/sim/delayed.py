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

from foreact.records import Features
from foreact.sim.env import PickPlaceEnv
from foreact.sim.episode import EpisodeResult, episode_result
from foreact.sim.task import TaskConfig
from foreact.sim.unit import check_radians
from foreact_runtime.asynchronous import AsynchronousController
from foreact_runtime.controller import Controller
from foreact_runtime.keys import image_key
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


class OuterPolicy:
    """A policy that does something more around another one, and leaves it the rest."""

    def __init__(self, policy: PredictingPolicy) -> None:
        """Take the policy inside."""
        self._policy = policy

    @property
    def features(self) -> Features:
        """As the policy inside."""
        return self._policy.features

    @property
    def executor_settings(self) -> ExecutorSettings:
        """As the policy inside."""
        return self._policy.executor_settings

    def reset(self) -> None:
        """Begin anew."""
        self._policy.reset()


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

    Raises:
        ConfigError: If the policy's joints are not in radians.
    """
    robot = SimulatedRobot(env, task)
    robot.begin(seed)
    control = DelayedControl(policy, robot, delay, settings, rng=np.random.default_rng((seed, 1)))
    policy.reset()
    while not robot.is_over:
        robot.send(control.act())
    result = episode_result(seed, robot.info, np.stack(robot.actions), task.fps)
    return DelayedEpisode(
        result=replace(result, unreachable=control.unreachable, limited=control.controller.executor.limiter.ticks),
        stalls=control.stalls,
        chunks=control.chunks,
    )


_ROUNDING = 1e-6
"""Ticks by which sums of floats may be off."""


class SimulatedRobot:
    """The simulation as a robot that goes on while its policy thinks."""

    def __init__(self, env: PickPlaceEnv, task: TaskConfig) -> None:
        """Take the simulation, without cameras of its own, and the task with those that the policy looks through."""
        self.env = env
        self.task = task
        self.vectors: dict[str, np.ndarray] = {}
        self.info: dict[str, Any] = {}
        self.actions: list[np.ndarray] = []
        self.is_over = False
        self.waited = 0.0
        """For the first chunk [s]; the arm has not begun by then."""

    def begin(self, seed: int, options: dict[str, Any] | None = None) -> None:
        """Begin an episode; see `PickPlaceEnv.reset`."""
        self.vectors, self.info = self.env.reset(seed=seed, options=options)
        self.actions, self.is_over, self.waited = [], False, 0.0

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


class DelayedControl:
    """What decides a simulated robot's actions: a policy whose chunks come late."""

    def __init__(
        self,
        policy: PredictingPolicy,
        robot: SimulatedRobot,
        delay: Delay,
        settings: ExecutorSettings | None,
        *,
        rng: np.random.Generator,
    ) -> None:
        """Take the parts of an episode that begins; the arguments are those of `delayed_episode`.

        Raises:
            ConfigError: If the policy's joints are not in radians.
        """
        check_radians(policy.features, policy.executor_settings)
        settings = settings or policy.executor_settings
        self._policy = policy
        self._robot = robot
        self._delay = delay
        self._rng = rng
        self._held = 0
        self.chunks = 0
        """How many were predicted."""
        if settings.asynchronous:
            worker = _LateWorker(self._predict, robot, lambda: delay.draw(rng))
            self.controller: Controller = AsynchronousController(
                self._predict, settings, policy.features, clock=robot.clock, worker=worker
            )
        else:
            self.controller = Controller(self._predict_late, settings, policy.features)

    @property
    def unreachable(self) -> int:
        """Ticks in which the policy asked for what the arm cannot do, and the arm stayed where it was."""
        return self.controller.unreachable

    @property
    def stalls(self) -> int:
        """Ticks in which the arm held its last command because no action was there."""
        of = self.controller
        return self._held + (of.stalls if isinstance(of, AsynchronousController) else 0)

    def act(self) -> np.ndarray:
        """Return the action (A,) of this tick; the robot may have gone on some ticks meanwhile."""
        return self.controller.act(_Observed(self._robot))

    def _predict(self, observation: Observation) -> np.ndarray:
        self.chunks += 1
        return self._policy.predict_chunk(observation)

    def _predict_late(self, observation: Observation) -> np.ndarray:
        chunk = self._predict(observation)
        robot = self._robot
        late = math.ceil(self._delay.draw(self._rng) * robot.task.fps - _ROUNDING) if robot.actions else 0
        for _ in range(late):
            self._held += robot.send(robot.actions[-1])
        return chunk


class _Observed(Mapping[str, Any]):
    """What the robot sees now; a picture is rendered when it is looked at."""

    def __init__(self, robot: SimulatedRobot) -> None:
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
        self, predict: Callable[[Observation], np.ndarray], robot: SimulatedRobot, draw_delay: Callable[[], float]
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
