"""How long are the episodes, and how much of them does the arm stand still?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.data.source import EpisodeSource
from foreact.data.statistics import vectors
from foreact.data.trim import moving_part, still_tolerances
from foreact.finding import Finding
from foreact.inspection.cleanup import cleaned
from foreact.inspection.scale import Scale
from foreact.inspection.words import episodes_text, share_text
from foreact.records import Episode

_FACTOR = 2.0
"""An episode this many times longer or shorter than usual, and far beyond the others' spread, is an outlier."""
_IDLE_S, _IDLE_SHARE = 0.5, 0.1
"""An episode stands still for long at an end if it takes at least as long and this share of it."""
_TASK_EPISODES = 8
"""From so many on a task has a usual length of its own."""


@dataclass(frozen=True, kw_only=True)
class Idle:
    """Frames at both ends in which neither state nor action moves, and of all frames."""

    start: int
    end: int
    length: int


def is_moving(episode: Episode, scales: Mapping[str, Scale], key: str, but: Sequence[int], times: float) -> np.ndarray:
    """Return for each step (L - 1,) whether the arm moves.

    Args:
        episode: Of L frames.
        scales: What is usual, by key.
        key: Of the vector that tells.
        but: Dimensions that do not count: a gripper's way is too small for some cameras to see.
        times: How many times more than noise a dimension has to change.
    """
    values = vectors(episode).get(key)
    if values is None:
        return np.zeros(max(episode.length - 1, 0), bool)
    moving = np.abs(np.diff(values.astype(np.float64), axis=0)) > times * scales[key].least_step
    moving[:, list(but)] = False
    return np.asarray(moving.any(axis=1))


def idle_tolerances(scales: Mapping[str, Scale]) -> dict[str, np.ndarray]:
    """Return what counts as still by key, as `foreact convert --trim-idle` has it (data/trim.py)."""
    return still_tolerances({key: np.stack([of.low, of.high]) for key, of in scales.items()})


def measure_idle(episode: Episode, tolerances: Mapping[str, np.ndarray]) -> Idle:
    """Return how long an episode stands still at its ends; tolerances are those of `idle_tolerances`."""
    start, stop = moving_part(episode, tolerances, margin=0)
    if (start, stop) == (0, episode.length):  # the first frame of one that moves is always still
        return Idle(start=episode.length, end=0, length=episode.length)
    return Idle(start=max(start - 1, 0), end=max(episode.length - stop - 1, 0), length=episode.length)


def judge_idle(data: str, fps: float, idle: Mapping[int, Idle]) -> Finding:
    """Say how much of the data shows an arm that waits."""
    total = sum(of.length for of in idle.values())
    waited = sum(of.start + of.end for of in idle.values())
    long = [
        index for index, of in idle.items() if max(of.start, of.end) >= max(_IDLE_S * fps, _IDLE_SHARE * of.length, 2)
    ]
    seconds = {index: (of.start / fps, of.end / fps) for index, of in idle.items()}
    return Finding(
        question="idle",
        title="Does the arm wait?",
        verdict=f"{share_text(waited, total)} of all frames stand still at an episode's start or end, above all in "
        f"{episodes_text(long)}: the policy learns to wait, and a policy that waits never leaves"
        if long
        else f"{share_text(waited, total)} of all frames stand still at an episode's start or end",
        severity="warning" if long else "fine",
        remedy=f"foreact convert {shlex.quote(data)} {shlex.quote(str(cleaned(data)))} --trim-idle" if long else "",
        evidence={
            "episodes": long,
            "idle_share": waited / total if total else 0.0,
            "start_s": [start for start, _ in seconds.values()],
            "end_s": [end for _, end in seconds.values()],
            "fps_hz": fps,
        },
    )


def judge_lengths(source: EpisodeSource) -> Finding:
    """Say which episodes are far longer or shorter than the others of their task."""
    by_task: dict[str, list[int]] = {}
    for index in source.episode_indices:
        by_task.setdefault(source.tasks[index], []).append(index)
    few = [index for of in by_task.values() if len(of) < _TASK_EPISODES for index in of]
    groups = [of for of in by_task.values() if len(of) >= _TASK_EPISODES]
    groups += [few if groups else list(source.episode_indices)] if few else []
    found = []
    for group in groups:
        if len(group) < 5:
            continue
        logs = np.log([source.lengths[index] for index in group])
        middle = np.median(logs)
        spread = 1.4826 * np.median(np.abs(logs - middle))
        far = np.abs(logs - middle) > max(np.log(_FACTOR), 4.5 * spread)
        found += [index for index, is_far in zip(group, far, strict=True) if is_far]
    lengths = np.array(list(source.lengths.values()))
    fps = source.features.fps
    usual = f"{np.median(lengths) / fps:.1f} s ({int(np.median(lengths))} frames at {fps:g} Hz)"
    found.sort()
    return Finding(
        question="lengths",
        title="Are the episodes about equally long?",
        verdict=f"{episodes_text(found)} {'last' if len(found) > 1 else 'lasts'} "
        f"{', '.join(f'{source.lengths[index] / fps:.1f}' for index in found[:8])} s, usual are {usual}: "
        "recording began or ended at another time, or something went wrong"
        if found
        else f"usual are {usual}, from {lengths.min() / fps:.1f} to {lengths.max() / fps:.1f} s",
        severity="warning" if found else "fine",
        remedy="look at them, and leave out those that do not show the task" if found else "",
        evidence={"episodes": found, "length_s": (lengths / fps).tolist(), "fps_hz": fps},
    )
