"""Recorded episodes gone through tick by tick: what a policy predicts at each, and what its executor makes of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import torch

from foreact.data.dataset import ChunkDataset
from foreact.data.dimensions import paired_dimensions
from foreact.data.lookup import spread_evenly
from foreact.diagnose.tune_executor import Predicted, execute, predict_rows
from foreact.errors import CheckpointError, UnreachableError
from foreact.policy.policy import Policy
from foreact.records import Episode, Features
from foreact_runtime import limits
from foreact_runtime.executor import ChunkQueue, HandPoses, make_executor

MOST = 1000
"""Predictions up to which further episodes are gone through."""
FEWEST = 4
"""Episodes that are gone through however long they are."""
COMPARED = 250
"""Chunks that are turned into actions to be compared with the demonstrated ones: inverse kinematics take their time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """One episode."""

    episode: Episode
    is_held_out: bool | None
    """Whether the policy was not trained on it; None where the checkpoint does not say."""
    chunks: np.ndarray
    """(L, T, C): what the policy predicts at each tick with z = 0: actions, or with `frame` hand poses."""
    executed: np.ndarray
    """(L, A): what the policy's own executor hands out, seeing the recorded observations."""
    asked: tuple[int, ...]
    """Ticks at which the executor asked for a chunk."""
    ticks: np.ndarray
    """int (K,): some of the ticks, evenly spread."""
    actions: np.ndarray
    """(K, T, A): the chunks of these ticks as actions in the robot's units; where the hand cannot go, the arm stays."""

    @property
    def predicted(self) -> Predicted:
        """The same as `foreact tune-executor` takes it."""
        return Predicted(action=self.episode.action, chunks=self.chunks)


def replay(
    policy: Policy,
    dataset: ChunkDataset,
    *,
    held_out: int | None,
    most: int = MOST,
    compared: int = COMPARED,
    advance: Callable[[int], None] = lambda n: None,
) -> tuple[Replay, ...]:
    """Go through the first episodes of a data set: those not trained on where there are enough of them.

    Chunks come at once, as in an evaluation, also to an executor that is asynchronous.

    Args:
        policy: Examined.
        dataset: With the held-out episodes first.
        held_out: How many those are; None where that is not known.
        most: Predictions up to which further episodes are gone through, beyond the first `FEWEST`.
        compared: Chunks that are turned into actions.
        advance: Called with the number of chunks that were predicted.

    Raises:
        CheckpointError: If a chunk is not finite.
    """
    episodes = dataset.episodes
    if held_out is not None and held_out >= FEWEST:
        episodes = episodes[:held_out]
    stops = np.cumsum([episode.length for episode in episodes])
    n = max(min(FEWEST, len(episodes)), int((stops <= most).sum()))
    chosen = np.array(spread_evenly(range(stops[n - 1]), compared))
    executor = make_executor(policy.executor_settings, policy.features)
    replays = []
    for i, episode in enumerate(episodes[:n]):
        first = int(stops[i]) - episode.length
        ticks = chosen[(chosen >= first) & (chosen < stops[i])] - first
        chunks = _predict(policy, dataset, first, episode, advance)
        executor.reset()
        with _limits_unsaid():
            executed, asked = execute(executor, Predicted(action=episode.action, chunks=chunks))
        still = held_still(episode, policy.features)
        of = Replay(
            episode=episode,
            is_held_out=None if held_out is None else i < held_out,
            chunks=chunks,
            executed=executed,
            asked=tuple(asked),
            ticks=ticks,
            actions=np.array([as_actions(policy, chunks[tick], still[tick]) for tick in ticks]),
        )
        replays.append(of)
    return tuple(replays)


@contextmanager
def _limits_unsaid() -> Iterator[None]:
    """Nothing moves, so nobody need hear of each command that is limited."""
    log = logging.getLogger(limits.__name__)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


@torch.inference_mode()
def _predict(
    policy: Policy, dataset: ChunkDataset, first: int, episode: Episode, advance: Callable[[int], None]
) -> np.ndarray:
    chunks = predict_rows(policy.predictor, dataset, range(first, first + episode.length), policy.device, advance)
    if not np.isfinite(chunks).all():
        raise CheckpointError(
            f"the network's chunks are not finite, first in episode {episode.index}; "
            "its weights are damaged, or an input is: take an earlier --checkpoint"
        )
    return chunks


def as_actions(policy: Policy, chunk: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Return a chunk (T, C) as actions (T, A) in the robot's units.

    Until the hand can go where it should the arm does `otherwise` (A,). Each step's inverse kinematics cost a
    millisecond or two.
    """
    if not policy.executor_settings.hand_poses:
        return chunk
    executor = HandPoses(ChunkQueue(len(chunk)), policy.features)
    executor.add(chunk)
    actions = []
    for _ in range(len(chunk)):
        with suppress(UnreachableError):
            otherwise = executor.next_action()
        actions.append(otherwise)
    return np.stack(actions)


def held_still(episode: Episode, features: Features) -> np.ndarray:
    """Return the actions (L, A) that leave the arm where it is measured.

    What the state does not measure keeps its last action. Where actions are displacements, 0 stands still: they are
    taken for such where they are nearer to 0 than to the state.
    """
    still = np.concatenate([episode.action[:1], episode.action[:-1]])
    if episode.state is None:
        return still
    state = {name: dim for dim, name in enumerate(features.state_names)}
    named = [(dim, state[name]) for dim, name in enumerate(features.action_names) if name in state]
    pairs = named or paired_dimensions(features)
    if not pairs:
        return still
    actions, states = ([pair[side] for pair in pairs] for side in (0, 1))
    measured = episode.state[:, states]
    if np.abs(episode.action[:, actions]).mean() < np.abs(episode.action[:, actions] - measured).mean():
        return np.zeros_like(still)
    still[:, actions] = measured
    return still


def action_scale(replays: Sequence[Replay], narrowest: float) -> np.ndarray:
    """Return the demonstrated actions' standard deviation (A,); nan where a dimension varies less than `narrowest`.

    Where none varies more, 1.
    """
    spread = np.concatenate([of.episode.action for of in replays]).astype(np.float64).std(axis=0)
    moves = spread > narrowest
    return np.where(moves, spread, np.nan) if moves.any() else np.ones_like(spread)


def on_what(replays: Sequence[Replay]) -> str:
    """Return `27 held-out episodes`, or how many and that they were trained on, or may have been."""
    held_out = sum(of.is_held_out is True for of in replays)
    n = f"{len(replays)} episode{'s' * (len(replays) != 1)}"
    if any(of.is_held_out is None for of in replays):
        return f"{n} that it may have been trained on"
    if held_out == len(replays):
        return n.replace("episode", "held-out episode")
    return f"{n}, {len(replays) - held_out} of them trained on" if held_out else f"{n} that it was trained on"
