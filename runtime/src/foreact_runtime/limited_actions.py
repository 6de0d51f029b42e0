"""Limits what other executors hand out."""

from __future__ import annotations

import numpy as np

from foreact_runtime.errors import UnreachableError
from foreact_runtime.executor_protocol import Executor, OuterExecutor
from foreact_runtime.limits import Limiter


class LimitedActions(OuterExecutor):
    """Limits what another executor hands out: the last thing that happens to an action."""

    def __init__(self, executor: Executor, limiter: Limiter) -> None:
        """Take the executor and what limits its actions."""
        super().__init__(executor)
        self.limiter = limiter

    def add(self, chunk: np.ndarray, age: int = 0) -> None:
        """Hand a chunk on.

        Raises:
            ActionError: If it is not all finite: averaged, thresholded or turned into joints, that would not be seen.
        """
        self.limiter.check_finite(chunk)
        super().add(chunk, age)

    def next_action(self, measured: np.ndarray | None = None) -> np.ndarray:
        """Return this tick's action (A,), float32.

        Args:
            measured: Where the action's dimensions are measured now (A,), nan where that is not known; looked at where
                nothing was sent yet.

        Raises:
            UnreachableError: If the arm cannot do what is asked for; the tick is over nevertheless.
            ActionError: If an action is not finite.
        """
        try:
            action = self._executor.next_action()
        except UnreachableError:
            self.limiter.hold()
            raise
        return self.limiter.limit(action, measured)

    def reset(self) -> None:
        """Begin a new episode; the limiter's counts go on."""
        super().reset()
        self.limiter.reset()
