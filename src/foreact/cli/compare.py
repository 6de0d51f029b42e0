"""`foreact compare RUN...`: which checkpoint is best, without a robot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from foreact.cli.options import parse

if TYPE_CHECKING:
    from foreact.diagnose.compare import Comparison


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Rank checkpoints by recorded episodes, without a robot, and say which cannot be told apart.

    Each is measured on the same episodes, those that none was trained on. The exit code is 0 whatever is found.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Runs or checkpoint directories."""
    data: Path | None = None
    """A data set; what the runs were trained on where it is not given."""
    checkpoints: str = "last"
    """Of each run: last, best, a step's number, or all."""
    episodes: int = 50
    """How many episodes to compare on."""
    out: Path | None = None
    """Write comparison.html, comparison.json and a picture into this folder."""
    device: str = "cpu"
    """Where the networks run."""
    cache_dir: Path | None = None
    """Where decoded frames are kept; the user's cache where it is not given."""


def run(arguments: list[str]) -> int:
    """Parse, compare, print, write and return 0."""
    options = parse(CompareOptions, arguments, command="compare")

    from foreact.console import console
    from foreact.diagnose.compare import compare, summary
    from foreact.diagnose.compare_page import write_comparison

    comparison = compare(
        options.runs,
        data=options.data,
        checkpoints=options.checkpoints,
        episodes=options.episodes,
        cache_dir=options.cache_dir,
        device=options.device,
        advance=lambda name: console.print(f"measuring {name}", highlight=False),
    )
    print_table(comparison)
    print(summary(comparison))
    if comparison.held_out is None:
        print("not all of them say what they were trained on; whoever has seen these episodes is flattered")
    elif comparison.held_out < comparison.episodes:
        seen = comparison.episodes - comparison.held_out
        print(f"{seen} of {comparison.episodes} episodes were trained on, which flatters whoever has seen them")
    if options.out is not None:
        print(f"pictures and numbers: {write_comparison(comparison, options.out)}")
    return 0


def print_table(comparison: Comparison) -> None:
    """Print a checkpoint a row, the best first."""
    from rich.table import Table

    from foreact.console import out
    from foreact.diagnose.compare import FIGURES
    from foreact.diagnose.compare_page import figure_text, known_figures, legend

    score, known = comparison.score, known_figures(comparison)
    shown = [name for name in _BESIDE if name in known]
    title = f"{len(comparison.places)} checkpoints on {comparison.episodes} episodes of {comparison.data}"
    table = Table(title=title, title_justify="left")
    table.add_column("", justify="right")
    table.add_column("checkpoint", overflow="fold")
    table.add_column(f"first chunk\n{FIGURES[score].unit}", justify="right")
    table.add_column("95 %\ninterval", justify="right", no_wrap=True)
    for name in shown:
        table.add_column(_BESIDE[name], justify="right")
    for number, of in enumerate(comparison.places, start=1):
        digits = FIGURES[score].digits
        interval = f"{of.low:.{digits}f} to {of.high:.{digits}f}"
        cells = [figure_text(of.figures, name) for name in shown]
        first = f"{number}{' =' if of.like_the_one_before else ''}"
        table.add_row(first, of.name, figure_text(of.figures, score), interval, *cells)
    out.print(table)
    print(legend(comparison))


_BESIDE = {"aim": "aim\nmm", "open_loop": "open\nloop", "swap": "swap\ntest", "collapse": "col-\nlapse"}
"""The figures that a terminal has room for; the page has all."""
