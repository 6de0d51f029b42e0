"""A comparison on disk: JSON and one self-contained HTML page with a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foreact.diagnose.compare import FIGURES, Comparison, summary, to_json
from foreact.diagnose.drawing import PALE, PLAIN, YES, page_style
from foreact.errors import DataError
from foreact.page import escape, facts, image, page, table

JSON, PAGE, PICTURE = "comparison.json", "comparison.html", "comparison.png"
AGREEMENT = {"start": "0.94 (0.84 to 0.98)", "first_chunk": "0.93 (0.84 to 0.96)"}
"""Rank correlation (Spearman, 95 %) of each score with closed-loop success over 37 checkpoints of the simulation, whose
success is 0 to 97 % (docs/compare.md; `benchmarks/results/ranking.json`)."""


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """Write `comparison.json`, `comparison.png` and `comparison.html`, and return the page.

    Raises:
        DataError: If the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / JSON).write_text(to_json(comparison))  # first: pictures need a package that may not be there
        light, dark = out / PICTURE, out / "comparison-dark.png"
        draw_comparison(comparison, light)
        draw_comparison(comparison, dark, dark=True)
        known = known_figures(comparison)
        rows = [
            [
                f"{number}{' =' if of.like_the_one_before else ''} {of.name}",
                *(figure_text(of.figures, name) for name in known),
            ]
            for number, of in enumerate(comparison.places, start=1)
        ]
        units = [f"{FIGURES[name].title} [{FIGURES[name].unit}]" for name in known]
        held_out = "unknown who was trained on them"
        if comparison.held_out is not None:
            held_out = f"{comparison.held_out} of them none was trained on"
        (out / PAGE).write_text(
            page(
                f"Comparison of {len(comparison.places)} checkpoints",
                [
                    f"<p class='verdict'>{escape(summary(comparison))}</p>",
                    facts({"data": comparison.data, "episodes": f"{comparison.episodes}, {held_out}"}),
                    image(light, f"{FIGURES[comparison.score].title} by checkpoint, with 95 % intervals", dark),
                    table(["checkpoint", *units], rows),
                    f"<p>{escape(legend(comparison))}</p>",
                ],
            )
        )
    except OSError as error:
        raise DataError(f"cannot write the comparison to '{out}': {error.strerror or error}") from error
    return out / PAGE


def known_figures(comparison: Comparison) -> list[str]:
    """Return the figures that at least one of the checkpoints has, the score first."""
    known = [name for name in FIGURES if any(of.figures[name] is not None for of in comparison.places)]
    return sorted(known, key=lambda name: name != comparison.score)


def figure_text(figures: dict[str, float | None], name: str) -> str:
    """Return a figure for a table."""
    value = figures[name]
    return "-" if value is None else f"{value:.{FIGURES[name].digits}f}"


def legend(comparison: Comparison) -> str:
    """Return how to read the table."""
    return (
        f"ranked by {FIGURES[comparison.score].title}, less is better; = cannot be told from the one above on these "
        f"{comparison.episodes} episodes; over 37 checkpoints in simulation the rank correlation of this figure with "
        f"success was {AGREEMENT[comparison.score]}"
    )


def draw_comparison(comparison: Comparison, path: Path, *, dark: bool = False) -> None:
    """Write a PNG: the score of each checkpoint with its interval, the best on top."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    with page_style(dark=dark):
        n = len(comparison.places)
        figure = pyplot.figure(figsize=(6, 1.4 + 0.32 * n), layout="constrained")
        axes: Any = figure.subplots()
        like = {comparison.places[0].name, *comparison.like_the_best}
        for row, of in enumerate(comparison.places):
            colour = YES if of.name in like else PLAIN
            axes.plot([of.low, of.high], [row, row], color=PALE, linewidth=4, solid_capstyle="butt")
            axes.plot(of.figures[comparison.score], row, "o", color=colour)
        axes.set_yticks(range(n), [f"…{of.name[-25:]}" if len(of.name) > 26 else of.name for of in comparison.places])
        axes.tick_params(axis="y", labelsize=10)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        figure_of = FIGURES[comparison.score]
        axes.set_xlabel(f"{figure_of.title} [{figure_of.unit}]")
        axes.grid(axis="x", alpha=0.25)
        figure.savefig(path, dpi=120)
        pyplot.close(figure)
