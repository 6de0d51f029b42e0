"""How sure a ratio of errors is: the bootstrap over episodes, since moments of one episode go together."""

from __future__ import annotations

import numpy as np

RESAMPLES = 2000


def ratio_interval(
    over: np.ndarray, under: np.ndarray, *, paired: bool, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of mean(over) / mean(under).

    Args:
        over: One value an episode (E,).
        under: The same (F,), positive; of the same episodes in the same order where `paired`.
        paired: Whether both are drawn together.
        level: Share of the resamples within the interval.
        seed: Of the draws.

    Source: Efron and Tibshirani 1993, chapter 13. With few episodes it is too narrow: 10 are few.
    """
    rng = np.random.default_rng(seed)
    first = rng.integers(len(over), size=(RESAMPLES, len(over)))
    second = first if paired else rng.integers(len(under), size=(RESAMPLES, len(under)))
    ratios = over[first].mean(axis=1) / np.maximum(under[second].mean(axis=1), 1e-12)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
