"""An observation far outside of what the policy was trained on: warn, hold the arm, or stop."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np

from foreact_runtime.errors import OutOfRangeError
from foreact_runtime.records import Features
from foreact_runtime.worth_saying import worth_saying

_log = logging.getLogger(__name__)

OnAlarm = Literal["off", "warn", "hold", "stop"]
Range = tuple[float, float] | None
"""Lowest and highest value; None where any will do."""


@dataclass(frozen=True, kw_only=True)
class AlarmSettings:
    """Ranges of the observation's numbers, one a dimension, and what to do beyond them."""

    action: OnAlarm = "off"
    state: tuple[Range, ...] = ()
    """Of `observation.state`; empty: not looked at."""
    environment_state: tuple[Range, ...] = ()
    """Of `observation.environment_state`; empty: not looked at."""


class Alarm:
    """Compares each observation with the ranges, and counts and logs those beyond."""

    def __init__(self, settings: AlarmSettings, features: Features) -> None:
        """Take the ranges and the names of what they are of."""
        self.action = settings.action
        self._names = (*features.state_names, *features.environment_names)
        state = settings.state or (None,) * features.state_dim
        where = settings.environment_state or (None,) * features.environment_dim
        assert len(state) == features.state_dim
        assert len(where) == features.environment_dim
        everything = [(-np.inf, np.inf) if of is None else of for of in (*state, *where)]
        self._lower, self._upper = np.array(everything, np.float64).reshape(-1, 2).T
        self.counts = np.zeros(len(self._names), np.int64)
        """How often each dimension of the state, then of the coordinates, was out of range, since this was made."""
        self.ticks = 0
        """Ticks in which any was, since this was made."""

    def check(self, state: np.ndarray | None, environment_state: np.ndarray | None) -> bool:
        """Return whether the arm is to be held.

        Args:
            state: (S,); None where the policy has none.
            environment_state: (E,); None where the policy has none.

        Raises:
            OutOfRangeError: If the arm is to be stopped.
        """
        if self.action == "off":
            return False
        values = np.concatenate([of for of in (state, environment_state) if of is not None] or [np.zeros(0)])
        beyond = np.flatnonzero((values < self._lower) | (values > self._upper))
        if not len(beyond):
            return False
        self.counts[beyond] += 1
        self.ticks += 1
        messages = [
            f"'{self._names[i]}' is {values[i]:.4g}, far outside of the {self._lower[i]:.4g} to {self._upper[i]:.4g} "
            "that the policy knows from training"
            for i in beyond
        ]
        if self.action == "stop":
            raise OutOfRangeError(f"stopped: {messages[0]}; check the sensor, its unit and where the robot stands")
        for place, message in zip(beyond, messages, strict=True):
            times = int(self.counts[place])
            if worth_saying(times):
                _log.warning("%s%s (%d times so far)", message, "; held" if self.action == "hold" else "", times)
        return self.action == "hold"
