"""Executes a part of each chunk, and blends the seams."""

from __future__ import annotations

import numpy as np


class ChunkQueue:
    """Executes the first `n_action_steps` of a chunk, then needs another; goes on with the rest if none comes.

    With `blend_steps` k, the first k actions of a new chunk are mixed with what the one before had for those ticks,
    or with the last action executed where it had nothing left: (k + 1 - i) parts of old to i of new in the i-th tick.
    """

    def __init__(self, n_action_steps: int, blend_steps: int = 0) -> None:
        self._n_action_steps = n_action_steps
        self._blend_steps = blend_steps
        self._rows = np.zeros((0, 0), np.float32)
        self._due = 0
        self._last: np.ndarray | None = None

    @property
    def needs_chunk(self) -> bool:
        """Whether `n_action_steps` of the chunk were executed."""
        return self.due == 0

    @property
    def due(self) -> int:
        """How many of the `n_action_steps` are left."""
        return self._due

    @property
    def left(self) -> int:
        """How many actions of the chunk are left."""
        return len(self._rows)

    def add(self, chunk: np.ndarray, age: int = 0) -> None:
        """Replace what is left by a chunk (T, A), but for its first `age` actions, which are too late."""
        rows = chunk[age:]
        if not len(rows):
            return
        n = min(self._blend_steps, len(rows))
        if n and self._last is not None:
            old = np.concatenate([self._rows[:n], np.repeat(self._end()[None], max(0, n - len(self._rows)), axis=0)])
            share = (np.arange(1, n + 1) / (self._blend_steps + 1))[:, None]
            rows = np.concatenate([old + share * (rows[:n] - old), rows[n:]])
        self._rows = rows
        self._due = min(self._n_action_steps, len(rows))

    def _end(self) -> np.ndarray:
        """What the arm is held at where the chunk has nothing left."""
        assert self._last is not None
        return self._rows[-1] if len(self._rows) else self._last

    def next_action(self) -> np.ndarray:
        """Return the next action (A,) of the chunk; IndexError where there is none left."""
        self._last = self._rows[0]
        self._drop(1)
        return self._last

    def skip(self, ticks: int) -> None:
        """Drop actions."""
        self._drop(ticks)

    def _drop(self, ticks: int) -> None:
        self._rows = self._rows[ticks:]
        self._due = max(0, min(self._due - ticks, len(self._rows)))

    def reset(self) -> None:
        """Empty the queue."""
        self._rows = np.zeros((0, 0), np.float32)
        self._due = 0
        self._last = None
