"""One robot's side of a policy: an observation in, an action out, each control tick."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

import numpy as np

from foreact_runtime.alarm import Alarm
from foreact_runtime.errors import OutOfRangeError, UnreachableError
from foreact_runtime.executor import LimitedActions, make_executor
from foreact_runtime.observation import Observation, read_vectors
from foreact_runtime.records import Features
from foreact_runtime.settings import ExecutorSettings
from foreact_runtime.worth_saying import worth_saying

_log = logging.getLogger(__name__)

PredictChunk = Callable[[Observation], np.ndarray]
"""From an observation to the chunk (T, C) that begins with it."""
Check = Callable[[Observation], None]
"""Refuses what is wrong with an observation's pictures; called every tick."""


class Controller:
    """Asks for a chunk where its executor needs one, waits for it, and hands out one action a tick.

    Server and robot use it alike; each robot, and each connection of a server, has its own.
    """

    def __init__(
        self,
        predict_chunk: PredictChunk,
        settings: ExecutorSettings,
        features: Features,
        *,
        check: Check | None = None,
    ) -> None:
        """Take what predicts chunks, how they are executed, and on what robot.

        Args:
            predict_chunk: Called where a chunk is needed.
            settings: How chunks are executed.
            features: The robot's.
            check: Of the pictures, every tick; None where `predict_chunk` alone looks at them, as where they are only
                rendered when it does.
        """
        self._predict_chunk = predict_chunk
        self._check = check
        self._features = features
        self._alarm = Alarm(settings.alarm, features)
        self._last: np.ndarray | None = None
        self.executor: LimitedActions = make_executor(settings, features)
        self.unreachable = 0
        """Ticks in which the arm stayed where it was, for it cannot do what was asked, since this was made."""

    @property
    def counts(self) -> Counter[str]:
        """What happened since this was made, by what a log calls it [ticks]."""
        return Counter(
            {
                "limited": self.executor.limiter.ticks,
                "in alarm": self._alarm.ticks,
                "out of reach": self.unreachable,
            }
        )

    def reset(self) -> None:
        """Begin an episode: forget all chunks, but not what was counted."""
        self.executor.reset()
        self._last = None

    def act(self, observation: Observation) -> np.ndarray:
        """Return the action (A,), float32 in the robot's units, for this control tick.

        Where the arm cannot do what the policy asks for, it is told to stay where it is; that is counted and logged.

        Raises:
            ObservationError: If state, coordinates or a picture are not what the policy was trained on.
            UnreachableError: If the arm cannot do what the policy asks for, and nothing says where it is: the state
                does not, and it was never told anything.
            OutOfRangeError: If the alarm is to stop the robot, or to hold it before it was ever told anything and
                nothing says where it is.
            ActionError: If the policy asks for what is not a number.
        """
        return self.act_ahead(observation, 1)[0]

    def act_ahead(self, observation: Observation, n_actions: int) -> np.ndarray:
        """Return the actions (n_actions, A) of this control tick and those after it, all from this one observation.

        Raises:
            ForeactError: Like `act`.
        """
        state, environment_state = read_vectors(observation, self._features)
        if self._check is not None:
            self._check(observation)
        measured = measured_action(state, self._features)
        if self._alarm.check(state, environment_state):
            return np.stack([self._hold(measured)] * n_actions)
        return np.stack([self._reachable_action(observation, measured) for _ in range(n_actions)])

    def close(self) -> None:
        """Free what `act` has started."""

    def _reachable_action(self, observation: Observation, measured: np.ndarray) -> np.ndarray:
        try:
            self._last = self._next_action(observation, measured)
        except UnreachableError as error:
            self.unreachable += 1
            if worth_saying(self.unreachable):
                _log.warning("%s; the arm stays where it is (%d times so far)", error, self.unreachable)
            if self._last is None:
                if not np.isfinite(measured).all():
                    raise
                self._last = measured.astype(np.float32)
        return self._last

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
