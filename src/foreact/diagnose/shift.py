"""Do the policy's actions belong to the frames that they are predicted for? The classic fault is to be off by one.

The predictions are compared with the demonstrations some frames earlier and later. A policy that was trained on
actions shifted by a frame matches best a frame off, at each step of its chunks. One that has learned little may match
best anywhere, but at another place at each step: it is not accused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.data.chunks import downsample
from foreact.data.dimensions import is_gripper, paired_dimensions
from foreact.data.lags import clear_minimum
from foreact.data.lookup import spread_evenly
from foreact.data.mixed import open_sources
from foreact.diagnose.examined import Examined
from foreact.diagnose.replay import Replay, action_scale, on_what
from foreact.errors import DataError
from foreact.finding import Finding, Severity
from foreact.policy.checkpoint import data_paths, source_of
from foreact.policy.policy import Policy
from foreact.records import Episode, Features

FARTHEST = 3
"""Frames either way."""
STEPS = 16
"""Steps of a chunk that are compared, the first ones: far ahead a prediction is too inexact to be dated."""
SURE = 0.975
"""Share of the draws of episodes in which another lag must match better before anything is accused."""
APART = 0.75
"""Frames by which the commands' lead over the state may differ between two data sets."""
_DRAWS = 300
_EPISODES = 20
"""Episodes of the training data whose lead is measured."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shift:
    """What was measured; positive where the policy is ahead."""

    lags: np.ndarray
    """(G,) frames."""
    distance: np.ndarray
    """(2, E, G): of predicted from demonstrated actions by lag, in standard deviations, for the first and the second
    half of the chunks' steps and each episode."""
    lead: float | None
    """Frames by which the state follows the action in these data; None where it cannot be told."""
    trained_lead: float | None
    """The same in the data that it was trained on, where these are others that can be read."""
    on: str

    @property
    def curve(self) -> np.ndarray:
        """(G,): the distances' mean."""
        return np.asarray(self.distance.mean(axis=(0, 1)))

    @property
    def shifted(self) -> int | None:
        """By how many frames the actions are off: 0 where they match best at their own, None where it cannot be told.

        Both halves of the chunks must match best at the same other lag, and better than at their own frames whichever
        episodes are drawn.
        """
        own = FARTHEST
        best = int(self.curve.argmin())
        if best == own:
            return 0
        by_episode = self.distance.mean(axis=0)
        gain = by_episode[:, own] - by_episode[:, best]
        draws = np.random.default_rng(0).choice(gain, size=(_DRAWS, len(gain))).mean(axis=1)
        agree = set(self.distance.mean(axis=1).argmin(axis=1)) == {best}
        is_end = best in (0, len(self.lags) - 1)
        return int(self.lags[best]) if agree and not is_end and (draws > 0).mean() >= SURE else None


def measure_shift(policy: Policy, replays: Sequence[Replay], *, trained_lead: float | None = None) -> Shift | None:
    """Measure; None where chunks are one step long, no episode is long enough or nothing moves.

    Args:
        policy: Whose replays they are.
        replays: At least one.
        trained_lead: By how many frames the state follows the action in the data that it was trained on (`lead`).
    """
    scale = action_scale(replays, policy.config.narrowest)
    distance = [of for replay in replays if (of := _distances(policy, replay, scale)) is not None]
    if not distance:
        return None
    return Shift(
        lags=np.arange(-FARTHEST, FARTHEST + 1),
        distance=np.stack(distance, axis=1),
        lead=lead([of.episode for of in replays], policy.features),
        trained_lead=trained_lead,
        on=on_what(replays),
    )


