"""One JSON object a logged step: readable with any tool, without an account (USERS.md 25)."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


class JSONLLogger(Logger):
    """Appends `{"step": ..., "time": ..., "train/l1": ...}` to a file."""

    def __init__(self, path: Path, *, resume_at: int = 0) -> None:
        """Create the folder, or continue a file.

        Args:
            path: The file.
            resume_at: Steps done by the checkpoint that is resumed; what a killed run logged after it is cut off,
                since those steps come again.
        """
        super().__init__()
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            lines = path.read_text().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n")]  # a killed run may leave half a line
            path.write_text("".join(line for line in whole if json.loads(line)["step"] < resume_at))

    @property
    def name(self) -> str:
        """Lightning's name of this log."""
        return "jsonl"

    @property
    def version(self) -> str:
        """There is one file a run."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the configuration is in `run.json` and in every checkpoint."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one line."""
        line = {"step": step, "time": round(time.time(), 3), **{name: float(value) for name, value in metrics.items()}}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
