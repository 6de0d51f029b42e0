"""Options of the simulated task that `record` and `eval` share: the level, its parts, the pictures' size."""

from __future__ import annotations

from dataclasses import replace

from foreact.cli.options import value_of
from foreact.errors import ConfigError
from foreact.sim.task import TaskConfig, level


def level_of(arguments: list[str], default: str) -> tuple[str, TaskConfig]:
    """Return the level that `--level` names and its task, which gives the defaults of the other options.

    Raises:
        ConfigError: If there is no such level; the nearest is suggested.
    """
    name = value_of(arguments, "--level") or default
    return name, level(name)


def with_size(task: TaskConfig, size: str) -> TaskConfig:
    """Return the task with both cameras at a size written as HEIGHTxWIDTH, for example 96x96.

    Raises:
        ConfigError: If it is not such a size.
    """
    parts = size.split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) for part in parts):
        raise ConfigError(f"--cameras '{size}' is not HEIGHTxWIDTH, for example 96x96 or 480x640")
    pixels = (int(parts[0]), int(parts[1]))
    return replace(task, overhead_size=pixels, wrist_size=pixels)
