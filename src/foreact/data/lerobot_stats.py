"""Statistics as LeRobot stores them, an episode at a time and merged (FORMATS.md 1.4).

They are part of the format. Training uses the exact ones of `foreact.data.statistics` instead: merged quantiles are
means of the episodes' quantiles, which is not a quantile, and they include the held-out episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

FeatureStats = Mapping[str, np.ndarray]
"""`min`, `max`, `mean`, `std`, `q01`, `q10`, `q50`, `q90`, `q99` of the feature's shape, `count` of shape (1,)."""

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_PICTURE_SIDE = 150
"""Pixels; larger pictures are strided to about this."""


def vector_stats(values: np.ndarray) -> dict[str, np.ndarray]:
    """Return statistics over the frames of an episode (L, D)."""
    values = values.astype(np.float64)
    return {
        "min": values.min(0),
        "max": values.max(0),
        "mean": values.mean(0),
        "std": values.std(0),
        "count": np.array([len(values)]),
        **{name: np.quantile(values, share, axis=0) for name, share in QUANTILES.items()},
    }


def image_stats(frames: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return statistics a channel (3, 1, 1) of colours scaled to [0, 1], over a sample of frames and pixels.

    n^0.75 frames are sampled, at least 100 and at most 10 000, as LeRobot does; exact over those, from the
    histogram of the 256 values.
    """
    n_sampled = min(len(frames), max(100, min(10_000, int(len(frames) ** 0.75))))
    chosen = np.linspace(0, len(frames) - 1, n_sampled).round().astype(int)
    stride = max(1, max(frames[0].shape[:2]) // _PICTURE_SIDE)
    histogram = np.zeros((3, 256), np.int64)
    for index in chosen:
        picture = frames[index][::stride, ::stride]
        for channel in range(3):
            histogram[channel] += np.bincount(picture[..., channel].ravel(), minlength=256)

    levels = np.arange(256) / 255
    share = histogram / histogram.sum(1, keepdims=True)
    cumulative = share.cumsum(1)
    mean = share @ levels
    of_channel = {
        "min": levels[(histogram > 0).argmax(1)],
        "max": levels[255 - (histogram[:, ::-1] > 0).argmax(1)],
        "mean": mean,
        "std": np.sqrt((share * (levels - mean[:, None]) ** 2).sum(1)),
        **{name: levels[(cumulative >= quantile - 1e-12).argmax(1)] for name, quantile in QUANTILES.items()},
    }
    stats = {name: value.reshape(3, 1, 1) for name, value in of_channel.items()}
    return {**stats, "count": np.array([n_sampled])}


def merge_stats(first: FeatureStats, second: FeatureStats) -> dict[str, np.ndarray]:
    """Return the statistics of two sets of frames together: exact, quantiles as LeRobot's weighted means."""
    count = first["count"] + second["count"]
    weight = (second["count"] / count).item()
    mean = first["mean"] + weight * (second["mean"] - first["mean"])
    variance = (1 - weight) * (first["std"] ** 2 + (first["mean"] - mean) ** 2)
    variance += weight * (second["std"] ** 2 + (second["mean"] - mean) ** 2)
    return {
        "min": np.minimum(first["min"], second["min"]),
        "max": np.maximum(first["max"], second["max"]),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": count,
        **{name: (1 - weight) * first[name] + weight * second[name] for name in QUANTILES},
    }
