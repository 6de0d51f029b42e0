"""What the pictures of all answers share: colours, and the ink and the paper of a light or of a dark page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

YES, NO, PLAIN, PALE, AMBER = "#2a9d4a", "#c0392b", "#3b82c4", "#9fb0c2", "#e0a030"
OTHERS = ("#3b82c4", "#e0a030", "#4fb3bf", "#9f7aea", "#2a9d4a", "#d8628b", "#9fb0c2", "#7a869a")
"""Of what is not the coordinate, which is red."""

Drawing = Callable[[Any, Any], None]
"""Draws a finding's evidence into an empty figure, 6 inches wide and 3.8 high unless it sets another size; leaves it
empty where there is nothing to draw."""


@contextmanager
def page_style(*, dark: bool) -> Iterator[None]:
    """Draw for a light or for a dark page."""
    from matplotlib import pyplot

    letters, ground = ("#d8d8d8", "#1c1c1e") if dark else ("#222222", "#ffffff")
    style: dict[str, Any] = {f"{of}.facecolor": ground for of in ("figure", "axes", "savefig")}
    names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    style |= {name: letters for name in names}
    # Large letters: on a telephone a picture is shown at half its size.
    style |= {"axes.spines.top": False, "axes.spines.right": False, "font.size": 13.0}
    with pyplot.rc_context(style):  # type: ignore[arg-type]
        yield


def tall(n_rows: int) -> float:
    """Return how many times taller a panel of so many named rows is than one of a dozen."""
    return max(1.0, n_rows / 12)


def ink() -> str:
    """Return the colour of letters."""
    from matplotlib import rcParams

    return str(rcParams["text.color"])


def paper() -> str:
    """Return the colour of the ground."""
    from matplotlib import rcParams

    return str(rcParams["figure.facecolor"])
