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

    def __init__(self, path: Path) -> None:
        """Create the folder; an existing file is continued."""
        super().__init__()
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)

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
