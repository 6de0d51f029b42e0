"""Limits what other executors hand out."""

from __future__ import annotations

import numpy as np

from foreact_runtime.executor_protocol import Executor, OuterExecutor
from foreact_runtime.limits import Limiter


class LimitedActions(OuterExecutor):
    """Limits what another executor hands out: the last thing that happens to an action."""

    def __init__(self, executor: Executor, limiter: Limiter) -> None:
        """Take the executor and what limits its actions."""
        super().__init__(executor)
        self.limiter = limiter

    def next_action(self, measured: np.ndarray | None = None) -> np.ndarray:
        """Return this tick's action (A,), float32.

        Args:
            measured: Where the action's dimensions are measured now (A,), nan where that is not known; looked at where
                nothing was sent yet.
        """
        return self.limiter.limit(self._executor.next_action(), measured)

    def reset(self) -> None:
        """Begin a new episode; the limiter's counts go on."""
        super().reset()
        self.limiter.reset()
