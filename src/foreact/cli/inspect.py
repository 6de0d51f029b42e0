"""`foreact inspect DATASET`: what is wrong with a data set, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from foreact.cli.options import parse
from foreact.config import SourceConfig


@dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """Look at a data set before training: each finding with its episodes, why it matters and what helps.

    Writes inspection.json and inspection.html. The data set itself is never changed.
    """

    data: Annotated[Path, tyro.conf.Positional]
    """Folder of the data set, or a robomimic file, in any format that is read."""
    out: Path | None = None
    """Folder of the report; inspection-NAME in the current folder where it is not given."""
    frames: int | None = None
    """Frames of each camera and episode to decode, in a row, at another place in each episode, beside the first; 0
    looks at no picture. Where it is not given: all where that is cheap, otherwise as many as a minute or two allow."""
    strict: bool = False
    """Exit with 3 where there is a fault or a warning, for scripts."""
    source: SourceConfig = field(default_factory=SourceConfig)


FOUND = 3
"""Exit code of --strict where something is wrong; 1 is an error, 2 a wrong call."""


def run(arguments: list[str]) -> int:
    """Parse, look, print, write; return 0, or `FOUND` with --strict where something is wrong."""
    options = parse(InspectOptions, arguments, command="inspect")

    from foreact.data.source import open_source
    from foreact.inspection.page import DIMENSIONS, dimension_rows, prepare, write_report
    from foreact.inspection.report import inspect

    out = options.out or Path(f"inspection-{options.data.resolve().stem}")
    source = open_source(options.data, options.source)
    prepare(out, options.data)
    report = inspect(source, frames=options.frames)
    print(f"{report.data}: {report.episodes} episodes, {report.frames} frames at {report.fps:g} Hz")
    print(f"looked at {report.looked_at}")
    print(report.counts)
    for finding in report.findings:
        print(f"{finding.severity:<8}{finding.title} {finding.verdict}")
        if finding.question == "dimensions":
            _print_table([DIMENSIONS, *dimension_rows(finding)])
        if finding.remedy:
            print(f"{'':<8}what helps: {finding.remedy}")
    page = write_report(report, out)
    print(f"pictures and numbers: {page}")
    return FOUND if options.strict and not report.is_clean else 0


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, the first to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells, remark in rows:
        numbers = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths[1:-1], strict=True))
        print(f"{'':<8}{name:<{widths[0]}}  {numbers}  {remark}".rstrip())
