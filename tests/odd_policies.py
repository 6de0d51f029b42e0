"""Policies without a network that hold what `rollout` asks for and little else; worker processes import them here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.errors import ConfigError, ObservationError, UnreachableError
from foreact.records import Features
from foreact.sim.scene import ACTION_NAMES
from foreact_runtime.executor import ChunkQueue, Executor, make_executor
from foreact_runtime.keys import STATE
from foreact_runtime.limits import Limits
from foreact_runtime.observation import Observation
from foreact_runtime.settings import ExecutorSettings


class Still:
    """The arm stays where it is, in chunks of six."""

    features = Features(action_names=ACTION_NAMES, state_names=ACTION_NAMES, fps=10)

    def reset(self) -> None:
        """Do nothing."""

    def make_executor(self) -> Executor:
        return ChunkQueue(6)

    def predict_chunks(self, observations: Sequence[Observation]) -> np.ndarray:
        return np.stack([np.tile(of[STATE], (6, 1)) for of in observations])


@dataclass
class Counting(Still):
    """Writes down how many observations it is asked about at once."""

    path: Path

    def predict_chunks(self, observations: Sequence[Observation]) -> np.ndarray:
        with self.path.open("a") as file:
            print(len(observations), file=file)
        return super().predict_chunks(observations)


class EverySecond(ChunkQueue):
    """An executor that finds every second action out of reach."""

    n_ticks = 0

    def next_action(self) -> np.ndarray:
        action = super().next_action()
        self.n_ticks += 1
        if self.n_ticks % 2 == 0:
            raise UnreachableError("too far")
        return action


class OutOfReach(Still):
    """The arm creeps on, but every second action is out of reach."""

    def make_executor(self) -> Executor:
        return EverySecond(6)

    def predict_chunks(self, observations: Sequence[Observation]) -> np.ndarray:
        return super().predict_chunks(observations) + np.linspace(0, 0.1, 6, dtype=np.float32)[:, None]


class Leaping(Still):
    """Wants to be elsewhere at once; its limits know how far a first command may be from the arm."""

    executor_settings = ExecutorSettings(chunk_size=6, n_action_steps=6, limits=Limits(lead=(0.1,) * 6))

    def make_executor(self) -> Executor:
        return make_executor(self.executor_settings, self.features)

    def predict_chunk(self, observation: Observation) -> np.ndarray:
        return np.tile(observation[STATE] + np.float32(0.3), (6, 1))

    def predict_chunks(self, observations: Sequence[Observation]) -> np.ndarray:
        return np.stack([self.predict_chunk(of) for of in observations])


class Refusing(Still):
    """Takes no observation."""

    def predict_chunks(self, observations: Sequence[Observation]) -> np.ndarray:
        raise ObservationError("the observation lacks 'observation.images.belly'")


def not_there() -> Still:
    """Stand for what cannot be made again in another process."""
    raise ConfigError("no peer at 'elsewhere'")


class NotThere(Still):
    """Pickles as a call that fails."""

    def __reduce__(self) -> tuple[object, ...]:
        return not_there, ()


class Killed(Still):
    """Its process is killed, as the system does where memory runs out."""

    def predict_chunks(self, observations: Sequence[Observation]) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().predict_chunks(observations)


@dataclass
class Waiting(Still):
    """Says that it was asked, and takes hours to answer."""

    folder: str

    def predict_chunks(self, observations: Sequence[Observation]) -> np.ndarray:
        (Path(self.folder) / f"{os.getpid()}.waiting").touch()
        time.sleep(10_000)
        return super().predict_chunks(observations)
