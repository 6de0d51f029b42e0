"""Open-loop error: how far the predicted chunks are from the demonstrated ones, and whether that is any good.

An error alone says nothing: 0.02 rad may be excellent or worse than not moving. So the same is measured of five
answers that need no network: stand still, repeat the last action, the data's mean chunk (of all, and of the same part
of the episode), and the chunk of the recorded observation with the nearest state and coordinate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.data.chunks import chunk_frames, downsample
from foreact.data.lookup import spread_evenly
from foreact.diagnose.examined import Examined
from foreact.diagnose.replay import Replay, action_scale, held_still, on_what
from foreact.diagnose.resampling import ratio_interval
from foreact.finding import Finding, Severity
from foreact.policy.policy import Policy
from foreact.records import Episode, Features

REFERENCES = 100
"""Episodes that the mean chunk and the nearest neighbour are taken from, at most."""
_NEIGHBOURS, _MEANS = 20_000, 2_000
"""Frames of these in which neighbours are looked for, and whose chunks the means are of, at most."""
PHASES = 8
"""Parts that an episode is cut into."""
HOLD, REPEAT, MEAN, PHASE, NEAREST = (
    "hold still",
    "repeat the last action",
    "the mean chunk",
    "the mean chunk of that part of the episode",
    "the nearest recorded observation's chunk",
)
NAIVE = (HOLD, REPEAT, MEAN)
"""Who is no better than these has learned nothing; the other two know the episode's phase, or remember all data."""
CLOSE = 0.1
"""Standard deviations below which an error is small. Over a chunk in which the arm hardly moves, as one of a single
step, who holds still or repeats has a smaller one, and that is no fault."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ChunkErrors:
    """Distances of K chunks from the demonstrated ones."""

    error: np.ndarray
    """(K, T, A), absolute, in the robot's units."""
    is_real: np.ndarray
    """bool (K, T), False beyond the episode's end."""
    scale: np.ndarray
    """(A,): the demonstrated actions' standard deviation; nan where a dimension hardly moves, and does not count."""

    @property
    def scaled(self) -> np.ndarray:
        """(K, T): mean over the dimensions that move, in standard deviations; nan beyond the end."""
        scaled = np.nanmean(self.error / self.scale, axis=-1)
        return np.where(self.is_real, scaled, np.nan)


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenLoop:
    """What was measured."""

    policy: ChunkErrors
    baselines: dict[str, np.ndarray]
    """By name: scaled errors (K, T)."""
    episode: np.ndarray
    """(K,): which of the episodes, counted from 0."""
    share: np.ndarray
    """(K,): how far through the episode the chunk begins, in [0, 1)."""
    on: str
    """Which episodes these are, in words."""
    references: int
    """Episodes that mean chunk and neighbours were taken from."""

    @property
    def error(self) -> float:
        """Mean scaled error of the policy."""
        return float(np.nanmean(self.policy.scaled))

    def beats(self, baseline: str) -> bool | None:
        """Whether the policy is better than a baseline: None where 95 % of the draws of episodes do not agree."""
        own, other = (self.by_episode(of) for of in (self.policy.scaled, self.baselines[baseline]))
        low, high = ratio_interval(own, other, paired=True)
        return True if high < 1 else False if low > 1 else None

    def by_episode(self, scaled: np.ndarray) -> np.ndarray:
        """Return the mean (E,) of errors (K, T) by episode."""
        return np.array([_mean(scaled[self.episode == of]) for of in np.unique(self.episode)])

    def by_phase(self, scaled: np.ndarray) -> np.ndarray:
        """Return the mean (PHASES,) of errors (K, T) by the part of the episode in which the chunk begins."""
        part = (self.share * PHASES).astype(int)
        return np.array([_mean(scaled[part == of]) for of in range(PHASES)])


