"""`foreact diagnose RUN --data D`: why a policy does not work, and what helps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from foreact.cli.options import parse


@dataclass(frozen=True, kw_only=True)
class DiagnoseOptions:
    """Find out why a policy does not work, before it is rolled out.

    Does it use what it is told and shown, does every part of it learn, do its pictures and its normalisation fit the
    data, are its chunks like the demonstrations? Writes diagnosis.json, diagnosis.html and, for each question of which
    something was measured, a picture. The exit code is 0 whatever is found.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A run or a checkpoint directory."""
    data: Path | None = None
    """A data set; what the run was trained on where it is not given."""
    out: Path | None = None
    """Folder of the diagnosis; RUN/diagnosis where it is not given."""
    episodes: int = 50
    """How many episodes to examine on: held-out ones first, then training episodes."""
    checkpoint: str = "last"
    """Of a run: last, best, or a step's number."""
    others: Path | None = None
    """File of where other blocks stood, episode,x,y, a line a block: the swap test then names them. Needed only where
    the data do not say it."""
    device: str = "cpu"
    """Where the network runs."""
    cache_dir: Path | None = None
    """Where decoded frames are kept; the user's cache where it is not given."""


def run(arguments: list[str]) -> int:
    """Parse, examine, print, write and return 0."""
    options = parse(DiagnoseOptions, arguments, command="diagnose")

    from foreact.diagnose.examined import seen_in_words
    from foreact.diagnose.page import write_report
    from foreact.diagnose.report import diagnose

    report = diagnose(
        options.run,
        data=options.data,
        checkpoint=options.checkpoint,
        episodes=options.episodes,
        cache_dir=options.cache_dir,
        device=options.device,
        others=options.others,
    )
    print(
        f"{report.run}, step {report.step}, on {report.episodes} episodes of {report.data}, "
        f"{seen_in_words(report.held_out)}"
    )
    said = set()
    for finding in report.findings:
        print(f"{finding.severity:<8}{finding.verdict}")
        if finding.remedy:
            print(f"{'':<8}what helps: {'see above' if finding.remedy in said else finding.remedy}")
            said.add(finding.remedy)
    page = write_report(report, options.run / "diagnosis" if options.out is None else options.out)
    print(f"pictures and numbers: {page}")
    return 0
