"""The results as Markdown: success by policy and condition, and what became of the other episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import Any

from benchmarks.grounding.results import Status

from foreact.errors import DataError
from foreact.intervals import wilson
from foreact.sim.evaluation import CONFUSIONS
from foreact.sim.outcome import OUTCOMES

BEGIN = "<!-- grounding:begin, written by python benchmarks/grounding table -->"
NO_TITLES: Mapping[tuple[str, str], str] = MappingProxyType({})
END = "<!-- grounding:end -->"
_TITLE = "# Grounding: does the policy go where it is told?"


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """One policy on one condition, its seeds' episodes together."""

    by_seed: tuple[int, ...]
    """Successes of each training seed."""
    episodes: int
    outcomes: Mapping[str, int]
    closing_errors_mm: tuple[float, ...]
    """Median of each seed in which the gripper ever closed."""

    @property
    def successes(self) -> int:
        """Of all seeds."""
        return sum(self.by_seed)

    @property
    def confusions(self) -> int:
        """Episodes in which the wrong block was taken."""
        return sum(self.outcomes[name] for name in CONFUSIONS)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the success rate over all episodes; it does not count how seeds differ."""
        return wilson(self.successes, self.episodes)

    def text(self) -> str:
        """Return `93.5 % (90.2 to 95.8; 92, 95)`: rate, interval, and the seeds' own rates where there are several."""
        low, high = self.interval
        each = self.episodes / len(self.by_seed)
        seeds = ", ".join(f"{100 * of / each:.0f}" for of in self.by_seed)
        seeds = f"; {seeds}" if len(self.by_seed) > 1 else ""
        return f"{100 * self.successes / self.episodes:.1f} % ({100 * low:.1f} to {100 * high:.1f}{seeds})"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One policy on one data set: what its seeds gave."""

    data: str
    variant: str
    title: str
    results: Sequence[Mapping[str, Any]]
    """One a seed."""

    def pooled(self, condition: str) -> Pooled | None:
        """Return the condition's episodes of all seeds; None where none was measured on it."""
        found = [of["conditions"][condition] for of in self.results if condition in of["conditions"]]
        if not found:
            return None
        return Pooled(
            by_seed=tuple(of["successes"] for of in found),
            episodes=sum(of["episodes"] for of in found),
            outcomes={name: sum(of["outcomes"][name] for of in found) for name in OUTCOMES},
            closing_errors_mm=tuple(
                of["median_closing_error_mm"] for of in found if of["median_closing_error_mm"] is not None
            ),
        )

    def average(self, *path: str) -> float:
        """Return the mean over the seeds of a number in the results."""

        def value(of: Any) -> float:
            for name in path:
                of = of[name]
            return float(of)

        return mean(value(of) for of in self.results)