def measure_open_loop(
    policy: Policy, replays: Sequence[Replay], references: Sequence[Episode], *, steps: int | None = None
) -> OpenLoop:
    """Compare predicted with demonstrated chunks.

    Args:
        policy: Whose replays they are.
        replays: At least one.
        references: Episodes for mean chunk and neighbours; each replay's own is left out of them. May be none.
        steps: Of each chunk; None takes all.
    """
    size = steps or policy.config.chunk_size
    scale = action_scale(replays, policy.config.narrowest)
    reference = _Reference(references, size)
    demonstrated, is_pad = [], []
    guesses: dict[str, list[np.ndarray]] = {name: [] for name in (HOLD, REPEAT, MEAN, PHASE, NEAREST)}
    compared = [of for of in replays if len(of.ticks)]
    for of in compared:
        frames, beyond = chunk_frames(of.ticks, of.episode.length, size)
        demonstrated.append(of.episode.action[frames])
        is_pad.append(beyond)
        still = held_still(of.episode, policy.features)[of.ticks]
        last = np.where((of.ticks > 0)[:, None], of.episode.action[of.ticks - 1], still)
        found = {HOLD: _repeated(still, size), REPEAT: _repeated(last, size)}
        for name, guess in (found | reference.guesses(of.episode, of.ticks)).items():
            guesses[name].append(guess)
    truth, is_real = np.concatenate(demonstrated), ~np.concatenate(is_pad)

    def errors(chunk: np.ndarray) -> ChunkErrors:
        return ChunkErrors(error=np.abs(chunk.astype(np.float64) - truth), is_real=is_real, scale=scale)

    known = {name: np.concatenate(of) for name, of in guesses.items() if len(of) == len(demonstrated)}
    return OpenLoop(
        policy=errors(np.concatenate([of.actions[:, :size] for of in compared])),
        baselines={name: errors(of).scaled for name, of in known.items()},
        episode=np.repeat(np.arange(len(replays)), [len(of.ticks) for of in replays]),
        share=np.concatenate([of.ticks / of.episode.length for of in compared]),
        on=on_what(replays),
        references=len(references),
    )


class _Reference:
    """Episodes side by side, and what they say of another one."""

    def __init__(self, episodes: Sequence[Episode], size: int) -> None:
        lengths = np.array([of.length for of in episodes], int)
        self._size = size
        self._index = np.repeat(np.array([of.index for of in episodes], int), lengths)
        if episodes:
            self._action = np.concatenate([of.action for of in episodes])
            self._observed = np.concatenate([_observed(of) for of in episodes])
        self._length = np.repeat(lengths, lengths)
        self._first = np.repeat(np.cumsum(lengths) - lengths, lengths)

    def guesses(self, episode: Episode, ticks: np.ndarray) -> dict[str, np.ndarray]:
        """Return chunks (K, T, A) at some ticks of an episode, which itself does not count; {} where no other does.

        None is nearest where observations hold no numbers, only pictures.
        """
        others = np.flatnonzero(self._index != episode.index)
        if not len(others):
            return {}
        rows = np.array(spread_evenly(others.tolist(), _MEANS))
        chunks, part = self._chunks(rows), _part(rows - self._first[rows], self._length[rows])
        mean = chunks.mean(axis=0)
        means = np.stack([chunks[part == of].mean(axis=0) if (part == of).any() else mean for of in range(PHASES)])
        found = {
            MEAN: np.broadcast_to(mean, (len(ticks), *mean.shape)),
            PHASE: means[_part(ticks, episode.length)],
        }
        if self._observed.shape[1]:
            rows = np.array(spread_evenly(others.tolist(), _NEIGHBOURS))
            found[NEAREST] = self._chunks(rows[_nearest(_observed(episode)[ticks], self._observed[rows])])
        return found

    def _chunks(self, rows: np.ndarray) -> np.ndarray:
        frames, _ = chunk_frames(rows - self._first[rows], self._length[rows], self._size)
        return self._action[self._first[rows][:, None] + frames]


def _repeated(action: np.ndarray, size: int) -> np.ndarray:
    """Actions (K, A) as chunks (K, T, A) that stay there."""
    return np.repeat(action[:, None], size, axis=1)


def _part(frame: np.ndarray, length: np.ndarray | int) -> np.ndarray:
    """Which part of its episode each frame is in."""
    return frame * PHASES // length


def _observed(episode: Episode) -> np.ndarray:
    """What an episode's observations say in numbers (L, S + E)."""
    known = [of for of in (episode.state, episode.environment_state) if of is not None]
    return np.concatenate([np.zeros((episode.length, 0), np.float32), *known], axis=1)


