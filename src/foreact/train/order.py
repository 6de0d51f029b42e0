"""In which order a training run sees its samples: rounds of sample indices, each drawn by a generator of its own.

A round of `Uniform` is a permutation of all samples. `Balanced` shows all places of the coordinates equally often, or
each source of a mix as often as its weight says, `Paired` the same moment of the same scene with different targets
side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from foreact.config import TrainConfig
from foreact.data.dataset import ChunkDataset
from foreact.errors import ConfigError
from foreact.policy.inputs import CUE_DIM

RADIUS = 0.02
"""Coordinates that differ by at most this [m] are one place."""


class Order(Protocol):
    """Endless rounds of samples; all rounds are of the same length."""

    def __len__(self) -> int:
        """Samples a round."""

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return a round, sample indices (N,); the generator decides all of it."""


def round_generator(seed: int, number: int) -> np.random.Generator:
    """Return what draws a round: its number and the run's seed decide all of it."""
    return np.random.default_rng([seed, number])


class Uniform:
    """Each sample once a round."""

    def __init__(self, n_samples: int) -> None:
        """Take the number of samples."""
        self._n_samples = n_samples

    def __len__(self) -> int:
        return self._n_samples

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return a permutation of all samples."""
        return rng.permutation(self._n_samples)


class Balanced:
    """Each sample as often as its weight says: in a round of N its share of N, rounded up or down.

    Systematic resampling (Kitagawa 1996, Appendix): with equal weights a round is a permutation.
    """

    def __init__(self, weights: np.ndarray) -> None:
        """Take a positive weight for each sample (N,)."""
        self._ends = len(weights) * np.cumsum(weights) / np.sum(weights)

    def __len__(self) -> int:
        return len(self._ends)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return the samples, in random order, at evenly spaced places of the weights laid end to end."""
        n = len(self)
        places = np.arange(n) + rng.uniform()
        return rng.permutation(np.searchsorted(self._ends, places, side="right").clip(max=n - 1))


class Paired:
    """Couples: two episodes of a scene at the same frame, side by side.

    In a scene of more than two episodes each round couples them anew; of an odd number one is left out.
    """

    def __init__(self, moments: list[np.ndarray]) -> None:
        """Take arrays of samples (M, K): M moments of scenes with K episodes, one sample for each of them."""
        self._moments = moments

    def __len__(self) -> int:
        return sum(2 * len(of) * (of.shape[1] // 2) for of in self._moments)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return couples in random order, one after the other."""
        shuffled = [rng.permuted(of, axis=1)[:, : of.shape[1] // 2 * 2] for of in self._moments]
        couples = np.concatenate([of.reshape(-1, 2) for of in shuffled])
        return rng.permutation(couples).ravel()


def order_of(dataset: ChunkDataset, config: TrainConfig, scenes: Mapping[int, int] | None) -> Order:
    """Return the order that a configuration asks for.

    Args:
        dataset: The training samples.
        config: How the policy is trained.
        scenes: Scene by episode index, `EpisodeSource.scenes`; None where each episode has its own.

    Raises:
        ConfigError: If the data have no coordinates to balance, no scene with several targets to couple, or other
            sources than the weights.
    """
    if config.sampling == "balanced":
        return Balanced(_weights(dataset))
    if config.sampling == "paired":
        if config.batch_size % 2:
            raise ConfigError(f"train.batch_size is {config.batch_size}; paired sampling needs an even number")
        return Paired(_moments(dataset, scenes))
    if config.source_weights:
        return Balanced(_source_weights(dataset, config.source_weights))
    return Uniform(len(dataset))


def check_source_weights(config: TrainConfig, n_sources: int) -> None:
    """Refuse weights for more or fewer data sets than there are; raises ConfigError."""
    if config.source_weights and len(config.source_weights) != n_sources:
        raise ConfigError(
            f"train.source_weights has {len(config.source_weights)} numbers for {n_sources} data sets; "
            "give one for each, in the order of --data"
        )


def _source_weights(dataset: ChunkDataset, weights: tuple[float, ...]) -> np.ndarray:
    """Return each sample's weight: that of its source, shared among the source's samples."""
    counts = np.bincount(dataset.source_number, minlength=len(weights))
    if len(counts) > len(weights):
        raise ConfigError(
            f"train.source_weights has {len(weights)} numbers, the samples are of {len(counts)} data sets"
        )
    for number, count in enumerate(counts):
        if not count:
            raise ConfigError(
                f"train.source_weights: no training episode is left of data set {number + 1} of --data; "
                "leave it out, or lower train.val_fraction"
            )
    return (np.array(weights) / counts)[dataset.source_number]


def _weights(dataset: ChunkDataset) -> np.ndarray:
    """Return each sample's weight: an episode's is one over the episodes at its place, shared among its frames."""
    coordinates = []
    for episode in dataset.episodes:
        if episode.environment_state is None:
            raise ConfigError(
                "train.sampling balanced needs coordinates, but the data have no observation.environment_state; "
                "choose uniform"
            )
        coordinates.append(episode.environment_state[:, :CUE_DIM].mean(axis=0))
    places, lengths = np.stack(coordinates), np.array([episode.length for episode in dataset.episodes])
    crowds = [np.sum(np.linalg.norm(places - place, axis=1) <= RADIUS) for place in places]
    return np.repeat(1.0 / (np.array(crowds) * lengths), lengths)


def _moments(dataset: ChunkDataset, scenes: Mapping[int, int] | None) -> list[np.ndarray]:
    """Return samples (M, K) of the scenes with K episodes, for each K; frames up to the shortest episode's end."""
    ranges: dict[int, list[range]] = {}
    first = 0
    for episode in dataset.episodes:
        scene = episode.index if scenes is None else scenes[episode.index]
        ranges.setdefault(scene, []).append(range(first, first + episode.length))
        first += episode.length
    by_size: dict[int, list[np.ndarray]] = {}
    for of in ranges.values():
        if len(of) > 1:
            by_size.setdefault(len(of), []).append(np.array(list(zip(*of, strict=False))))
    if not by_size:
        raise ConfigError(
            "train.sampling paired needs scenes recorded with each of their blocks as target, but each episode of the "
            "data has a scene of its own; record with foreact record --paired"
        )
    return [np.concatenate(of) for of in by_size.values()]
