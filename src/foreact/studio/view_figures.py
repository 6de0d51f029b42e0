"""Figures of an episode, drawn without a screen: curves, the hand's path with the chunks, a strip of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from foreact.data.lookup import spread_evenly
from foreact.diagnose.drawing import AMBER, NO, PLAIN, YES, page_style
from foreact.studio.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Mapping[str, str] = MappingProxyType(
    {"state": "#7a869a", "demonstrated": YES, "sent": PLAIN, "chunk": AMBER, "limited": NO, "hand": "#222222"}
)
CUE = "#d8628b"
_DPI = 110
_PICTURES = 8
"""Of each camera in the strip."""
_LETTERS = 8.0


def write_figures(view: View, folder: Path) -> list[Path]:
    """Write each figure of an episode as a PNG and return their paths; the hand's path only where it is known."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Callable[[View], Figure]] = {"curves": draw_curves}
    if view.hand is not None or any(of.path is not None for of in view.predictions):
        drawn["path"] = draw_paths
    if view.sizes:
        drawn["cameras"] = draw_strip
    paths = []
    for name, draw in drawn.items():
        paths.append(folder / f"{view.name}_{name}.png")
        with page_style(dark=False):
            draw(view).savefig(paths[-1], dpi=_DPI)
    return paths


def draw_curves(view: View) -> Figure:
    """Draw a panel a dimension: what was measured, demonstrated and sent, the chunks, and where limits were hit."""
    columns = min(3, len(view.columns))
    figure, panels = curve_panels(view, tuple(view.columns), columns, (4.2 * columns, 1.8))
    for axes in panels[-columns:]:
        axes.set_xlabel("tick", fontsize=_LETTERS)
    figure.suptitle(view.title, fontsize=_LETTERS + 3)
    return figure


def curve_panels(
    view: View, names: tuple[str, ...], columns: int, size: tuple[float, float]
) -> tuple[Figure, list[Axes]]:
    """Draw the curves of some dimensions alone.

    Args:
        view: The episode.
        names: Of the dimensions, in order.
        columns: Panels side by side.
        size: Width of the figure and height of a row [inches].

    Returns:
        The figure and its panels, in the order of the names. Lines are labelled by their kind; a chunk's is `chunk`.
    """
    from matplotlib.figure import Figure

    rows = -(-len(names) // columns)
    figure = Figure(figsize=(size[0], size[1] * rows + 0.6), layout="constrained")
    panels = list(figure.subplots(rows, columns, sharex=True, squeeze=False).ravel())
    ticks = np.arange(view.length)
    for axes, name in zip(panels, names, strict=False):
        if name in view.names:
            dim = view.names.index(name)
            for of in view.executed:
                at = of.tick + np.arange(len(of.actions))
                axes.plot(at, of.actions[:, dim], color=COLOURS["chunk"], lw=0.8, alpha=0.5, label="chunk")
        for kind, values in view.columns[name].items():
            axes.plot(ticks, values, color=COLOURS[kind], lw=1.3, label=kind)
        if name in view.names and view.limited is not None and view.sent is not None:
            at = np.flatnonzero(view.limited[:, dim])
            if len(at):
                axes.plot(at, view.sent[at, dim], "x", color=COLOURS["limited"], ms=4, label="limited")
        axes.set_title(name, fontsize=_LETTERS + 1, loc="left")
        axes.tick_params(labelsize=_LETTERS)
        axes.grid(alpha=0.2)
        axes.set_xlim(0, max(1, view.length - 1))
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for axes in panels[: len(names)][-columns:]:
        axes.tick_params(labelbottom=True)
    _explain(figure, panels)
    return figure, panels[: len(names)]


def draw_paths(view: View) -> Figure:
    """Draw where the hand went, from above and from the side, with the chunks that were executed and the cue [cm]."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    for axes, project, labels in zip(
        figure.subplots(1, 2),
        (from_above, from_the_side),
        (("to the right of the base", "in front of the base"), ("in front of the base", "height")),
        strict=True,
    ):
        for of in view.executed:
            if of.path is not None:
                axes.plot(*project(of.path), color=COLOURS["chunk"], lw=0.9, alpha=0.6, label="chunk")
        if view.hand is not None:
            axes.plot(*project(view.hand), color=COLOURS["hand"], lw=1.6, label="hand")
            axes.plot(*project(view.hand[:1]), "o", color=COLOURS["hand"], ms=5, label="begin")
        if view.cue is not None:
            axes.plot(*project(np.unique(view.cue, axis=0)), "+", color=CUE, ms=12, mew=2.5, label="cue")
        axes.set_xlabel(f"{labels[0]} [cm]", fontsize=_LETTERS + 2)
        axes.set_ylabel(f"{labels[1]} [cm]", fontsize=_LETTERS + 2)
        axes.tick_params(labelsize=_LETTERS + 1)
        axes.set_aspect("equal", adjustable="datalim")
        axes.grid(alpha=0.25)
    _explain(figure, figure.axes)
    figure.suptitle(view.title, fontsize=_LETTERS + 4)
    return figure


def _explain(figure: Figure, panels: Sequence[Axes]) -> None:
    """Say once below all panels what is what."""
    handles = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=5, fontsize=_LETTERS + 1, frameon=False
    )


def from_above(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points (N, 3) [m] as whoever stands behind the base sees them from above: right and forward [cm]."""
    return -100 * points[:, 1], 100 * points[:, 0]


def from_the_side(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points (N, 3) [m] as seen from the arm's right: forward and up [cm]."""
    return 100 * points[:, 0], 100 * points[:, 2]


def draw_strip(view: View) -> Figure:
    """Draw pictures of all cameras at some ticks, evenly spread over the episode."""
    from matplotlib.figure import Figure

    ticks = list(spread_evenly(range(view.length), _PICTURES))
    shapes = [height / width for height, width in view.sizes.values()]
    figure = Figure(figsize=(1.6 * len(ticks) + 0.3, 1.6 * sum(shapes) + 0.7), layout="constrained")
    grid = figure.subplots(len(shapes), len(ticks), squeeze=False, height_ratios=shapes)
    for row, camera in zip(grid, view.sizes, strict=True):
        pictures = {tick: picture for tick, picture in enumerate(view.frames(camera)) if tick in ticks}
        for axes, tick in zip(row, ticks, strict=True):
            axes.imshow(pictures[tick])
            axes.set_title(f"{tick}", fontsize=_LETTERS)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(camera, fontsize=_LETTERS + 1)
    figure.suptitle(view.title, fontsize=_LETTERS + 3)
    return figure
