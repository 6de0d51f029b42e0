"""Are episodes alike: the same one twice, on both sides of the split, or like no other?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from foreact.config import TrainConfig
from foreact.data.source import EpisodeSource
from foreact.data.split import split_episodes
from foreact.data.statistics import vectors
from foreact.finding import Finding
from foreact.inspection.scale import Scale
from foreact.inspection.words import episodes_text
from foreact.records import Episode

_MOMENTS = 16
_NUMBERS = 512
"""At most so many numbers an episode."""
_LEAST = 1e-3
"""Root mean square distance [standard deviations] of two trajectories below which they are one, ..."""
_NEARLY = 0.1
"""... or this share of the usual distance of two that are not. In 400 simulated ones the least was half of it."""
_CUT = 0.2
"""A copy may lack so much of the original."""
_PAIRS = 1000
"""So many episodes at most are laid upon their nearest."""
_FAR, _TIMES = 6.0, 4.0
"""An outlier is so many robust deviations (of the logarithm) and so many times the usual distance away."""
_BLOCK = 256
_SMOOTH = 1
"""Frames on either side over which a number is the mean."""


def trace(episode: Episode, scales: Mapping[str, Scale]) -> np.ndarray:
    """Return an episode's way in a few numbers, float32 (M,): state, coordinates and action at even parts of the way.

    Each dimension counts in standard deviations of the set; a constant one not at all. The way is that of state and
    action together: where an episode waits, and how long, makes no difference, nor does a frame more or less at an
    end. A number is the mean of a few frames, which leaves little of an encoder's noise.
    """
    of = vectors(episode)
    dims = sum(values.shape[1] for values in of.values())
    moments = int(np.clip(_NUMBERS // max(dims, 1), 4, _MOMENTS))
    joined = _joined(episode, scales)
    least = np.concatenate([scales[key].least_step / scales[key].std for key in of])
    steps = np.abs(np.diff(joined, axis=0))
    way = np.concatenate([[0.0], np.cumsum(np.where(steps > least, steps, 0.0).sum(axis=1))])
    if way[-1] <= 0:  # nothing moves: even moments
        way = np.arange(len(joined), dtype=float)
    way += np.arange(len(way)) * 1e-9 * max(way[-1], 1.0)  # ascending
    at = np.linspace(0, way[-1], moments)
    total = np.concatenate([np.zeros((1, joined.shape[1])), np.cumsum(joined, axis=0)])
    frames = np.arange(len(joined))
    low, high = np.maximum(frames - _SMOOTH, 0), np.minimum(frames + _SMOOTH + 1, len(joined))
    smooth = (total[high] - total[low]) / (high - low)[:, None]
    return np.stack([np.interp(at, way, column) for column in smooth.T]).astype(np.float32).ravel()


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """How near each episode's nearest others are."""

    episodes: np.ndarray
    """(N,)."""
    nearest: np.ndarray
    """Distance to the nearest other (N,) [standard deviations, root mean square]."""
    second: np.ndarray
    """To the one after that (N,)."""
    which: np.ndarray
    """Episode that is nearest (N,)."""


def neighbours(traces: Mapping[int, np.ndarray]) -> Neighbours | None:
    """Find each episode's nearest two; None for fewer than three episodes. Time grows with the square of N."""
    if len(traces) < 3:
        return None
    episodes = np.array(list(traces))
    values = np.stack(list(traces.values()))
    squares = (values.astype(np.float64) ** 2).sum(axis=1)
    nearest, second = np.empty(len(values)), np.empty(len(values))
    which = np.empty(len(values), int)
    for start in range(0, len(values), _BLOCK):
        rows = slice(start, start + _BLOCK)
        # The expanded square is quick but loses digits: the distances to the best two are then computed exactly.
        rough = squares[rows, None] + squares - 2 * (values[rows].astype(np.float64) @ values.T)
        rough[np.arange(len(rough)), np.arange(start, start + len(rough))] = np.inf
        best = np.argpartition(rough, 1, axis=1)[:, :2]
        exact = np.sqrt(((values[rows, None].astype(np.float64) - values[best]) ** 2).mean(axis=2))
        order = np.argsort(exact, axis=1)
        nearest[rows] = np.take_along_axis(exact, order[:, :1], axis=1)[:, 0]
        second[rows] = np.take_along_axis(exact, order[:, 1:], axis=1)[:, 0]
        which[rows] = episodes[np.take_along_axis(best, order[:, :1], axis=1)[:, 0]]
    return Neighbours(episodes=episodes, nearest=nearest, second=second, which=which)


