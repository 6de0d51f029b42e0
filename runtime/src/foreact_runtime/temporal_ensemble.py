"""The paper's temporal ensemble (Zhao et al. 2023, section IV-A and algorithm 2)."""

from __future__ import annotations

import numpy as np


class TemporalEnsemble:
    """Averages all predictions for a tick with weights w_i = exp(-m i), i = 0 for the OLDEST one.

    The weights are the paper's; the walkthrough of seed 003 says that recent ones weigh more, but its code, like
    the paper's, does the opposite. m = 0 is a plain mean, m < 0 favours the newest. How many predictions a tick
    has is counted, never inferred from values: the published code takes an exact 0 for an empty slot.

    Kept as a running mean, so memory is O(T A) and a tick costs O(T A).
    """

    def __init__(self, chunk_size: int, coeff: float) -> None:
        # When a tick's prediction number c arrives, it gets the share w_c / (w_0 + ... + w_c), which equals
        # 1 / (e^0 + e^m + ... + e^(m c)): no weight itself is formed, so a large |m| cannot overflow to nan.
        with np.errstate(over="ignore"):
            self._share = 1 / np.cumsum(np.exp(coeff * np.arange(chunk_size)))
        self._mean = np.zeros((0, 0))
        self._count = np.zeros(0, np.int64)
        self._fresh = False

    @property
    def needs_chunk(self) -> bool:
        """Whether this tick's own prediction is still missing: an ensemble asks every tick."""
        return not self._fresh

    @property
    def due(self) -> int:
        """0 until this tick's own prediction is there."""
        return int(self._fresh)

    @property
    def left(self) -> int:
        """How many ticks have a prediction."""
        return len(self._mean)

    def add(self, chunk: np.ndarray, age: int = 0) -> None:
        """Average a chunk (T, A), but for its first `age` actions, into the ticks it covers."""
        chunk = np.asarray(chunk[age:], np.float64)
        if not len(chunk):
            return
        known = min(len(self._mean), len(chunk))
        if known:
            share = self._share[self._count[:known]][:, None]
            self._mean[:known] += share * (chunk[:known] - self._mean[:known])
            self._mean = np.concatenate([self._mean, chunk[known:]])
        else:
            self._mean = chunk.copy()
        self._count[:known] += 1
        self._count = np.concatenate([self._count, np.ones(len(chunk) - known, np.int64)])
        self._fresh = True

    def next_action(self) -> np.ndarray:
        """Return this tick's mean (A,), float32; IndexError where `needs_chunk` was ignored at the start."""
        action = self._mean[0].astype(np.float32)
        self.skip(1)
        return action

    def skip(self, ticks: int) -> None:
        """Drop the means of some ticks."""
        self._mean, self._count = self._mean[ticks:], self._count[ticks:]
        self._fresh = self._fresh and ticks == 0

    def reset(self) -> None:
        """Forget all predictions."""
        self._mean = np.zeros((0, 0))
        self._count = np.zeros(0, np.int64)
        self._fresh = False
