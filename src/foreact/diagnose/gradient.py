"""Which share of the gradient arrives at each input by training step, as the run has logged it."""

from __future__ import annotations

import math
from pathlib import Path

from foreact.diagnose.run_log import read_log
from foreact.finding import Finding

PREFIX = "grad_share/"
COORDINATES = "coordinates"


def read_gradient_shares(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Return (step, share) pairs by input from a run's log; empty where nothing was logged.

    Shares that are no number, as of a run that has diverged, are left out.

    Raises:
        DataError: If a line of the log is damaged; a last line that a killed run left half is left out.
    """
    shares = {
        name.removeprefix(PREFIX): [(step, share) for step, share in of if math.isfinite(share)]
        for name, of in read_log(path).items()
        if name.startswith(PREFIX)
    }
    return {name: of for name, of in shares.items() if of}


def judge_gradient(shares: dict[str, list[tuple[int, float]]]) -> Finding:
    """Put the shares into words; they judge nothing."""
    question, title = "gradient", "How much of the gradient arrives at the coordinate?"
    if not shares:
        return Finding(
            question=question,
            title=title,
            verdict="gradient shares were not logged",
            severity="note",
            remedy="train with --train.grad-share, for more than --train.log-every steps, to see them by training step",
        )
    if COORDINATES in shares:
        values = shares[COORDINATES]
        least_step, least = min(values, key=lambda pair: pair[1])
        verdict = (
            f"gradient at the coordinate: {100 * values[0][1]:.1f} % of all inputs' at step {values[0][0]}, "
            f"{100 * values[-1][1]:.1f} % at step {values[-1][0]}, least {100 * least:.1f} % at step {least_step}"
        )
    else:
        verdict = f"no gradient was logged at a coordinate; inputs: {', '.join(shares)}"
    return Finding(
        question=question,
        title=title,
        verdict=verdict,
        severity="note",
        evidence={
            name: {"step": [step for step, _ in of], "share": [value for _, value in of]} for name, of in shares.items()
        },
    )
