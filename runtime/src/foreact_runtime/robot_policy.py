"""What every policy is on a robot, whatever predicts its chunks: `act` once a tick, and one more robot when asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial

import numpy as np

from foreact_runtime.asynchronous import make_controller
from foreact_runtime.controller import Controller
from foreact_runtime.executor import LimitedActions, make_executor
from foreact_runtime.observation import Observation, check_pictures
from foreact_runtime.records import Features
from foreact_runtime.settings import ExecutorSettings


class RobotPolicy(ABC):
    """Base of a checkpoint's policy and a bundle's."""

    def __init__(self, features: Features, settings: ExecutorSettings, *, resize_images: bool = False) -> None:
        """Take what goes in and out on the robot, how chunks are executed, and whether pictures may be of any size."""
        self.features = features
        self._resize_images = resize_images
        self.executor_settings = settings
        """How its chunks are executed and what is limited, as trained or as overridden."""
        self._controller = self.make_controller()

    @abstractmethod
    def predict_chunk(self, observation: Observation) -> np.ndarray:
        """Return the chunk (T, C) that begins now, float32; changes no state of the executor."""

    def reset(self) -> None:
        """Begin an episode: forget chunks."""
        self._controller.reset()

    def act(self, observation: Observation) -> np.ndarray:
        """Return the action (A,), float32 in the robot's units, for this control tick.

        Call it once a tick, `features.fps` times a second; the network runs only where the executor asks for it.

        Args:
            observation: See `foreact_runtime.observation.read_observation`.

        Raises:
            ObservationError: If the observation is not what the policy was trained on.
        """
        return self._controller.act(observation)

    def make_executor(self) -> LimitedActions:
        """Return a new executor with the policy's settings, for callers that serve several robots."""
        return make_executor(self.executor_settings, self.features)

    def make_controller(self, settings: ExecutorSettings | None = None) -> Controller:
        """Return the state of one more robot or connection, which shares the network.

        Args:
            settings: Of its executor; None for the policy's own.
        """
        check = partial(check_pictures, features=self.features, any_size=self._resize_images)
        return make_controller(self.predict_chunk, settings or self.executor_settings, self.features, check=check)
