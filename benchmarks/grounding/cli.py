"""`run`, `list` and `table`: the study's command line."""

from __future__ import annotations

import fnmatch
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro
from benchmarks.grounding import cost, table, validation, ways
from benchmarks.grounding.cells import Cell
from benchmarks.grounding.plots import draw_grid, draw_success
from benchmarks.grounding.results import RESULTS, minutes_left, read_results, status
from benchmarks.grounding.run import Machine, run_cell, say, steps_done
from benchmarks.grounding.variants import GRID, study
from filelock import FileLock, Timeout

from foreact.errors import ConfigError, ForeactError

_DOCS = Path(__file__).resolve().parents[2] / "docs"


@dataclass(frozen=True, kw_only=True)
class Run(Machine):
    """Compute the cells that are open, in the study's order; Ctrl-C stops, the same command goes on.

    Several of these commands may work on the study at the same time.
    """

    only: tuple[str, ...] = ()
    """Cells whose name contains one of these words or matches it as a pattern (`uniform-L2_*_s0`)."""
    limit_minutes: float | None = None
    """Stop after this time as Ctrl-C would."""
    redo: bool = False
    """Compute stale cells again, too."""


@dataclass(frozen=True, kw_only=True)
class List:
    """Say of every cell whether it is done, stale or open, and how long it takes."""

    only: tuple[str, ...] = ()
    """Cells whose name contains one of these words or matches it as a pattern."""
    work: Path = Machine.work
    results: Path = RESULTS
    threads: int = 1
    """For the time left of what nobody has measured."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Write the tables and pictures of all results into the documentation."""

    results: Path = RESULTS
    out: Path = _DOCS / "grounding.md"
    """The tables stand between the markers in it; the pictures stand beside it."""
    pictured: tuple[str, ...] = ("L1", "L2", "L3")
    """Conditions in the picture of success."""
    mapped: tuple[str, ...] = (
        "preset",
        "best-blind",
        "best",
        "baseline",
        "blind",
        "resnet-best",
        "resnet-baseline",
        "lerobot",
    )
    """Policies whose success is drawn over the grid."""


Command = (
    Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Table, tyro.conf.subcommand("table")]
)


def main(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code: 0 done, 1 an error, 130 interrupted."""
    command = tyro.cli(Command, args=arguments, prog="grounding", description=__doc__, use_underscores=False)
    try:
        if isinstance(command, Run):
            return min(1, run(command))
        if isinstance(command, List):
            show(command)
        else:
            write_tables(command)
    except KeyboardInterrupt:
        say("stopped; the same command goes on")
        return 130
    except ForeactError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run(options: Run) -> int:
    """Compute what is open of the chosen cells; one that fails is told and left out. Return how many failed."""
    machine = Machine(**{of.name: getattr(options, of.name) for of in fields(Machine)})
    if options.limit_minutes is not None:
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 60 * options.limit_minutes)
    todo = []
    for of in (status(cell, options.results) for cell in chosen(options.only)):
        if of.word == "stale":
            what = "computed again" if options.redo else "left as it is; --redo computes it again"
            say(f"{of.cell.name} is stale ({of.difference}): {what}")
        if of.word == "open" or (of.word == "stale" and options.redo):
            todo.append(of.cell)
    begun = time.perf_counter()
    done = failed = 0
    for number, cell in enumerate(todo, start=1):
        known = read_results(options.results)
        left = sum(_minutes_left(cell, known, options.work, options.threads) for cell in todo[number - 1 :])
        own = _minutes_left(cell, known, options.work, options.threads)
        say(f"[{number}/{len(todo)}] {cell.name}: about {own:.0f} min; all that is left: about {_hours(left)}")
        options.work.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(options.work / f"{cell.name}.lock", timeout=0):
                before = status(cell, options.results)
                if before.word == "done":  # by another process, since this one began
                    continue
                print(run_cell(cell, machine, redo=options.redo))
                done += 1
        except Timeout:
            say(f"{cell.name} is being computed by another process")
        except ForeactError as error:
            failed += 1
            say(f"{cell.name} failed: {error}")
    say(f"{done} of {len(todo)} cells computed in {_hours((time.perf_counter() - begun) / 60)}, {failed} failed")
    return failed


def show(options: List) -> None:
    """Print a line a cell and the sum."""
    known = read_results(options.results)
    total = 0.0
    counts = {"done": 0, "stale": 0, "open": 0}
    for of in (status(cell, options.results) for cell in chosen(options.only)):
        counts[of.word] += 1
        minutes = 0.0 if of.word == "done" else _minutes_left(of.cell, known, options.work, options.threads)
        total += minutes
        if of.word == "done":
            assert of.result is not None
            conditions = of.result["conditions"]
            remark = ", ".join(f"{name} {100 * of['success_rate']:.0f} %" for name, of in conditions.items())
        else:
            steps = steps_done(of.cell, options.work)
            trained = f", step {steps} of {of.cell.run.train.steps}" if steps else ""
            remark = f"about {minutes:.0f} min{trained}{f': {of.difference}' if of.changes else ''}"
        print(f"{of.word:<6}{of.cell.name:<42}{remark}")
    print(", ".join(f"{n} {word}" for word, n in counts.items()) + f"; about {_hours(total)} left")


def write_tables(options: Table) -> None:
    """Write tables and pictures.

    Raises:
        ConfigError: If there is no result yet.
    """
    results = read_results(options.results)
    if not results:
        raise ConfigError(f"no results in '{options.results}' yet: python benchmarks/grounding run")
    rows = table.rows_of(results, {(cell.data.name, cell.variant.name): cell.variant.title for cell in study()})
    success, grid = (options.out.with_name(f"{options.out.stem}_{what}.png") for what in ("success", "grid"))
    draw_success(rows, options.pictured, success)
    pictures = [f"![Success by policy, with intervals]({success.name})"]
    if draw_grid([row for row in rows if row.variant in options.mapped], GRID.name, grid):
        pictures.append(f"![Success over the 7x7 grid]({grid.name})")
    missing = [of for of in (status(cell, options.results) for cell in study()) if of.word != "done"]
    sections = (
        *pictures,
        ways.markdown(rows),
        cost.markdown(),
        validation.markdown(validation.judged(rows)),
        table.markdown(rows),
        table.still_open(missing),
    )
    table.write_between_markers(options.out, "\n\n".join(section for section in sections if section))
    print(f"{len(results)} results: {options.out}")


def chosen(patterns: Sequence[str]) -> list[Cell]:
    """Return the study's cells that one of the patterns names; all of them without a pattern.

    Raises:
        ConfigError: If a pattern names none, or two cells have one name.
    """
    cells = study()
    names = [cell.name for cell in cells]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"the study names cells twice: {', '.join(sorted(twice))}")
    found: set[str] = set()
    for pattern in patterns:
        matching = {name for name in names if pattern in name or fnmatch.fnmatch(name, pattern)}
        if not matching:
            raise ConfigError(f"no cell is named '{pattern}'; python benchmarks/grounding list names them all")
        found |= matching
    return [cell for cell in cells if not patterns or cell.name in found]


def _minutes_left(cell: Cell, known: Sequence[dict[str, object]], work: Path, threads: int) -> float:
    return minutes_left(cell, known, threads=threads, steps_done=steps_done(cell, work))


def _hours(minutes: float) -> str:
    return f"{minutes / 60:.1f} h" if minutes >= 100 else f"{minutes:.0f} min"
