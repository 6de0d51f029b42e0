"""Statistics as LeRobot stores them, an episode at a time and merged (FORMATS.md 1.4).

They are part of the format. Training uses the exact ones of `foreact.data.statistics` instead: merged quantiles are
means of the episodes' quantiles, which is not a quantile, and they include the held-out episodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

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


class PictureStats:
    """Statistics a channel (C, 1, 1) over a sample of an episode's frames and pixels, while these go by.

    n^0.75 frames are sampled, at least 100 and at most 10 000, as LeRobot does; exact over those, from the histogram of
    the values.
    """

    def __init__(self, n_frames: int, levels: np.ndarray | None = None, n_channels: int = 3) -> None:
        """Begin an episode.

        Args:
            n_frames: How many there will be.
            levels: What each pixel value means (K,); None for uint8 colours, scaled to [0, 1].
            n_channels: C.
        """
        self._n_sampled = min(n_frames, max(100, min(10_000, int(n_frames**0.75))))
        self._chosen = frozenset(np.linspace(0, n_frames - 1, self._n_sampled).round().astype(int).tolist())
        self._levels = np.arange(256) / 255 if levels is None else levels
        self._histogram = np.zeros((n_channels, len(self._levels)), np.int64)
        self.n_frames = 0
        """How many have gone by."""
        self.size = (0, 0)
        """Height and width of the last."""

    def watch(self, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the pictures, (H, W, C) or (H, W) for one channel, as they are."""
        for number, picture in enumerate(pictures):
            yield picture  # first, so that who takes it has checked it
            self.n_frames, self.size = number + 1, (picture.shape[0], picture.shape[1])
            if number in self._chosen:
                stride = max(1, max(picture.shape[:2]) // _PICTURE_SIDE)
                channels = picture[::stride, ::stride].reshape(-1, len(self._histogram))
                for histogram, values in zip(self._histogram, channels.T, strict=True):
                    histogram += np.bincount(values, minlength=len(self._levels))

    def result(self) -> dict[str, np.ndarray]:
        """Return the statistics, once all pictures have gone by."""
        histogram, levels = self._histogram, self._levels
        share = histogram / histogram.sum(1, keepdims=True)
        cumulative = share.cumsum(1)
        mean = share @ levels
        of_channel = {
            "min": levels[(histogram > 0).argmax(1)],
            "max": levels[len(levels) - 1 - (histogram[:, ::-1] > 0).argmax(1)],
            "mean": mean,
            "std": np.sqrt((share * (levels - mean[:, None]) ** 2).sum(1)),
            **{name: levels[(cumulative >= quantile - 1e-12).argmax(1)] for name, quantile in QUANTILES.items()},
        }
        stats = {name: value.reshape(-1, 1, 1) for name, value in of_channel.items()}
        return {**stats, "count": np.array([self._n_sampled])}


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
