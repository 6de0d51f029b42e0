"""One robot's side of a policy: an observation in, an action out, each control tick."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foreact_runtime.executor import Executor
from foreact_runtime.observation import Observation


class Controller:
    """Asks for a chunk where its executor needs one, and hands out one action a tick.

    Simulation, server and robot use it alike; each robot, and each connection of a server, has its own.
    """

    def __init__(self, predict_chunk: Callable[[Observation], np.ndarray], executor: Executor) -> None:
        """Take what predicts a chunk (T, C) for an observation, and what executes it."""
        self._predict_chunk = predict_chunk
        self._executor = executor

    def reset(self) -> None:
        """Begin an episode: forget all chunks."""
        self._executor.reset()

    def act(self, observation: Observation) -> np.ndarray:
        """Return the action (A,), float32 in the robot's units, for this control tick.

        Raises:
            ObservationError: If a chunk is needed and the observation is not what the policy was trained on.
            UnreachableError: If the arm cannot do what the policy asks for; the tick is over nevertheless.
        """
        if self._executor.needs_chunk:
            self._executor.add(self._predict_chunk(observation))
        return self._executor.next_action()
