"""Are the frames evenly spaced in time, at the rate that the metadata say? Told by the recorded timestamps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from foreact.data.source import EpisodeSource
from foreact.errors import DataError
from foreact.finding import Finding
from foreact.inspection.words import episodes_text

_RATE = 0.005
"""A rate is another one from so large a difference on: in a minute the numbers are then 0.3 s off."""
_ROUGH = 0.25
"""Uneven: one interval in twenty is off by as large a share of the usual one."""
_GAP = 1.75
"""Intervals longer than so many usual ones are gaps."""


@runtime_checkable
class Timed(Protocol):
    """A source that has recorded times."""

    def timestamps(self, index: int) -> np.ndarray | None:
        """Return an episode's times (L,) [s] as recorded, unchecked; None where there are none."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """How an episode's frames lie in time."""

    rate: float
    """Of the median interval [Hz]; 0 where time stands still or runs back."""
    jitter: float
    """95 % quantile of the intervals' deviation from the median one, as a share of it."""
    gaps: tuple[tuple[int, float], ...]
    """Frame after a gap, and its length [s]."""
    backwards: int
    """Intervals that are not positive."""


def measure_clocks(source: EpisodeSource) -> dict[int, Clock]:
    """Return the episodes' clocks by index; empty where the source has no times of its own."""
    clocks: dict[int, Clock] = {}
    if not isinstance(source, Timed):
        return clocks
    for index in source.episode_indices:
        try:
            times = source.timestamps(index)
        except DataError:
            continue  # whoever reads the episode says why
        if times is not None and len(times) > 2 and np.isfinite(times).all():
            clocks[index] = measure_clock(times)
    return clocks


def measure_clock(times: np.ndarray) -> Clock:
    """Return how times (L,) [s], at least two, lie; the rate is that of all of them where there is no gap."""
    steps = np.diff(times)
    usual = float(np.median(steps))
    if usual <= 0:
        return Clock(rate=0.0, jitter=0.0, gaps=(), backwards=int((steps <= 0).sum()))
    gap = steps > _GAP * usual
    even = steps[~gap]
    return Clock(
        rate=1 / float(even.mean()),
        jitter=float(np.quantile(np.abs(even - usual), 0.95) / usual),
        gaps=tuple((int(frame) + 1, float(steps[frame])) for frame in np.flatnonzero(gap)),
        backwards=int((steps <= 0).sum()),
    )


def judge_clocks(fps: float, clocks: Mapping[int, Clock]) -> Finding:
    """Say which episodes are recorded at another rate, unevenly, or with gaps."""
    title = "Are the frames evenly spaced in time?"
    if not clocks:
        return Finding(
            question="timestamps",
            title=title,
            verdict="cannot tell: the format has no times, the frames count as evenly spaced",
            severity="note",
        )
    rates = np.array([of.rate for of in clocks.values()])
    other = [
        index for index, of in clocks.items() if of.jitter <= _ROUGH and of.rate and abs(of.rate / fps - 1) > _RATE
    ]
    uneven = [index for index, of in clocks.items() if of.jitter > _ROUGH]
    gaps = [index for index, of in clocks.items() if of.gaps]
    back = [index for index, of in clocks.items() if of.backwards]
    why = []
    if other:
        median = float(np.median([clocks[index].rate for index in other]))
        why.append(f"{episodes_text(other)} at {median:.4g} Hz, the metadata say {fps:g}")
    if uneven:
        worst = max(uneven, key=lambda index: clocks[index].jitter)
        why.append(f"uneven by up to {100 * clocks[worst].jitter:.0f} % of the interval in {episodes_text(uneven)}")
    if gaps:
        frame, seconds = clocks[gaps[0]].gaps[0]
        why.append(f"gaps in {episodes_text(gaps)}, the first of {seconds:.2g} s before frame {frame}")
    if back:
        why.append(f"time stands still or runs back in {episodes_text(back)}")
    return Finding(
        question="timestamps",
        title=title,
        verdict="; ".join(why) + ": a policy takes the frames as evenly spaced, so speeds and chunks are wrong"
        if why
        else f"evenly spaced at {np.median(rates):.4g} Hz in all {len(clocks)} episodes",
        severity="warning" if why else "fine",
        remedy="correct fps in meta/info.json where the rate is another one; leave uneven episodes out, or resample "
        "them where they were recorded"
        if why
        else "",
        evidence={
            "episodes": sorted({*other, *uneven, *gaps, *back}),
            "episodes_by_kind": {"rate": other, "uneven": uneven, "gaps": gaps, "backwards": back},
            "rate_hz": {str(index): of.rate for index, of in clocks.items()},
            "jitter_share": {str(index): of.jitter for index, of in clocks.items()},
            "gaps_frame_s": {str(index): [list(gap) for gap in of.gaps] for index, of in clocks.items() if of.gaps},
        },
    )
