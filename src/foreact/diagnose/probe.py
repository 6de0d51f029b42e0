"""What a network is asked about: moments of some episodes, predicted as they are or with one input changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.data.dataset import ChunkDataset
from foreact.errors import CheckpointError
from foreact.geometry.object_frame import HandPose
from foreact.policy.inputs import CUE_DIM, Inputs, with_cue
from foreact.records import Batch, Features

BATCH = 32
"""Samples predicted at once."""
FEWER = 16
"""Episodes for what needs many predictions of each."""

Change = Callable[[Batch, slice], Batch]
"""An intervention: a raw batch, and which stretch of the samples it is, to another raw batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunks:
    """Chunks of N samples, predicted or demonstrated, side by side."""

    action: np.ndarray
    """(N, T, A'), normalised, as the network gives them: with `frame` displacements of the hand."""
    hand: np.ndarray | None
    """(N, T, 3): where they would have the hand [m]; None where the arm's kinematics are not known."""


class Probe:
    """A network with its inputs, and episodes to examine it on."""

    def __init__(
        self,
        model: torch.nn.Module,
        inputs: Inputs,
        features: Features,
        dataset: ChunkDataset,
        *,
        episodes: int | None = None,
        advance: Callable[[int], None] = lambda n: None,
    ) -> None:
        """Put together what is asked and what is asked about.

        Args:
            model: An `ACT`, or anything that is called like one, in evaluation mode.
            inputs: What prepares its batches.
            features: As selected from the data.
            dataset: Samples of at least one episode.
            episodes: Take this many of its episodes, the first; None takes all.
            advance: Called with the number of samples that were predicted.
        """
        self.model = model
        self.inputs = inputs
        self.features = features
        self.dataset = dataset
        self.advance = advance
        lengths = [episode.length for episode in dataset.episodes]
        self._lengths = np.array(lengths)[:episodes]
        self._starts = (np.cumsum(lengths) - lengths)[:episodes]
        self.episodes = tuple(episode.index for episode in dataset.episodes[:episodes])
        self._action_hand: HandPose | None = None
        arm = features.arm
        if arm is not None and set(arm.joints) <= set(features.action_names):
            self._action_hand = HandPose(arm, features.action_names).to(self.device)

    def of(self, dataset: ChunkDataset) -> Probe:
        """Return the same network on other episodes."""
        return Probe(self.model, self.inputs, self.features, dataset, advance=self.advance)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.inputs.normalizer.get_buffer("action_scale").device

    @property
    def has_cue(self) -> bool:
        """Whether the network is told a place: coordinates of two dimensions or more."""
        return self.features.environment_dim >= CUE_DIM

    @property
    def knows_hand(self) -> bool:
        """Whether chunks can be turned into the hand's path."""
        return self.inputs.frame is not None or self._action_hand is not None

    def samples(self, share: float, episodes: int | None = None) -> np.ndarray:
        """Return the sample (N,) of each episode at a share of its way in [0, 1)."""
        return (self._starts + (share * self._lengths).astype(int))[:episodes]

    def moments(self, shares: Sequence[float], episodes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples (N,) of each episode at several shares of its way, and which of the episodes each is."""
        samples = np.concatenate([self.samples(share, episodes) for share in shares])
        return samples, np.tile(np.arange(len(samples) // len(shares)), len(shares))

    def errors(self, samples: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return the mean absolute error (N,) of normalised chunks (N, T, A') over the steps that exist."""
        error = np.abs(predicted - self.demonstrated(samples).action).mean(axis=-1)
        is_real = ~self.is_pad(samples)
        return (error * is_real).sum(axis=1) / is_real.sum(axis=1)

    def cues(self, samples: np.ndarray) -> np.ndarray:
        """Return the samples' coordinates (N, 2) [m]."""
        state = self.dataset.vectors(samples.tolist()).environment_state
        assert state is not None
        return state[:, :CUE_DIM].numpy().astype(np.float64)

    def other_vectors(self, samples: np.ndarray) -> np.ndarray:
        """Return what else the samples say in numbers (N, K): raw states, and coordinates beyond the cue's two."""
        batch = self.dataset.vectors(samples.tolist())
        parts = [batch.state, None if batch.environment_state is None else batch.environment_state[:, CUE_DIM:]]
        known = [part.numpy().astype(np.float64) for part in parts if part is not None]
        return np.concatenate([np.zeros((len(samples), 0)), *known], axis=1)

    def is_pad(self, samples: np.ndarray) -> np.ndarray:
        """Return bool (N, T), True where the samples' chunks reach beyond their episode."""
        is_pad = self.dataset.vectors(samples.tolist()).action_is_pad
        assert is_pad is not None
        return is_pad.numpy()

    @torch.no_grad()
    def demonstrated(self, samples: np.ndarray) -> Chunks:
        """Return the chunks that the data hold for some samples."""
        raw = self.dataset.vectors(samples.tolist()).to(self.device)
        assert raw.action is not None
        batch = raw if self.inputs.frame is None else self.inputs.frame.encode(raw)
        normalised = self.inputs.normalizer.normalize(batch).action
        assert normalised is not None
        hand = None if self._action_hand is None else self.hand_of(raw.action)
        return Chunks(action=_array(normalised), hand=None if hand is None else _array(hand))

    @torch.no_grad()
    def predict(self, samples: np.ndarray, change: Change | None = None) -> Chunks:
        """Return the network's chunks for some samples, the latent at the prior's mode.

        Args:
            samples: Which (N,).
            change: Applied to each raw batch before it is prepared.

        Raises:
            CheckpointError: If a chunk is not finite.
        """
        actions, hands = [], []
        for start in range(0, len(samples), BATCH):
            here = slice(start, min(start + BATCH, len(samples)))
            raw = self.raw(samples[here]).to(self.device)
            raw = raw if change is None else change(raw, here)
            batch = self.inputs.prepare(raw, cells=getattr(self.model, "cell_middles", None))
            action_hat = self.model(batch, z="zero").action_hat
            if not torch.isfinite(action_hat).all():
                which = sorted(set(self.episodes_of(samples[here])))
                raise CheckpointError(
                    f"the network's chunks are not finite, first in episodes {', '.join(map(str, which))}; "
                    "its weights are damaged, or an input is: take an earlier --checkpoint"
                )
            actions.append(_array(action_hat))
            if self.knows_hand:
                chunk = self.inputs.read_chunk(action_hat, raw)
                hands.append(_array(chunk[..., :3] if self.inputs.frame is not None else self.hand_of(chunk)))
            self.advance(raw.size)
        return Chunks(action=np.concatenate(actions), hand=np.concatenate(hands) if hands else None)

    def predict_with_cue(self, samples: np.ndarray, cue: np.ndarray) -> Chunks:
        """Return the network's chunks for the samples' observations with other coordinates (N, 2) [m]."""
        return self.predict(samples, lambda raw, here: with_cue(raw, torch.from_numpy(cue[here]).to(raw_like(raw))))

    def episodes_of(self, samples: np.ndarray) -> list[int]:
        """Return the samples' episodes."""
        index = self.dataset.vectors(samples.tolist()).episode_index
        assert index is not None
        return index.tolist()

    def raw(self, samples: np.ndarray) -> Batch:
        """Return the raw batch of some samples, without what only training needs."""
        return replace(self.dataset.__getitems__(samples.tolist()), action=None, action_is_pad=None)

    def hand_of(self, action: Tensor) -> Tensor:
        """Return where raw actions (N, T, A) have the hand, (N, T, 3) [m]; the arm must be known."""
        assert self._action_hand is not None
        position, _ = self._action_hand(action.flatten(0, 1))
        return position.unflatten(0, action.shape[:2])


def raw_like(raw: Batch) -> Tensor:
    """Return the tensor whose type and device new coordinates take."""
    assert raw.environment_state is not None
    return raw.environment_state


def first_episodes(held_out: Sequence[int], others: Sequence[int], wanted: int) -> tuple[int, ...]:
    """Return up to `wanted` episodes: held-out ones spread evenly, and only then of the others."""
    chosen = _spread(held_out, wanted)
    return (*chosen, *_spread(others, wanted - len(chosen)))


def _spread(episodes: Sequence[int], wanted: int) -> tuple[int, ...]:
    n = max(0, min(wanted, len(episodes)))
    return tuple(episodes[i * len(episodes) // n] for i in range(n))


def _array(tensor: Tensor) -> np.ndarray:
    array: Any = tensor.detach().float().cpu().numpy()
    return array.astype(np.float64)