def same_groups(source: EpisodeSource, found: Neighbours, scales: Mapping[str, Scale]) -> list[list[int]]:
    """Return groups of episodes that are one and the same, each ascending, but for noise or frames cut off at an end.

    Traces choose the pairs: each episode and its nearest, where that is nearer than usual. These are read again and
    laid one upon the other.

    Raises:
        DataError: If an episode that could be read before no longer can.
    """
    usual = float(np.median(found.second))
    near = max(_LEAST, _NEARLY * usual)
    closest = np.argsort(found.nearest)[:_PAIRS]
    pairs = {
        (min(one, other), max(one, other))
        for one, other in zip(found.episodes[closest].tolist(), found.which[closest].tolist(), strict=True)
    }
    distance = dict(zip(found.episodes.tolist(), found.nearest.tolist(), strict=True))
    group: dict[int, set[int]] = {}
    for one, other in sorted(pairs):
        if min(distance[one], distance[other]) > usual:
            continue
        if aligned_distance(_joined(source.episode(one), scales), _joined(source.episode(other), scales)) < near:
            together = group.get(one, {one}) | group.get(other, {other})
            for member in together:
                group[member] = together
    unique = {min(of): sorted(of) for of in group.values()}
    return [unique[first] for first in sorted(unique)]


def aligned_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the root mean square distance of two ways (L, D) where they lie best upon one another.

    One may begin or end earlier by up to `_CUT` of the shorter's frames; what only one of them has does not count.
    """
    most = int(_CUT * min(len(one), len(other)))
    least = np.inf
    for shift in range(-most, most + 1):
        a, b = one[max(shift, 0) :], other[max(-shift, 0) :]
        n = min(len(a), len(b))
        if n >= (1 - _CUT) * max(len(one), len(other)):
            least = min(least, float(((a[:n] - b[:n]) ** 2).mean()))
    return float(np.sqrt(least))


def _joined(episode: Episode, scales: Mapping[str, Scale]) -> np.ndarray:
    of = vectors(episode)
    return np.concatenate([(values - scales[key].mean) / scales[key].std for key, values in of.items()], axis=1)


def judge_duplicates(groups: list[list[int]], n_episodes: int) -> Finding:
    """Say which episodes are there more than once."""
    spare = sorted({index for group in groups for index in group[1:]})
    concerned = sorted(index for group in groups for index in group)
    shown = "; ".join(", ".join(str(index) for index in group) for group in groups[:6])
    return Finding(
        question="duplicates",
        title="Is an episode there twice?",
        verdict=f"the same or nearly the same: episodes {shown}{' ...' if len(groups) > 6 else ''}: they count twice "
        "in training and add nothing"
        if groups
        else f"all {n_episodes} trajectories differ",
        severity="warning" if groups else "fine",
        remedy="keep one of each" if groups else "",
        evidence={"episodes": concerned, "groups": groups, "leave_out": spare},
    )


def judge_leakage(source: EpisodeSource, groups: list[list[int]]) -> Finding:
    """Say which duplicates fall on both sides of the split that training makes by default."""
    recipe = TrainConfig()
    training, held_out = split_episodes(source.tasks, source.lengths, recipe.val_fraction, recipe.seed, source.scenes)
    leaked = [group for group in groups if set(group) & set(training) and set(group) & set(held_out)]
    concerned = sorted(index for group in leaked for index in group)
    return Finding(
        question="leakage",
        title="Is validation on what was trained on?",
        verdict=f"{episodes_text(concerned)} are the same and stand in training and in validation: the validation loss "
        "looks better than it is"
        if leaked
        else f"no trajectory is in both parts of the default split ({len(training)} to train on, {len(held_out)} held "
        "out)",
        severity="fault" if leaked else "fine",
        remedy="keep one of each, or give them one scene in meta/foreact.json, then they stay together"
        if leaked
        else "",
        evidence={"episodes": concerned, "groups": leaked, "held_out": list(held_out)},
    )


def judge_outliers(found: Neighbours | None) -> Finding:
    """Say which trajectories are like no other."""
    title = "Is an episode like no other?"
    if found is None or len(found.episodes) < 8:
        return Finding(
            question="outliers", title=title, verdict="cannot tell from fewer than 8 episodes", severity="note"
        )
    apart = (found.nearest + found.second) / 2
    logs = np.log(np.maximum(apart, 1e-9))
    middle = float(np.median(logs))
    spread = 1.4826 * float(np.median(np.abs(logs - middle)))
    far = (logs - middle > _FAR * max(spread, 0.05)) & (apart > _TIMES * np.exp(middle))
    episodes = found.episodes[far].tolist()
    return Finding(
        question="outliers",
        title=title,
        verdict=f"{episodes_text(episodes)} {'go' if len(episodes) > 1 else 'goes'} a way of "
        f"{'their' if len(episodes) > 1 else 'its'} own, {float((apart[far] / np.exp(middle)).max()):.1f} times as far "
        "from the nearest others as usual: something went wrong, or it is all that shows this case"
        if episodes
        else "no trajectory is far from all others",
        severity="warning" if episodes else "fine",
        remedy="look at them; leave out what failed, record more of what is rare" if episodes else "",
        evidence={
            "episodes": episodes,
            "distance_to_nearest_in_std": {
                str(index): round(float(value), 4) for index, value in zip(found.episodes.tolist(), apart, strict=True)
            },
        },
    )
