"""Are episodes alike: the same one twice, on both sides of the split, or like no other?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.config import TrainConfig
from foreact.data.source import EpisodeSource
from foreact.data.split import split_episodes
from foreact.data.statistics import vectors
from foreact.finding import Finding
from foreact.inspection.scale import Scale
from foreact.inspection.words import episode_ranges, episodes_text
from foreact.records import Episode

_MOMENTS = 16
_NUMBERS = 512
"""At most so many numbers an episode."""
_IDENTICAL = 1e-4
"""Root mean square distance [standard deviations] of two trajectories below which they are one."""
_NEARLY = 0.005
"""The same as a share of the usual distance to the nearest: chance alone comes so near once in 40,000 episodes."""
_FAR, _TIMES = 6.0, 3.0
"""An outlier is so many robust deviations (of the logarithm) and so many times the usual distance away."""
_BLOCK = 256


def trace(episode: Episode, scales: Mapping[str, Scale]) -> np.ndarray:
    """Return an episode's way in a few numbers, float32 (M,): state, coordinates and action at even moments.

    Each dimension counts in standard deviations of the set; a constant one not at all.
    """
    of = vectors(episode)
    dims = sum(values.shape[1] for values in of.values())
    moments = int(np.clip(_NUMBERS // max(dims, 1), 4, _MOMENTS))
    frames = np.round(np.linspace(0, episode.length - 1, moments)).astype(int)
    parts = [(values[frames] - scales[key].mean) / scales[key].std for key, values in of.items()]
    return np.concatenate([part.ravel() for part in parts]).astype(np.float32)


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


def same_groups(found: Neighbours, lengths: Mapping[int, int]) -> list[list[int]]:
    """Return groups of episodes that are one and the same, each ascending."""
    near = np.maximum(_IDENTICAL, _NEARLY * float(np.median(found.nearest)))
    group: dict[int, set[int]] = {}
    for one, other, distance in zip(found.episodes.tolist(), found.which.tolist(), found.nearest, strict=True):
        if distance < near and abs(lengths[one] - lengths[other]) <= 1:
            together = group.get(one, {one}) | group.get(other, {other})
            for member in together:
                group[member] = together
    unique = {min(of): sorted(of) for of in group.values()}
    return [unique[first] for first in sorted(unique)]


def judge_duplicates(data: str, groups: list[list[int]], all_episodes: Sequence[int]) -> Finding:
    """Say which episodes are there more than once."""
    spare = {index for group in groups for index in group[1:]}
    kept = episode_ranges([index for index in all_episodes if index not in spare])
    concerned = sorted(index for group in groups for index in group)
    shown = "; ".join(", ".join(str(index) for index in group) for group in groups[:6])
    return Finding(
        question="duplicates",
        title="Is an episode there twice?",
        verdict=f"the same or nearly the same: episodes {shown}{' ...' if len(groups) > 6 else ''}: they count twice "
        "in training and add nothing"
        if groups
        else f"all {len(all_episodes)} trajectories differ",
        severity="warning" if groups else "fine",
        remedy=f"keep one of each: foreact convert {shlex.quote(data)} --out OUT --episodes {kept}" if groups else "",
        evidence={"episodes": concerned, "groups": groups},
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
