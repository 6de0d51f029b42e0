"""Grippers that only open and shut."""

from __future__ import annotations

import numpy as np

from foreact_runtime.executor_protocol import Executor, OuterExecutor


class BinaryActions(OuterExecutor):
    """Sends some dimensions as +1 where positive, else -1, after another executor has queued or averaged them.

    Thresholding before the average would send fractions to a gripper that only opens and shuts (FORMATS.md 4.6).
    """

    def __init__(self, executor: Executor, binary: np.ndarray) -> None:
        """Take the executor and a mask, bool (A,)."""
        super().__init__(executor)
        self._binary = binary

    def next_action(self) -> np.ndarray:
        """Return this tick's action (A,), float32."""
        action = self._executor.next_action()
        return np.where(self._binary, np.where(action > 0, 1.0, -1.0), action).astype(np.float32)
