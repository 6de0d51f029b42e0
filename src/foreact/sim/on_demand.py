"""The environment without the pictures that nobody looks at; a file that worker processes import in no time."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from foreact.sim.env import PickPlaceEnv
from foreact.sim.task import TaskConfig


class PicturesOnDemand(gymnasium.Wrapper[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray], np.ndarray]):
    """The action has one element more: whether the next observation's pictures will be looked at."""

    def __init__(self, task: TaskConfig) -> None:
        """Build the scene of a task."""
        inner = PickPlaceEnv(task)
        super().__init__(inner)
        self._inner = inner
        low = np.append(inner.action_space.low, np.float32(0))
        high = np.append(inner.action_space.high, np.float32(1))
        self.action_space = spaces.Box(low, high, dtype=np.float32)

    def reset(self, **options: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode, with pictures."""
        self._inner.shows_pictures = True
        return self._inner.reset(**options)

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Advance by one control period; the action is (7,)."""
        self._inner.shows_pictures = bool(action[-1])
        return self._inner.step(action[:-1])
