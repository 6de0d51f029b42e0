"""The evidence as pictures, one a question, drawn from the findings alone, for a light and for a dark page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foreact.finding import Finding

_BLUE, _RED, _GREEN, _AMBER = "#3b82c4", "#c0392b", "#2a9d4a", "#e0a030"
_CLUSTERS = ("#3b82c4", "#e0a030", "#2a9d4a", "#9f7aea", "#d8628b", "#4fb3bf")
_MAX_BINS = 40
"""At most so many bins, each of whole frames."""


def draw(finding: Finding, path: Path, *, dark: bool) -> bool:
    """Write a finding's PNG; return False where it has nothing to draw."""
    drawing = _DRAWINGS.get(finding.question)
    if drawing is None or not finding.evidence:
        return False
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    ink = "#d8d8d8" if dark else "#222222"
    paper = "#1c1c1e" if dark else "#ffffff"
    style: dict[str, Any] = {f"{of}.facecolor": paper for of in ("figure", "axes", "savefig")}
    style |= {name: ink for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")}
    style |= {"axes.spines.top": False, "axes.spines.right": False, "font.size": 13.0}
    with pyplot.rc_context(style):  # type: ignore[arg-type]
        # Narrow, with large letters: on a telephone it is shown at half its size.
        figure = pyplot.figure(figsize=(6, 3.8), layout="constrained")
        drawn = drawing(figure, finding.evidence)
        if drawn:
            figure.savefig(path, dpi=120)
        pyplot.close(figure)
    return drawn


def _lengths(figure: Any, evidence: Any) -> bool:
    axes = figure.subplots()
    axes.hist(evidence["length_s"], bins=_whole_frames([evidence["length_s"]], evidence["fps_hz"]), color=_BLUE)
    axes.set_xlabel("length [s]")
    axes.set_ylabel("episodes")
    return True


def _whole_frames(seconds: Sequence[Sequence[float]], fps: float) -> np.ndarray:
    """Return the edges of bins [s] of whole frames each, with the times, which are whole frames too, within them."""
    frames = np.round(np.concatenate([np.asarray(of) for of in seconds]) * fps)
    width = max(1, int(np.ceil((np.ptp(frames) + 1) / _MAX_BINS)))
    return np.arange(frames.min() - 0.5, frames.max() + width, width) / fps


def _idle(figure: Any, evidence: Any) -> bool:
    axes = figure.subplots()
    both = [evidence["start_s"], evidence["end_s"]]
    if not any(value > 0 for values in both for value in values):
        return False
    axes.hist(
        both, bins=_whole_frames(both, evidence["fps_hz"]), color=[_BLUE, _AMBER], label=["at the start", "at the end"]
    )
    axes.set_xlabel("standing still [s]")
    axes.set_ylabel("episodes")
    axes.legend(frameon=False)
    return True


def _action(figure: Any, evidence: Any) -> bool:
    if "lags_frames" not in evidence:
        return False
    axes = figure.subplots()
    axes.plot(evidence["lags_frames"], evidence["distance_by_lag_in_steps"], "o-", color=_BLUE)
    axes.axvline(0, color=_RED, linewidth=1, linestyle=":")
    axes.annotate(
        "action = state", (0, axes.get_ylim()[1]), color=_RED, xytext=(4, -4), textcoords="offset points", va="top"
    )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("frames by which the state is later than the action")
    axes.set_ylabel("distance [mean steps of the state]")
    return True


def _gripper(figure: Any, evidence: Any) -> bool:
    if not evidence["first_closing_s"]:
        return False
    figure.set_size_inches(6, 6)
    left, right = figure.subplots(2, 1)
    times = evidence["first_closing_s"]
    left.hist(times, bins=_whole_frames([times], evidence["fps_hz"]), color=_BLUE)
    left.yaxis.get_major_locator().set_params(integer=True)
    left.set_xlabel("first closing after [s]")
    left.set_ylabel("episodes")
    counts = list(evidence["closings_by_episode"].values())
    right.hist(counts, bins=np.arange(-0.5, max(counts) + 1.5), color=_BLUE, rwidth=0.8)
    right.set_xticks(range(0, max(counts) + 1, max(1, max(counts) // 10)))
    right.yaxis.get_major_locator().set_params(integer=True)
    right.set_xlabel("closings an episode")
    return True


def _coverage(figure: Any, evidence: Any) -> bool:
    maps = {what: of for what, of in evidence["maps"].items() if of["points"]}
    if not maps:
        return False
    judged = evidence.get("judged_by")
    colour = {index: _CLUSTERS[i % len(_CLUSTERS)] for i, of in enumerate(evidence.get("clusters", ())) for index in of}
    figure.set_size_inches(6, 5 * len(maps))
    for axes, (what, of) in zip(figure.subplots(len(maps), 1, squeeze=False)[:, 0], maps.items(), strict=True):
        points = np.array(of["points"])
        axes.scatter(*points.T, s=14, c=[colour.get(index, "#888888") for index in of["episodes"]])
        if what == judged:
            nexts = np.array(evidence["record_next"]).reshape(-1, 3)
            axes.scatter(*nexts[:, :2].T, s=90, marker="+", c=_RED, linewidths=1.8, label="record next")
            if len(nexts):
                axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.06), borderaxespad=0)
        axes.set_title(what, fontsize=13)
        axes.set_xlabel(of["axes"][0])
        axes.set_ylabel(of["axes"][1])
        if np.ptp(points, axis=0).max() > 0:
            axes.set_aspect("equal", adjustable="datalim")
        axes.grid(alpha=0.25)
    return True


def _brightness(figure: Any, evidence: Any) -> bool:
    axes = figure.subplots()
    for colour, (camera, of) in zip(_CLUSTERS, evidence["brightness"].items(), strict=False):
        axes.plot([int(index) for index in of], list(of.values()), ".", color=colour, label=camera)
    axes.set_ylim(0, 255)
    axes.set_xlabel("episode")
    axes.set_ylabel("mean brightness [0 to 255]")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    axes.grid(alpha=0.25)
    return True


def _outliers(figure: Any, evidence: Any) -> bool:
    of = evidence["distance_to_nearest_in_std"]
    axes = figure.subplots()
    far = {str(index) for index in evidence["episodes"]}
    axes.scatter([int(i) for i in of], list(of.values()), s=14, c=[_RED if i in far else _BLUE for i in of])
    for index in far:
        axes.annotate(index, (int(index), of[index]), xytext=(5, 0), textcoords="offset points", va="center")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("episode")
    axes.set_ylabel("distance to the nearest others [std]")
    axes.grid(alpha=0.25)
    return True


_DRAWINGS: dict[str, Callable[[Any, Any], bool]] = {
    "lengths": _lengths,
    "idle": _idle,
    "action": _action,
    "gripper": _gripper,
    "coverage": _coverage,
    "brightness": _brightness,
    "outliers": _outliers,
}
