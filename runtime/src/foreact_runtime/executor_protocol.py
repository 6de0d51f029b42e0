"""What an executor is: whatever turns predicted chunks into one action a tick."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Executor(Protocol):
    """Turns predicted chunks (T, A) into actions (A,), one a control tick."""

    @property
    def needs_chunk(self) -> bool:
        """Whether `add` must come before the next `next_action`, where chunks are waited for."""
        ...

    @property
    def due(self) -> int:
        """Ticks until the next chunk should take over; 0 where it is needed now."""
        ...

    @property
    def left(self) -> int:
        """Ticks for which there are actions, should no further chunk come."""
        ...

    def add(self, chunk: np.ndarray, age: int = 0) -> None:
        """Take a chunk (T, A) that was predicted for the tick `age` ticks ago and the T - 1 after that one."""
        ...

    def next_action(self) -> np.ndarray:
        """Return the action (A,) of this tick and go on to the next."""
        ...

    def skip(self, ticks: int) -> None:
        """Drop the actions of ticks that went by without being asked for."""
        ...

    def reset(self) -> None:
        """Forget everything: a new episode begins."""
        ...


class OuterExecutor:
    """An executor that changes what another one hands out, and leaves it the rest."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    @property
    def needs_chunk(self) -> bool:
        """As the executor inside."""
        return self._executor.needs_chunk

    @property
    def due(self) -> int:
        """As the executor inside."""
        return self._executor.due

    @property
    def left(self) -> int:
        """As the executor inside."""
        return self._executor.left

    def add(self, chunk: np.ndarray, age: int = 0) -> None:
        """Hand a chunk on."""
        self._executor.add(chunk, age)

    def skip(self, ticks: int) -> None:
        """Let ticks go by."""
        self._executor.skip(ticks)

    def reset(self) -> None:
        """Begin a new episode."""
        self._executor.reset()
