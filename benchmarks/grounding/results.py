"""A cell's result: one small JSON file in the repository, and whether it still stands."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.grounding.cells import Cell, changes

from foreact.data.files import write_json

RESULTS = Path(__file__).resolve().parents[1] / "results" / "grounding"
LARGEST = 100_000
"""Bytes that a result may have."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a cell stands."""

    cell: Cell
    result: dict[str, Any] | None
    """What is written; None where nothing is."""
    changes: tuple[str, ...]
    """What differs between the settings of the result and those of today."""

    @property
    def word(self) -> str:
        """`done`, `stale` or `open`."""
        if self.result is None:
            return "open"
        return "stale" if self.changes else "done"

    @property
    def difference(self) -> str:
        """The first changes, in words."""
        more = len(self.changes) - 3
        return ", ".join(self.changes[:3]) + (f" and {more} more" if more > 0 else "")


def status(cell: Cell, folder: Path = RESULTS) -> Status:
    """Return where a cell stands."""
    path = folder / f"{cell.name}.json"
    if not path.exists():
        return Status(cell=cell, result=None, changes=())
    result = json.loads(path.read_text())
    differing = changes(result["settings"], cell.settings())
    if cell.diagnose and result["diagnosis"] is None:
        differing.append("the diagnosis is missing")
    return Status(cell=cell, result=result, changes=tuple(differing))


def write_result(cell: Cell, result: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Write a cell's result, complete or not at all, and return its file.

    Raises:
        ValueError: If it is too large for the repository.
    """
    size = len(json.dumps(result, indent=2))
    if size > LARGEST:
        raise ValueError(f"the result of {cell.name} has {size} bytes; at most {LARGEST} belong into the repository")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{cell.name}.json"
    write_json(path, result)
    return path


def read_results(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Return all results, in the order of their names."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def minutes_left(cell: Cell, results: Iterable[dict[str, Any]], *, threads: int, steps_done: int = 0) -> float:
    """Return how long a cell will take: as long as others of its policy did, else its variant's guess.

    Args:
        cell: Open or stale.
        results: Of cells that are done.
        threads: To compute with; counts for the guess only.
        steps_done: Of its training.
    """
    results = list(results)
    same = [of for of in results if of["variant"] == cell.variant.name and of["training"]["minutes"] > 0]
    if same:
        a_sample = sum(of["training"]["minutes"] for of in same) / sum(of["training"]["samples"] for of in same)
    else:
        a_sample = 1 / (60 * cell.variant.samples_per_s * threads)
    of_conditions = [of for result in results for of in result["conditions"].values()]
    episodes = sum(of["episodes"] for of in of_conditions)
    an_episode = sum(of["minutes"] for of in of_conditions) / episodes if episodes else 0.015
    samples_left = cell.samples * max(0.0, 1 - steps_done / cell.run.train.steps)
    return samples_left * a_sample + sum(of.episodes for of in cell.conditions) * an_episode
