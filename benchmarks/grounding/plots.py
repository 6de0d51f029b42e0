"""The results as pictures: success with intervals by policy, and success over the grid of positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from benchmarks.grounding.table import Row

_COLOURS = ("#1f77b4", "#d1495b", "#2a9d4a", "#8e6bbf", "#e0a030", "#555555")
_DPI = 75


def draw_success(rows: Sequence[Row], conditions: Sequence[str], path: Path) -> None:
    """Write a PNG: a panel a data set, a line a policy, a dot with its 95 % interval a condition.

    A policy that was measured in none of the conditions has no line.
    """
    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = [row for row in rows if any(row.pooled(condition) is not None for condition in conditions)]
    names = list(dict.fromkeys(row.data for row in rows))
    panels = [[row for row in rows if row.data == name] for name in names]
    heights = [len(panel) + 1.5 for panel in panels]
    figure, axes = pyplot.subplots(
        len(panels),
        1,
        figsize=(9, 0.28 * sum(heights)),
        height_ratios=heights,
        sharex=True,
        layout="constrained",
        squeeze=False,
    )
    for axis, name, panel in zip(axes[:, 0], names, panels, strict=True):
        for number, condition in enumerate(conditions):
            found = [(y, pooled) for y, row in enumerate(panel) if (pooled := row.pooled(condition)) is not None]
            rates = np.array([pooled.successes / pooled.episodes for _, pooled in found])
            bounds = np.array([pooled.interval for _, pooled in found]).reshape(-1, 2)
            axis.errorbar(
                100 * rates,
                [y + 0.16 * (number - (len(conditions) - 1) / 2) for y, _ in found],
                xerr=100 * np.abs(bounds.T - rates),
                fmt="o",
                markersize=4,
                color=_COLOURS[number % len(_COLOURS)],
                label=condition,
            )
        axis.set_yticks(range(len(panel)), [row.title for row in panel], fontsize=8)
        axis.set_ylim(len(panel) - 0.4, -0.6)
        axis.set_title(f"trained on {name}", fontsize=9, loc="left")
        axis.grid(alpha=0.3)
    axes[-1, 0].set_xlim(-1, 101)
    axes[-1, 0].set_xlabel("target in the bowl [%], 95 % Wilson interval")
    axes[0, 0].legend(fontsize=8, ncols=len(conditions), loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(path, dpi=_DPI, pil_kwargs={"optimize": True})
    pyplot.close(figure)


def draw_grid(rows: Sequence[Row], condition: str, path: Path) -> bool:
    """Write a PNG: a map a policy and data set, a cell a position of the grid, coloured by its share of successes.

    Returns:
        False where no row has the condition, so that there is nothing to draw.
    """
    matplotlib.use("agg")
    from matplotlib import pyplot

    found = [(row, shares) for row in rows if len(shares := position_shares(row.results, condition))]
    if not found:
        return False
    columns = min(5, len(found))
    lines = -(-len(found) // columns)
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(2.3 * columns, 1.75 * lines), layout="constrained", squeeze=False
    )
    for axis in axes.flat[len(found) :]:
        axis.axis("off")
    for axis, (row, shares) in zip(axes.flat, found, strict=False):
        xs, ys = (sorted({position[i] for position in shares}) for i in (0, 1))
        share = np.array([[shares.get((x, y), np.nan) for y in reversed(ys)] for x in reversed(xs)])
        picture = axis.imshow(share, vmin=0, vmax=1, cmap="RdYlBu", aspect="auto")
        axis.set_title(f"{row.variant} on {row.data}: {np.nanmean(share):.0%}", fontsize=7)
        axis.set_xticks([0, len(ys) - 1], [f"{-100 * y:.0f}" for y in (ys[-1], ys[0])], fontsize=6)
        axis.set_yticks([0, len(xs) - 1], [f"{100 * x:.0f}" for x in (xs[-1], xs[0])], fontsize=6)
    figure.supxlabel("to the right of the base [cm]", fontsize=8)
    figure.supylabel("in front of the base [cm]", fontsize=8)
    figure.colorbar(picture, ax=axes, aspect=40, fraction=0.03, label="share of successes")
    figure.savefig(path, dpi=_DPI, pil_kwargs={"optimize": True})
    pyplot.close(figure)
    return True


def position_shares(results: Sequence[Mapping[str, Any]], condition: str) -> dict[tuple[float, float], float]:
    """Return the share of successes at each position (x, y) [m] of a condition, over all results."""
    ends: dict[tuple[float, float], list[bool]] = {}
    for of in results:
        for line in of["conditions"].get(condition, {}).get("per_episode", ()):
            x, y, outcome, _ = line.split()
            ends.setdefault((float(x), float(y)), []).append(outcome == "success")
    return {position: float(np.mean(of)) for position, of in ends.items()}
