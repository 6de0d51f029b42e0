"""How a policy's chunks are best executed, found out offline: each chunk is predicted once, then executors are swept.

Along recorded episodes, each executor gets the chunks that it would have asked for, and what it hands out is compared
with the recorded actions. The arm does not move by it, so a policy's own mistakes do not add up: the figures rank ways
of executing, they predict no success.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from foreact.data.dataset import ChunkDataset
from foreact.data.dimensions import is_gripper
from foreact.errors import DataError, UnreachableError
from foreact.policy.policy import Policy
from foreact.records import Batch
from foreact_runtime.executor import Executor, make_executor
from foreact_runtime.settings import ExecutorSettings
from foreact_runtime.smoothness import jerk

BATCH = 32
COEFFICIENTS = (-0.1, 0.0, 0.01, 0.1, 0.5)
"""Of the ensembles in the sweep: favouring the newest, a plain mean, the paper's, and favouring the oldest more."""
NEAR = 0.05
"""Standard deviations by which an error may be above the least: a twentieth of how far the arm moves at all."""
SMOOTH = 1.25
"""How often the jerk may be that of the smoothest setting, or of the demonstrations where that is more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Predicted:
    """An episode with the chunk that the policy predicts at each of its ticks."""

    action: np.ndarray
    """Recorded (L, A)."""
    chunks: np.ndarray
    """Predicted (L, T, C): actions, or with `frame` hand poses."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one way of executing comes to. Errors are in standard deviations of the recorded actions."""

    n_action_steps: int
    temporal_ensemble_coeff: float | None
    error: float
    """Mean distance of what is executed from the recorded action."""
    disagreement: float | None
    """Mean distance of a chunk's first action from what the chunk asked for before had for that tick, in standard
    deviations of the chunks' first actions: what the arm has to make up for where the one takes over. None where
    chunks are executed to their end."""
    jerk: float
    """Mean jerk, as a multiple of the recorded actions'."""
    jerk_max: float
    """Mean of the episodes' largest jerk, as a multiple of the recorded actions'."""
    queries: float
    """Chunks asked for a tick."""
    success: str | None = None
    """What the simulation says, for people: `18/20 = 90% (70% to 97%)`."""
    success_rate: float | None = None

    @property
    def name(self) -> str:
        """For people."""
        if self.temporal_ensemble_coeff is not None:
            return f"ensemble, m = {self.temporal_ensemble_coeff:g}"
        return f"queue, {self.n_action_steps} step{'s' * (self.n_action_steps > 1)}"


def predict_episodes(
    policy: Policy, dataset: ChunkDataset, advance: Callable[[int], None] = lambda n: None
) -> list[Predicted]:
    """Return the episodes of a data set with the chunks that the policy predicts, each predicted once."""
    chunks = predict_rows(policy.predict, dataset, range(len(dataset)), policy.device, advance)
    stops = np.cumsum([episode.length for episode in dataset.episodes])[:-1]
    return [
        Predicted(action=episode.action, chunks=of)
        for episode, of in zip(dataset.episodes, np.split(chunks, stops), strict=True)
    ]


def predict_rows(
    predict: Callable[[Batch], torch.Tensor],
    dataset: ChunkDataset,
    rows: range,
    device: torch.device,
    advance: Callable[[int], None],
) -> np.ndarray:
    """Return the chunks (L, T, C) for some rows of a data set, predicted a few at a time.

    Args:
        predict: From a raw batch on the device to chunks.
        dataset: What is predicted from.
        rows: Which of its samples.
        device: Where `predict` computes.
        advance: Called with the number of chunks that were predicted.
    """
    parts = []
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        raw = replace(dataset.__getitems__(some), action=None, action_is_pad=None).to(device)
        parts.append(predict(raw).cpu().numpy())
        advance(len(some))
    return np.concatenate(parts)


def candidates(settings: ExecutorSettings) -> list[ExecutorSettings]:
    """Return what is tried: queues of 1, 2, 4, ... steps up to the whole chunk and the policy's own, and ensembles."""
    steps = {2**power for power in range(settings.chunk_size.bit_length()) if 2**power <= settings.chunk_size}
    steps |= {settings.chunk_size, settings.n_action_steps}
    plain = replace(settings, temporal_ensemble_coeff=None, asynchronous=False, blend_steps=0)
    coeffs = {*COEFFICIENTS, *([] if (own := settings.temporal_ensemble_coeff) is None else [own])}
    return [
        *(replace(plain, n_action_steps=n) for n in sorted(steps)),
        *(replace(plain, n_action_steps=1, temporal_ensemble_coeff=coeff) for coeff in sorted(coeffs)),
    ]


