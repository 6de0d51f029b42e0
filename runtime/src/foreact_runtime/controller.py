"""One robot's side of a policy: an observation in, an action out, each control tick."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foreact_runtime.alarm import Alarm
from foreact_runtime.errors import OutOfRangeError
from foreact_runtime.executor import LimitedActions, make_executor
from foreact_runtime.observation import Observation, read_vectors
from foreact_runtime.records import Features
from foreact_runtime.settings import ExecutorSettings

PredictChunk = Callable[[Observation], np.ndarray]
"""From an observation to the chunk (T, C) that begins with it."""


class Controller:
    """Asks for a chunk where its executor needs one, waits for it, and hands out one action a tick.

    Server and robot use it alike; each robot, and each connection of a server, has its own.
    """

    def __init__(self, predict_chunk: PredictChunk, settings: ExecutorSettings, features: Features) -> None:
        """Take what predicts chunks, how they are executed, and on what robot."""
        self._predict_chunk = predict_chunk
        self._features = features
        self._alarm = Alarm(settings.alarm, features)
        self._last: np.ndarray | None = None
        self.executor: LimitedActions = make_executor(settings, features)

    def reset(self) -> None:
        """Begin an episode: forget all chunks."""
        self.executor.reset()
        self._last = None

    def act(self, observation: Observation) -> np.ndarray:
        """Return the action (A,), float32 in the robot's units, for this control tick.

        Raises:
            ObservationError: If state or coordinates, or where a chunk is needed a picture, is not what the policy was
                trained on.
            UnreachableError: If the arm cannot do what the policy asks for; the tick is over nevertheless.
            OutOfRangeError: If the alarm is to stop the robot, or to hold it before it was ever told anything and
                nothing says where it is.
            ActionError: If the policy asks for what is not a number.
        """
        state, environment_state = read_vectors(observation, self._features)
        measured = measured_action(state, self._features)
        if self._alarm.check(state, environment_state):
            return self._hold(measured)
        self._last = self._next_action(observation, measured)
        return self._last

    def close(self) -> None:
        """Free what `act` has started."""

    def _next_action(self, observation: Observation, measured: np.ndarray) -> np.ndarray:
        if self.executor.needs_chunk:
            self.executor.add(self._predict_chunk(observation))
        return self.executor.next_action(measured)

    def _hold(self, measured: np.ndarray) -> np.ndarray:
        """Repeat the last action, and plan anew once that is over: the arm may be elsewhere by then."""
        self.executor.reset()
        if self._last is None:
            if not np.isfinite(measured).all():
                raise OutOfRangeError(
                    "the first observation is far outside of what the policy knows from training, and the state does "
                    "not say where the arm would be held; start the robot from where it started in the data"
                )
            self._last = measured.astype(np.float32)
        self.executor.limiter.reset(held=np.where(np.isfinite(measured), np.nan, self._last))
        return self._last


def measured_action(state: np.ndarray | None, features: Features) -> np.ndarray:
    """Return where each dimension of the action is now (A,), by its name; nan for one that the state has not."""
    known = {} if state is None else dict(zip(features.state_names, state.tolist(), strict=True))
    return np.array([known.get(name, np.nan) for name in features.action_names])
