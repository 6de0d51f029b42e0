"""What is usual in a data set: each dimension's range and step, from a few episodes, before all are looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreact.data.lookup import spread_evenly
from foreact.data.source import EpisodeSource
from foreact.data.statistics import vectors
from foreact.errors import DataError
from foreact.normalizer import NARROWEST

EPISODES = 40
"""Episodes, spread evenly, that the usual is taken from."""
_FRAMES = 500
"""Frames of each, spread evenly."""
STILL = 0.1
"""A step below this share of the usual large one counts as none: an encoder's noise."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The usual values of one vector, each (D,), in its own units; jumps of a few frames do not move them."""

    low: np.ndarray
    """1 % quantile."""
    high: np.ndarray
    """99 % quantile."""
    mean: np.ndarray
    std: np.ndarray
    """At least `NARROWEST`."""
    step: np.ndarray
    """95 % quantile of the change from one frame to the next."""

    @property
    def spread(self) -> np.ndarray:
        """From low to high (D,)."""
        return self.high - self.low

    @property
    def least_step(self) -> np.ndarray:
        """The change (D,) from which a dimension counts as moving."""
        return np.maximum(STILL * self.step, np.maximum(0.002 * self.spread, 0.1 * NARROWEST))


def usual_scales(source: EpisodeSource) -> dict[str, Scale]:
    """Return what is usual by key; episodes that cannot be read or hold a NaN do not count.

    Raises:
        DataError: If no episode can be read: the first one's reason.
    """
    chosen = spread_evenly(source.episode_indices, EPISODES)
    values: dict[str, list[np.ndarray]] = {}
    steps: dict[str, list[np.ndarray]] = {}
    reason: DataError | None = None
    for index in (*chosen, *source.episode_indices):
        if index not in chosen and values:  # only where none of the chosen can be read
            break
        try:
            of = vectors(source.episode(index))
        except DataError as error:
            reason = reason or error
            continue
        for key, vector in of.items():
            if not np.isfinite(vector).all():
                continue
            frames = spread_evenly(range(len(vector)), _FRAMES)
            values.setdefault(key, []).append(vector[list(frames)].astype(np.float64))
            before = list(spread_evenly(range(len(vector) - 1), _FRAMES))
            steps.setdefault(key, []).append(
                np.abs(vector[[f + 1 for f in before]].astype(np.float64) - vector[before])
            )
    if not values:
        raise reason or DataError(
            f"every episode of '{source.root}' holds numbers that are not finite; record it again"
        )
    return {key: _scale(np.concatenate(values[key]), np.concatenate(steps[key])) for key in values}


def _scale(values: np.ndarray, steps: np.ndarray) -> Scale:
    low, high = np.quantile(values, (0.01, 0.99), axis=0)
    return Scale(
        low=low,
        high=high,
        mean=values.mean(axis=0),
        std=np.maximum(values.std(axis=0), NARROWEST),
        step=np.quantile(steps, 0.95, axis=0) if len(steps) else np.zeros_like(low),
    )