def rows_of(results: Sequence[Mapping[str, Any]], titles: Mapping[tuple[str, str], str] = NO_TITLES) -> list[Row]:
    """Return one row a (data, variant), pooled over its seeds; rows of the same data stand together.

    Args:
        results: In any order.
        titles: Of the study's rows by (data, variant), in the study's order. What the study no longer names comes
            last, with the title that it had.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {key: [] for key in titles}
    for of in sorted(results, key=lambda of: (of["data"], of["variant"], of["seed"])):
        groups.setdefault((of["data"], of["variant"]), []).append(of)
    rows = [
        Row(data=key[0], variant=key[1], title=titles.get(key, found[0]["title"]), results=found)
        for key, found in groups.items()
        if found
    ]
    data = list(dict.fromkeys(row.data for row in rows))
    return sorted(rows, key=lambda row: data.index(row.data))


def conditions_of(rows: Sequence[Row]) -> list[str]:
    """Return the names of all conditions, in the order in which they were measured."""
    return list(dict.fromkeys(name for row in rows for of in row.results for name in of["conditions"]))


def markdown(rows: Sequence[Row]) -> str:
    """Return tables of success, of outcomes and of diagnoses for each data set."""
    parts = []
    for data, found in groupby(rows, key=lambda row: row.data):
        of_data = list(found)
        parts += [f"### Trained on {data}", _success(of_data), _outcomes(of_data), _diagnoses(of_data)]
    return "\n\n".join(part for part in parts if part)


def _success(rows: Sequence[Row]) -> str:
    conditions = conditions_of(rows)
    head = ["policy", "seeds", *conditions, "samples", "minutes"]
    lines = []
    for row in rows:
        found = [row.pooled(name) for name in conditions]
        lines.append(
            [
                row.title,
                str(len(row.results)),
                *("" if of is None else of.text() for of in found),
                f"{row.average('training', 'samples'):.0f}",
                f"{row.average('training', 'minutes'):.0f}",
            ]
        )
    return table(head, lines)


def _outcomes(rows: Sequence[Row]) -> str:
    """How the episodes ended, in %, and the wrong block."""
    head = ["policy", "condition", "episodes", "wrong block", *OUTCOMES, "closing error [mm]"]
    lines = []
    for row in rows:
        for name in conditions_of([row]):
            pooled = row.pooled(name)
            assert pooled is not None
            lines.append(
                [
                    row.title,
                    name,
                    str(pooled.episodes),
                    *(f"{100 * n / pooled.episodes:.1f}" for n in (pooled.confusions, *pooled.outcomes.values())),
                    f"{mean(pooled.closing_errors_mm):.1f}" if pooled.closing_errors_mm else "-",
                ]
            )
    summary = "Outcomes, % of the episodes; median distance of the first closing from the target"
    return details(summary, table(head, lines))


def still_open(cells: Sequence[Status]) -> str:
    """Return a section that names the cells that are not computed, or were with other settings; empty without one."""
    if not cells:
        return ""
    lines = [
        [of.cell.name, of.cell.variant.title, f"{of.word}: {of.difference}" if of.changes else of.word] for of in cells
    ]
    summary = f"{len(lines)} cells that the study asks for and that are not computed yet"
    return f"### Still open\n\n{details(summary, table(['cell', 'policy', 'state'], lines))}"


def _diagnoses(rows: Sequence[Row]) -> str:
    """What `foreact diagnose` said of each run, beside its rollouts; empty where it was not asked."""
    asked = [(row, of) for row in rows for of in row.results if of["diagnosis"] is not None]
    if not asked:
        return ""
    conditions = conditions_of(rows)
    lines = []
    for row, of in asked:
        swap, collapse = (of["diagnosis"].get(question, {}) for question in ("swap", "collapse"))
        said = [
            f"{swap['obeyed']} of {swap['trials']}" if "trials" in swap else "",
            f"{collapse['index']:.2f}" if "index" in collapse else "",
        ]
        found = [of["conditions"].get(name) for name in conditions]
        rates = ["" if figures is None else f"{100 * figures['success_rate']:.1f}" for figures in found]
        lines.append([row.title, str(of["seed"]), *said, *rates])
    summary = (
        "What foreact diagnose says of each run, beside its success in %: swaps obeyed; collapse index, "
        "0 as varied as the data, 1 one trajectory for all"
    )
    head = ["policy", "seed", "swap test", "collapse index", *conditions]
    return details(summary, table(head, lines))


def details(summary: str, text: str) -> str:
    """Return a text that is folded under its summary."""
    return f"<details><summary>{summary}</summary>\n\n{text}\n\n</details>"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is words and the others numbers."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))


def write_between_markers(path: Path, text: str) -> None:
    """Replace what stands between the markers of a document; a document that is missing is begun.

    Raises:
        DataError: If the document has no markers, or not in this order.
    """
    content = path.read_text() if path.exists() else f"{_TITLE}\n\n{BEGIN}\n{END}\n"
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DataError(f"'{path}' has no lines '{BEGIN}' and '{END}' between which the tables belong; add them")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