def _distances(policy: Policy, of: Replay, scale: np.ndarray) -> np.ndarray | None:
    """One episode's distances (2, G) by lag, in the first and in the second half of the steps."""
    names = policy.features.action_names
    dims = [d for d, name in enumerate(names) if np.isfinite(scale[d]) and not is_gripper(policy.features, name)]
    steps = min(STEPS, policy.config.chunk_size)
    if steps < 2:  # one step matches best a frame off also where it only repeats the state
        return None
    inside = (of.ticks >= FARTHEST) & (of.ticks + steps + FARTHEST <= of.episode.length)
    if not inside.any() or not dims:
        return None
    where = of.ticks[inside, None] + np.arange(steps)
    predicted, action = of.actions[inside, :steps].astype(np.float64), of.episode.action.astype(np.float64)
    by_lag = np.stack(
        [
            (np.abs(predicted - action[where + lag]) / scale)[..., dims].mean(axis=(0, 2))
            for lag in range(-FARTHEST, FARTHEST + 1)
        ]
    )  # (G, steps)
    middle = max(1, steps // 2)
    return np.stack([by_lag[:, :middle].mean(axis=1), by_lag[:, -middle:].mean(axis=1)])


def lead(episodes: Sequence[Episode], features: Features) -> float | None:
    """Return by how many frames the state follows the action: the median over the episodes that tell clearly.

    None where fewer than half of them do.
    """
    pairs = paired_dimensions(features)
    found = [_lead_of(episode, pairs, features.fps) for episode in episodes]
    known = [of for of in found if of is not None]
    return float(np.median(known)) if 2 * len(known) > len(found) else None


def _lead_of(episode: Episode, pairs: Sequence[tuple[int, int]], fps: float) -> float | None:
    after = min(max(15, round(fps)), episode.length // 3)
    lags = np.arange(-FARTHEST, after + 1)
    first, last = FARTHEST, episode.length - after
    if episode.state is None or not pairs or last - first < 5:
        return None
    action = episode.action[:, [a for a, _ in pairs]].astype(np.float64)
    state = episode.state[:, [s for _, s in pairs]].astype(np.float64)
    step = np.abs(np.diff(state, axis=0)).mean(axis=0)
    if not step.max() > 0:
        return None
    moves = step > 0.05 * step.max()
    told = action[first:last, moves]
    away = [float((np.abs(told - state[first + lag : last + lag, moves]) / step[moves]).mean()) for lag in lags]
    return clear_minimum(lags, np.array(away))


def lead_in_training(examined: Examined) -> float | None:
    """Return the lead in the training data, where these are other ones than those examined and can be read."""
    paths, features = data_paths(examined.meta), examined.policy.features
    if examined.trained_on or not paths:
        return None
    factor = examined.policy.config.downsample_factor
    try:
        source = open_sources(paths, source_of(examined.meta))
        chosen = spread_evenly(source.episode_indices, _EPISODES)
        return lead([downsample(source.episode(index), factor) for index in chosen], features)
    except DataError:  # they have been moved or deleted since
        return None


def judge_shift(measured: Shift | None) -> Finding:
    """Put it into words."""
    title = "Do its actions belong to the frames that they are predicted for?"
    if measured is None:
        reason = "cannot tell: chunks are one step long, the episodes are too short, or nothing moves"
        return Finding(question="shift", title=title, verdict=reason, severity="note")
    shifted = measured.shifted
    lead, trained = measured.lead, measured.trained_lead
    moved = lead is not None and trained is not None and abs(trained - lead) > APART
    severity: Severity = "fault" if shifted or moved else "note" if shifted is None else "fine"
    if shifted:
        verdict = (
            f"actions shifted: the predictions match the demonstrations best {abs(shifted)} "
            f"frame{'s' * (abs(shifted) > 1)} {'later' if shifted > 0 else 'earlier'}, at every step of the chunk"
        )
    elif moved:
        verdict = "actions shifted: the commands lead the state by another time than in the training data"
    elif shifted is None:
        verdict = "cannot tell: the predictions match the demonstrations best at no one lag"
    else:
        verdict = "the predictions match the demonstrations best at their own frames"
    if lead is not None:
        verdict += f"; in these data the state follows the action after {lead:.1f} frames"
        if trained is not None:
            verdict += f", in those it was trained on after {trained:.1f}"
    return Finding(
        question="shift",
        title=title,
        verdict=verdict,
        severity=severity,
        remedy="the training data or these hold actions of another frame: action t must be the command that is sent "
        "right after observation t is taken (foreact inspect says how the action leads the state in each); write one "
        "of them anew and train again"
        if severity == "fault"
        else "",
        evidence={
            "episodes": measured.on,
            "shifted_by_frames": shifted,
            "lag_frames": measured.lags.tolist(),
            "distance_in_standard_deviations_by_lag": measured.curve.tolist(),
            "first_and_second_half_of_the_chunk_by_lag": measured.distance.mean(axis=1).tolist(),
            "state_follows_action_after_frames": lead,
            "state_follows_action_in_the_training_data_after_frames": trained,
        },
    )
