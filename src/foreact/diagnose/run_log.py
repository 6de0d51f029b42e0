"""What a training run has logged, by name and step."""

from __future__ import annotations

import json
from pathlib import Path

from foreact.errors import DataError

METRICS = "metrics.jsonl"


def read_log(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Return (step, value) pairs by name from a run's log, steps from 0; empty where there is no log.

    Raises:
        DataError: If a line of the log is damaged; a last line that a killed run left half is left out.
    """
    logged: dict[str, list[tuple[int, float]]] = {}
    if not path.exists():
        return logged
    for number, line in enumerate(path.read_text().splitlines(keepends=True), start=1):
        if not line.endswith("\n"):
            continue
        try:
            values = json.loads(line)
            step = int(values["step"])
            for name, value in values.items():
                logged.setdefault(name, []).append((step, float(value)))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"'{path}' line {number} is not a logged step ({error}); remove the line") from error
    return logged
