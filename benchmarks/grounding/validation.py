"""Does `foreact diagnose` call the study's runs rightly? What it said, beside what rollouts showed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.grounding.table import Row, details, table

GOOD, COLLAPSED = 20.0, 30.0
"""Median distance [mm] of the first closing from the target: up to which a run goes where it is told, and from which it
does not. At L1 the coordinate is off by 12 mm (median) and the jaws forgive as much; two blocks stand 60 mm apart or
more, so that from half of that the other one may be as near. What lies between is called neither."""
_WHERE_TRAINED = ("clusters L1", "L1", "L3")
"""Conditions whose positions are those of the demonstrations, which are all that diagnose sees; the first is taken."""
_ANSWERS = {("yes", "fine"): "good", ("no", "fault"): "collapsed"}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One run: what it is known to be and what it was called."""

    name: str
    """Of its cell."""
    condition: str
    """The rollouts that tell what it is."""
    closing_mm: float
    success_rate: float
    answer: str
    """To "uses the coordinate": yes, no, or something between."""
    severity: str
    """Of that finding: a policy may use the coordinate and be found to go beside it."""
    obeyed: int
    trials: int
    index: float

    @property
    def known(self) -> str:
        """`good`, `collapsed` or `neither`."""
        return "good" if self.closing_mm <= GOOD else "collapsed" if self.closing_mm >= COLLAPSED else "neither"

    @property
    def said(self) -> str:
        """The answer, and whether the report finds fault with one that is yes."""
        return f"yes, with a {self.severity}" if self.answer == "yes" and self.severity != "fine" else self.answer

    @property
    def is_called_rightly(self) -> bool:
        """Of a run that is good or collapsed: one that is good raises no fault and no warning."""
        return self._called == self.known

    @property
    def is_called_the_opposite(self) -> bool:
        """Whether a good run is called collapsed, or a collapsed one good; "partly" and a warning are neither."""
        return {self._called, self.known} == {"good", "collapsed"}

    @property
    def _called(self) -> str | None:
        return _ANSWERS.get((self.answer, self.severity))


def judged(rows: Sequence[Row]) -> list[Judged]:
    """Return every run that is told coordinates and was diagnosed, the worst first."""
    asked = [of for row in rows for of in row.results if "trials" in (of["diagnosis"] or {}).get("swap", {})]
    return sorted(map(_judged, asked), key=lambda run: -run.closing_mm)


def _judged(result: Mapping[str, Any]) -> Judged:
    condition = next(name for name in _WHERE_TRAINED if name in result["conditions"])
    figures, swap = result["conditions"][condition], result["diagnosis"]["swap"]
    return Judged(
        name=f"{result['data']}_{result['variant']}_s{result['seed']}",
        condition=condition,
        closing_mm=figures["median_closing_error_mm"],
        success_rate=figures["success_rate"],
        answer=swap["verdict"].split(": ")[1],
        severity=swap["severity"],
        obeyed=swap["obeyed"],
        trials=swap["trials"],
        index=result["diagnosis"]["collapse"]["index"],
    )


def markdown(runs: Sequence[Judged]) -> str:
    """Return a sentence with the counts, and the table of all runs."""
    counts = []
    for known in ("collapsed", "good"):
        of = [run for run in runs if run.known == known]
        counts.append(f"{sum(run.is_called_rightly for run in of)} of {len(of)} {known} runs are called rightly")
    sentence = (
        f"{' and '.join(counts)}, {sum(run.is_called_the_opposite for run in runs)} are called the opposite; "
        f"{sum(run.known == 'neither' for run in runs)} neither. Good: at positions like those of its "
        f"demonstrations the jaws first close at most {GOOD:.0f} mm (median) from the target; collapsed: at "
        f"least {COLLAPSED:.0f} mm."
    )
    head = ["run", "known to be", "uses the coordinate", "swaps obeyed", "collapse index", "jaws off [mm]", "success"]
    lines = [
        [
            run.name,
            run.known,
            run.said,
            f"{run.obeyed} of {run.trials}",
            f"{run.index:.2f}",
            f"{run.closing_mm:.1f}",
            f"{100 * run.success_rate:.0f} % at {run.condition}",
        ]
        for run in runs
    ]
    summary = "Every run: what foreact diagnose said from demonstrations alone, and what the rollouts showed"
    return f"### Does the diagnosis call them rightly?\n\n{sentence}\n\n{details(summary, table(head, lines))}"
