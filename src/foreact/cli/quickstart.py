"""`foreact quickstart`: from nothing to a policy that picks the block it is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foreact.cli.options import parse


@dataclass(frozen=True, kw_only=True)
class QuickstartOptions:
    """Record demonstrations in MuJoCo, train ACT on them and evaluate the policy on unseen episodes.

    Takes at most 25 minutes on two cores without a GPU. Interrupted, the same command continues.
    """

    out: Path | None = None
    """Folder for data, run, video and report; runs/quickstart (runs/smoke with --smoke) where it is not given."""
    smoke: bool = False
    """Every step in about two minutes, with no claim on success."""
    threads: int | None = None
    """To compute with; where it is not given $OMP_NUM_THREADS, what an interrupted call trained with, or as many as
    there are free cores."""
    controls: bool = False
    """Also train and evaluate the control without coordinates and the baseline that has them as a token; about half an
    hour more. The control without pictures is always there."""


def run(arguments: list[str]) -> int:
    """Parse, do it all, print the result and what to try next."""
    options = parse(QuickstartOptions, arguments, command="quickstart")
    out = options.out or Path("runs/smoke" if options.smoke else "runs/quickstart")

    from foreact.cli.eval import print_table
    from foreact.console import console
    from foreact.memory import keep_freed_memory
    from foreact.studio.quickstart import MISSING_CONTROLS, next_steps, plan, quickstart
    from foreact.threads import set_threads
    from foreact.train.run import threads_of

    keep_freed_memory()
    chosen = set_threads(options.threads or "free", started_with=threads_of(out / "policy"))
    console.print(f"computing with {chosen}", highlight=False)
    result = quickstart(plan(smoke=options.smoke), out, controls=options.controls)
    if not result.finished:
        return 130
    for level, evaluations in result.evaluations.items():
        print_table(evaluations, f"{out}, level {level}")
    if not options.controls:
        print(MISSING_CONTROLS)
    print(f"report: {result.report}\nvideo:  {result.video}\n\nwhat to try next:")
    for command, why in next_steps(out):
        print(f"  {command}\n      {why}")
    return 0