def _nearest(query: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return which row of (N, D) is nearest to each of (K, D), each dimension in its standard deviations."""
    spread = among.std(axis=0)
    spread = np.where(spread > 0, spread, np.inf)  # one that never varies tells nothing
    query, among = query / spread, among / spread
    square = (query**2).sum(axis=1)[:, None] - 2 * query @ among.T + (among**2).sum(axis=1)[None]
    return square.argmin(axis=1)


def reference_episodes(examined: Examined, most: int = REFERENCES) -> list[Episode]:
    """Return episodes that the policy was trained on; where the data set holds none, its others."""
    chosen = examined.trained_on or examined.source.episode_indices
    factor = examined.policy.config.downsample_factor
    return [downsample(examined.source.episode(index), factor) for index in spread_evenly(chosen, most)]


def judge_open_loop(measured: OpenLoop, features: Features) -> Finding:
    """Put open-loop errors into words."""
    of = measured.policy
    baselines = {name: float(np.nanmean(error)) for name, error in measured.baselines.items()}
    answers = {name: measured.beats(name) for name in baselines}
    better = [name for name, answer in answers.items() if answer]
    lost = [name for name, answer in answers.items() if not answer]
    hardly_moves = [name for name in lost if name in (HOLD, REPEAT) and measured.error < CLOSE]
    blamed = [name for name in lost if name not in hardly_moves]
    naive = [name for name in blamed if name in NAIVE]
    severity: Severity = "fault" if naive else "warning" if blamed else "fine"
    by_step = _by_step(of.scaled)
    by_phase = measured.by_phase(of.scaled)
    by_joint = np.array([_mean(np.where(of.is_real, of.error[..., dim], np.nan)) for dim in range(len(of.scale))])
    in_spreads = by_joint / of.scale
    joint, step = int(np.nanargmax(in_spreads)), int(np.nanargmax(by_step))
    phase = int(np.nanargmax(by_phase))
    names = features.action_names
    verdict = (
        f"open-loop error {measured.error:.2f} standard deviations of the action on {measured.on}: "
        + "; ".join(
            ([f"better than {_listed(better)}"] if better else [])
            + ([f"no better than {_listed(blamed)}"] if blamed else [])
            + ([f"within a chunk the arm hardly moves: {_listed(hardly_moves)} is as near"] if hardly_moves else [])
        )
        + f"; worst: {names[joint]} ({by_joint[joint]:.3g}, {in_spreads[joint]:.2f} of its spread), step {step + 1} of "
        f"{len(by_step)}, {100 * phase // PHASES} to {100 * (phase + 1) // PHASES} % of the way"
    )
    remedy = ""
    if naive:
        remedy = (
            "it has learned next to nothing: look at train/l1 (did it fall?), at what foreact inspect says of the "
            "data, and at the findings on gradients, latent and normalisation here; then train longer"
        )
    elif blamed:
        remedy = (
            f"{_listed(blamed)} would do as well without a network: train longer (--train.steps), or with pictures and "
            "coordinates that tell more (docs/conditioning.md)"
        )
    heat = np.array(
        [
            [_mean(np.where(of.is_real[:, t], of.error[:, t, dim], np.nan)) for t in range(len(by_step))]
            for dim in range(len(names))
        ]
    )
    return Finding(
        question="open_loop",
        title="How far are the predicted chunks from the demonstrated ones?",
        verdict=verdict,
        severity=severity,
        remedy=remedy,
        evidence={
            "episodes": measured.on,
            "chunks": len(measured.episode),
            "reference_episodes": measured.references,
            "error_in_standard_deviations": measured.error,
            "baselines_in_standard_deviations": baselines,
            "is_better_than": answers,
            "by_step": _plain(by_step),
            "by_phase": _plain(by_phase),
            "baselines_by_step": {n: _plain(_by_step(e)) for n, e in measured.baselines.items()},
            "baselines_by_phase": {n: _plain(measured.by_phase(e)) for n, e in measured.baselines.items()},
            "by_joint_in_its_unit": dict(zip(names, _plain(by_joint), strict=True)),
            "by_joint_in_standard_deviations": dict(zip(names, _plain(in_spreads), strict=True)),
            "by_joint_and_step_in_standard_deviations": {
                name: _plain(row / scale) for name, row, scale in zip(names, heat, of.scale, strict=True)
            },
        },
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _mean(values: np.ndarray) -> float:
    """Mean of what is known; nan where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _by_step(scaled: np.ndarray) -> np.ndarray:
    """Return the mean (T,) of errors (K, T); nan for steps that no episode is long enough for."""
    return np.array([_mean(column) for column in scaled.T])


def _plain(values: np.ndarray) -> list[float | None]:
    """For JSON, which has no nan."""
    return [float(value) if np.isfinite(value) else None for value in values]
