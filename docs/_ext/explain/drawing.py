"""Figures as SVG within the page: their ink follows the page's colour, light or dark."""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the colour of the page's text."""
BLUE, ORANGE, GREEN, GREY = "#3b82d6", "#e07b2a", "#2c9c69", "#8c939d"
"""Seen on white and on black."""
_WIDTH = 7.6
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
}


def new_figure(rows: int, columns: int, *, height: float, **kwargs: Any) -> tuple[Figure, np.ndarray]:
    """Return a figure with axes (rows, columns)."""
    with plt.rc_context(_STYLE):
        return plt.subplots(rows, columns, figsize=(_WIDTH, height), squeeze=False, layout="constrained", **kwargs)


def svg_of(figure: Figure, name: str, *, title: str) -> str:
    """Return a figure as SVG to stand in a page; the same bytes for the same figure."""
    file = io.StringIO()
    with plt.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure.savefig(file, format="svg", dpi=160, metadata={"Date": None, "Creator": None}, transparent=True)
    plt.close(figure)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(id="|#)(\w[\w.-]*)', lambda found: _with_own_id(found, name), svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)


def _with_own_id(found: re.Match[str], name: str) -> str:
    """An id or a reference to one, told apart from those of the page's other figures; colours stay."""
    is_colour = found[1] == "#" and re.fullmatch(r"[0-9a-fA-F]{6}|[0-9a-fA-F]{3}", found[2]) is not None
    return found[0] if is_colour else f"{found[1]}{name}-{found[2]}"
