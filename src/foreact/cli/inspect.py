"""`foreact inspect DATASET`: what is wrong with a data set, before anything is trained on it."""

from __future__ import annotations

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
    """Frames of each camera and episode to decode, from the first on; 0 looks at no picture. Where it is not given: all
    where that is cheap, otherwise as many as a minute allows."""
    strict: bool = False
    """Exit with 1 where there is a fault or a warning, for scripts."""
    source: SourceConfig = field(default_factory=SourceConfig)


def run(arguments: list[str]) -> int:
    """Parse, look, print, write; return 0, or 1 with --strict where something is wrong."""
    options = parse(InspectOptions, arguments, command="inspect")

    from foreact.data.files import refuse_inside
    from foreact.data.source import open_source
    from foreact.inspection.page import write_report
    from foreact.inspection.report import inspect

    out = options.out or Path(f"inspection-{options.data.resolve().stem}")
    refuse_inside(out, options.data, "data set")
    report = inspect(open_source(options.data, options.source), frames=options.frames)
    print(f"{report.data}: {report.episodes} episodes, {report.frames} frames at {report.fps:g} Hz")
    print(f"looked at {report.looked_at}")
    for finding in report.findings:
        print(f"{finding.severity:<8}{finding.title} {finding.verdict}")
        if finding.remedy:
            print(f"{'':<8}what helps: {finding.remedy}")
    page = write_report(report, out)
    print(f"pictures and numbers: {page}")
    return 1 if options.strict and not report.is_clean else 0
