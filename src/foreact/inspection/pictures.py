"""The evidence as pictures, one a question, drawn from the findings alone, for a light and for a dark page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foreact.finding import Finding

_BLUE, _RED, _GREEN, _AMBER = "#3b82c4", "#c0392b", "#2a9d4a", "#e0a030"
_CLUSTERS = ("#3b82c4", "#e0a030", "#2a9d4a", "#9f7aea", "#d8628b", "#4fb3bf")
_MAX_BARS = 40


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
    style |= {"axes.spines.top": False, "axes.spines.right": False, "font.size": 10.0}
    with pyplot.rc_context(style):  # type: ignore[arg-type]
        figure = pyplot.figure(figsize=(9, 3.8), layout="constrained")
        drawn = drawing(figure, finding.evidence)
        if drawn:
            figure.savefig(path, dpi=110)
        pyplot.close(figure)
    return drawn


def draw_contact_sheet(contact: Mapping[str, Mapping[int, np.ndarray]], path: Path) -> None:
    """Write a PNG of the first frames: a row a camera, a column an episode."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    episodes = sorted({index for of in contact.values() for index in of})
    columns = min(6, len(episodes))
    per_camera = -(-len(episodes) // columns)
    figure, axes = pyplot.subplots(
        per_camera * len(contact),
        columns,
        figsize=(1.5 * columns, 1.45 * per_camera * len(contact)),
        squeeze=False,
        layout="constrained",
        facecolor="#808080",
    )
    for of_axes in axes.ravel():
        of_axes.set_axis_off()
    for row, (camera, pictures) in enumerate(contact.items()):
        for place, index in enumerate(episodes):
            if index not in pictures:
                continue
            at = axes[row * per_camera + place // columns, place % columns]
            at.imshow(pictures[index])
            at.set_title(
                f"{camera}, {index}" if len(camera) < 14 else f"...{camera[-11:]}, {index}", fontsize=8, color="white"
            )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _lengths(figure: Any, evidence: Any) -> bool:
    axes = figure.subplots()
    axes.hist(evidence["length_s"], bins=min(40, max(8, len(evidence["length_s"]) // 4)), color=_BLUE)
    axes.set_xlabel("length [s]")
    axes.set_ylabel("episodes")
    return True


def _idle(figure: Any, evidence: Any) -> bool:
    axes = figure.subplots()
    both = [evidence["start_s"], evidence["end_s"]]
    if not any(value > 0 for values in both for value in values):
        return False
    axes.hist(both, bins=30, color=[_BLUE, _AMBER], label=["at the start", "at the end"])
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
    axes.set_xticks(evidence["lags_frames"][::2])
    axes.set_xlabel("frames by which the state is later than the action")
    axes.set_ylabel("distance [mean steps of the state]")
    return True


def _gripper(figure: Any, evidence: Any) -> bool:
    if not evidence["first_closing_s"]:
        return False
    left, right = figure.subplots(1, 2)
    times = evidence["first_closing_s"]
    left.hist(times, bins=min(20, max(4, len(times) // 3)), color=_BLUE, rwidth=0.92)
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
    for axes, (what, of) in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps.items(), strict=True):
        points = np.array(of["points"])
        axes.scatter(*points.T, s=14, c=[colour.get(index, "#888888") for index in of["episodes"]])
        if what == judged:
            nexts = np.array(evidence["record_next"]).reshape(-1, 3)
            axes.scatter(*nexts[:, :2].T, s=90, marker="+", c=_RED, linewidths=1.8, label="record next")
            if len(nexts):
                axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.06), borderaxespad=0)
        axes.set_title(what, fontsize=10)
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
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
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


def _dimensions(figure: Any, evidence: Any) -> bool:
    """A bar a dimension within its vector's box: the whole range pale, 98 % of the frames dark."""
    rows = evidence["dimensions"][:_MAX_BARS]
    figure.set_size_inches(9, 1.2 + 0.24 * len(rows))
    axes = figure.subplots()
    for place, row in enumerate(rows):
        width = max(row["max"] - row["min"], 1e-12)
        start, stop = (row["q01"] - row["min"]) / width, (row["q99"] - row["min"]) / width
        axes.barh(place, 1, color=_BLUE, alpha=0.25)
        axes.barh(place, max(stop - start, 0.004), left=start, color=_BLUE)
        unit = f" {row['unit']}" if row["unit"] else ""
        axes.text(-0.01, place, f"{row['min']:.3g}", ha="right", va="center", fontsize=8)
        axes.text(1.01, place, f"{row['max']:.3g}{unit}", ha="left", va="center", fontsize=8)
    short = {"observation.state": "state", "observation.environment_state": "coordinates", "action": "action"}
    axes.set_yticks(range(len(rows)), [f"{short[row['key']]}: {row['name']}" for row in rows])
    axes.tick_params(axis="y", length=0, pad=44)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12)
    axes.set_xticks([])
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.set_xlabel("from the least to the largest value; dark: 98 % of the frames of some episodes")
    return True


_DRAWINGS: dict[str, Callable[[Any, Any], bool]] = {
    "lengths": _lengths,
    "idle": _idle,
    "action": _action,
    "gripper": _gripper,
    "coverage": _coverage,
    "brightness": _brightness,
    "outliers": _outliers,
    "dimensions": _dimensions,
}
