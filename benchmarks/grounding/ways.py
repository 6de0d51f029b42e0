"""Ways of conditioning side by side: one network and budget, told in another way, from several kinds of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.grounding.cells import Condition, Data, Variant
from benchmarks.grounding.table import Row, table
from benchmarks.grounding.variants import (
    AT_L1,
    AT_L2,
    CLUSTERED,
    COPIED_MISLED,
    HULL,
    IN_CLUSTERS,
    RAW,
    TOKEN,
    UNIFORM,
    WAYS,
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Demonstrations on which the ways are compared."""

    data: Data
    conditions: tuple[Condition, ...]
    in_metres: bool = False
    """Coordinates are not normalised, so that the token alone collapses: swaps and wrong blocks are told too."""

    @property
    def title(self) -> str:
        """For the columns' heads."""
        return f"{self.data.name}, in metres" if self.in_metres else self.data.name

    @property
    def columns(self) -> list[str]:
        """Of this kind, without its title."""
        return [*(["swaps obeyed", "wrong block"] if self.in_metres else []), *(of.name for of in self.conditions)]

    def variant(self, way: Variant) -> str:
        """Return the name under which a way was trained on these demonstrations."""
        return RAW[way.name].name if self.in_metres else way.name

    def texts(self, result: Mapping[str, Any] | None) -> list[str]:
        """Return what a way's result has in each column; empty ones where there is none."""
        if result is None:
            return [""] * len(self.columns)
        conditions = [result["conditions"][of.name] for of in self.conditions]
        successes = [str(of["successes"]) for of in conditions]
        if not self.in_metres:
            return successes
        swap = result["diagnosis"]["swap"]
        return [f"{swap['obeyed']} of {swap['trials']}", str(sum(of["confusions"] for of in conditions)), *successes]


KINDS = (
    Kind(data=UNIFORM["L2"], conditions=(AT_L1, AT_L2)),
    Kind(data=UNIFORM["L1"], conditions=(AT_L1, AT_L2)),
    Kind(data=CLUSTERED["L1"], conditions=(IN_CLUSTERS, HULL, AT_L1)),
    Kind(data=COPIED_MISLED, conditions=(IN_CLUSTERS,), in_metres=True),
)


def markdown(rows: Sequence[Row]) -> str:
    """Return a heading, a sentence and the tables; empty where no way was measured beside the token.

    Args:
        rows: Of all results. Demonstrations on which fewer than two ways were measured are left out.
    """
    of_row = {(row.data, row.variant): row.results[0] for row in rows}
    tables = [_table(of_row, [kind for kind in KINDS if kind.in_metres is in_metres]) for in_metres in (False, True)]
    if not any(tables):
        return ""
    train = TOKEN.run.train
    sentence = (
        f"The small network on the overhead camera, {train.steps} steps of {train.batch_size}, one seed a policy: "
        "successes of 200 episodes, of which a 95 % interval goes at most 7 points to either side. The head says what "
        "was trained on, then where it was measured. Where coordinates are in metres the token alone collapses; swaps "
        "obeyed and episodes with the wrong block are told there too."
    )
    return "\n\n".join(["### The ways side by side", sentence, *(text for text in tables if text)])


def _table(of_row: Mapping[tuple[str, str], Mapping[str, Any]], kinds: Sequence[Kind]) -> str:
    found = [(kind, [of_row.get((kind.data.name, kind.variant(way))) for way in WAYS]) for kind in kinds]
    shown = [(kind, results) for kind, results in found if sum(result is not None for result in results) > 1]
    if not shown:
        return ""
    head = ["way", *(f"{kind.title}: {column}" for kind, _ in shown for column in kind.columns)]
    lines = [
        [_title(way.title), *(text for kind, results in shown for text in kind.texts(results[i]))]
        for i, way in enumerate(WAYS)
    ]
    return table(head, lines)


def _title(of_variant: str) -> str:
    return of_variant.removesuffix(", half the training").removeprefix("baseline: ")
