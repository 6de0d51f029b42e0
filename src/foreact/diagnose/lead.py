"""By how long the actions of a data set lead the arm's state: those of another frame lead by more or less.

Where actions are recorded states, as of a kinesthetic demonstration, they are to the digit those of the next frame;
any other lag is a shift, for no arm follows exactly. Where they are commands, a lead that is a frame longer is a slower
arm just as well: then the lead is told, and nobody is accused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.data.dimensions import paired_dimensions
from foreact.data.lags import EQUAL, HARDLY, SLOW_S, clear_minimum, distance_by_lag, lags_to_compare
from foreact.data.lookup import spread_evenly
from foreact.data.mixed import open_sources
from foreact.data.source import EpisodeSource
from foreact.diagnose.examined import Examined
from foreact.errors import DataError
from foreact.finding import Severity
from foreact.policy.checkpoint import data_paths, source_of
from foreact.records import Episode, Features

USUAL = (0.5, 1.5)
"""Frames of a lead that nobody asks about: a command is sent right after an observation and reached at the next."""
_EPISODES = 20
"""Episodes that are measured."""
_MOVES = 0.05
"""Mean step as a share of the largest dimension's, above which a dimension moves."""


@dataclass(frozen=True, kw_only=True)
class Lead:
    """What was measured in a data set."""

    frames: float
    """By which the state follows the action: the median over the episodes that tell clearly."""
    is_exact: bool
    """Whether the state is then what the action was, to the digit, in most of them."""
    fps: float

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.frames:.1f} frames ({1000 * self.frames / self.fps:.0f} ms)"


def measure_lead(episodes: Sequence[Episode], features: Features) -> Lead | None:
    """Measure; None where fewer than half of the episodes tell clearly.

    Args:
        episodes: As recorded.
        features: Theirs.
    """
    pairs = paired_dimensions(features)
    found = [of for episode in episodes if (of := _lead_of(episode, pairs, features.fps)) is not None]
    if 2 * len(found) <= len(episodes):
        return None
    lags, exact = zip(*found, strict=True)
    return Lead(frames=float(np.median(lags)), is_exact=2 * sum(exact) > len(exact), fps=features.fps)


def _lead_of(episode: Episode, pairs: Sequence[tuple[int, int]], fps: float) -> tuple[float, bool] | None:
    """One episode's lag, and whether the distance is nothing there."""
    lags = lags_to_compare(episode.length, fps)
    if episode.state is None or not pairs or lags is None:
        return None
    action = episode.action[:, [a for a, _ in pairs]].astype(np.float64)
    state = episode.state[:, [s for _, s in pairs]].astype(np.float64)
    step = np.abs(np.diff(state, axis=0)).mean(axis=0)
    if not step.max() > 0:
        return None
    moves = step > _MOVES * step.max()
    distance = distance_by_lag(action[:, moves], state[:, moves], lags)
    lag = clear_minimum(lags, distance)
    return None if lag is None else (lag, bool(distance.min() < EQUAL))


def lead_in_data(examined: Examined) -> Lead | None:
    """Return the lead in the data that the policy is examined on, as recorded."""
    return _lead_in(examined.source, (episode.index for episode in examined.dataset.episodes))


def lead_in_training(examined: Examined) -> Lead | None:
    """Return the lead in the training data, where these are other ones than those examined and can be read."""
    paths = data_paths(examined.meta)
    if examined.trained_on or not paths:
        return None
    try:
        source = open_sources(paths, source_of(examined.meta))
        return _lead_in(source, source.episode_indices)
    except DataError:  # they have been moved or deleted since
        return None


def _lead_in(source: EpisodeSource, indices: Iterable[int]) -> Lead | None:
    chosen = spread_evenly(tuple(indices), _EPISODES)
    return measure_lead([source.episode(index) for index in chosen], source.features)


def lead_in_words(lead: Lead) -> tuple[str, Severity]:
    """Return what a lead says of the actions, and how bad that is, by the thresholds of `foreact inspect`."""
    shift = round(lead.frames) - 1
    if lead.is_exact and shift:
        return (
            f"actions shifted by {abs(shift)} frame{'s' * (abs(shift) > 1)}: action t is exactly the state of frame "
            f"t{round(lead.frames):+d}, where a recorded state that serves as action is that of frame t+1",
            "fault",
        )
    if lead.frames < -HARDLY:
        return f"actions shifted: action t is where the state was {-lead.frames:.1f} frames before", "fault"
    if lead.frames < HARDLY:
        return "actions shifted, or recorded states: action t is where the arm is already", "warning"
    if lead.frames / lead.fps > SLOW_S:
        return f"the state follows the action only after {lead.text}: a slow arm, or actions shifted", "warning"
    if not USUAL[0] <= lead.frames <= USUAL[1]:
        arm = "an arm as fast as that" if lead.frames < 1 else "a slow arm"
        return (
            f"the state follows the action after {lead.text}: {arm}, or actions shifted; the data cannot tell",
            "note",
        )
    return f"the state follows the action after {lead.text}", "fine"