def measure(policy: Policy, episodes: Sequence[Predicted], settings: ExecutorSettings) -> Measured:
    """Return what a way of executing comes to on some episodes.

    Raises:
        DataError: If no episode is long enough for a third difference.
    """
    counted, smooth = dimensions(policy, episodes)
    scale = np.concatenate([of.action for of in episodes]).astype(np.float64).std(axis=0)[counted]
    moving, first = moving_columns(policy, episodes)
    errors, gaps, queries, ticks = [], [], 0, 0
    jerks: list[np.ndarray] = []
    recorded: list[np.ndarray] = []
    executor = make_executor(settings, policy.features)  # one for all, so that it logs the same limit only so often
    for of in episodes:
        executor.reset()
        executed, asked = execute(executor, of)
        errors.append(np.abs(executed - of.action)[:, counted] / scale)
        overlapping = [(early, late) for early, late in pairwise(asked) if late - early < settings.chunk_size]
        gaps += [np.abs(of.chunks[late, 0] - of.chunks[early, late - early])[moving] for early, late in overlapping]
        queries, ticks = queries + len(asked), ticks + len(executed)
        if len(executed) > 3:
            jerks.append(jerk(executed[:, smooth], 1) / scale[np.isin(counted, smooth)])
            recorded.append(jerk(of.action[:, smooth], 1) / scale[np.isin(counted, smooth)])
    if not jerks:
        raise DataError("no episode has the four ticks that jerk is measured over; give longer ones with --data")

    def ratio(figure: Callable[[np.ndarray], float]) -> float:
        of_recorded = float(np.mean([figure(of) for of in recorded]))
        return float(np.mean([figure(of) for of in jerks])) / max(of_recorded, 1e-12)

    return Measured(
        n_action_steps=settings.n_action_steps,
        temporal_ensemble_coeff=settings.temporal_ensemble_coeff,
        error=float(np.concatenate(errors).mean()),
        disagreement=float(np.sum(np.mean(gaps, axis=0) / first) / max(1, len(moving))) if gaps else None,
        jerk=ratio(np.mean),
        jerk_max=ratio(np.max),
        queries=queries / ticks,
    )


def execute(executor: Executor, episode: Predicted) -> tuple[np.ndarray, list[int]]:
    """Return what an executor hands out along an episode (L, A), and the ticks at which it asked for a chunk."""
    actions: list[np.ndarray] = []
    asked = []
    for tick, chunk in enumerate(episode.chunks):
        if executor.needs_chunk:
            asked.append(tick)
            executor.add(chunk)
        try:
            actions.append(executor.next_action())
        except UnreachableError:  # the arm stays where it is for that tick
            actions.append(actions[-1] if actions else episode.action[0])
    return np.stack(actions), asked


def moving_columns(policy: Policy, episodes: Sequence[Predicted]) -> tuple[np.ndarray, np.ndarray]:
    """Return the chunks' columns that move (K,), and the standard deviation of their first steps (K,)."""
    first = np.concatenate([of.chunks[:, 0] for of in episodes]).astype(np.float64).std(axis=0)
    moving = np.flatnonzero(first > policy.config.narrowest)
    if policy.executor_settings.hand_poses:  # the last columns say where the joints were, not where they are to go
        assert policy.features.arm is not None
        moving = moving[moving < len(first) - len(policy.features.arm.joints)]
    return moving, first[moving]


def dimensions(policy: Policy, episodes: Sequence[Predicted]) -> tuple[np.ndarray, np.ndarray]:
    """Return the action's dimensions that move, and those of them whose smoothness counts: a gripper is to snap."""
    spread = np.concatenate([of.action for of in episodes]).std(axis=0)
    counted = np.flatnonzero(spread > policy.config.narrowest)
    binary = policy.executor_settings.binary
    names = policy.features.action_names
    smooth = [i for i in counted if not (binary and binary[i]) and not is_gripper(policy.features, names[i])]
    return counted, np.array(smooth or counted)


def recommend(measured: Sequence[Measured]) -> Measured:
    """Return the setting to take.

    1. Of all settings, those whose error is at most 0.05 standard deviations above the least.
    2. Of these, those whose mean jerk is at most 1.25 times the least, or the demonstrations' where that is more.
    3. Of these, the one that asks for the fewest chunks; of several, the one with the least error.

    The least error alone would nearly always be that of asking every tick, since recorded observations are perfect and
    the newest knows best. On the arm each chunk is a new plan, and who plans anew every tick wavers: in simulation
    that succeeds less often (docs/executor.md).
    """
    least = min(of.error for of in measured)
    near = [of for of in measured if of.error <= least + NEAR]
    smoothest = max(1.0, min(of.jerk for of in near))
    smooth = [of for of in near if of.jerk <= SMOOTH * smoothest]
    return min(smooth, key=lambda of: (of.queries, of.error))
