"""The file of an evaluation: everything that was measured, and what is needed to play each episode again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from foreact.errors import ConfigError, DataError
from foreact.sim.evaluation import Evaluation
from foreact.sim.task import TaskConfig


def evaluation_entry(
    evaluation: Evaluation,
    *,
    level: str,
    task: TaskConfig,
    seed: int,
    run: Path | None = None,
    checkpoint: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what the file says of one policy at one level, as plain values.

    Args:
        evaluation: What was measured.
        level: Its name.
        task: What was played, where options of the level were changed.
        seed: Of the first episode.
        run: Where the policy lies; None for the expert.
        checkpoint: The directory that was read, which `last` and `best` may not mean any more tomorrow.
        overrides: Policy options that were changed.
        facts: Whatever else is worth keeping.
    """
    places = {"run": run, "checkpoint": checkpoint}
    settings = {
        "level": level,
        "task": asdict(task),
        "seed": seed,
        "overrides": dict(overrides or {}),
        **{key: "" if path is None else str(path.resolve()) for key, path in places.items()},
    }
    return evaluation.to_dict({**settings, **(facts or {})})


def write_evaluations(path: Path, entries: list[dict[str, Any]]) -> None:
    """Write the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries, indent=2) + "\n")


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """One episode of an evaluation."""

    run: Path
    checkpoint: Path
    """What was read of the run; the run itself in files that do not say."""
    task: TaskConfig
    level: str
    seed: int
    outcome: str
    overrides: Mapping[str, object]
    """Policy options that were changed for it."""


def evaluated_episode(path: Path, number: int = 0, *, name: str = "policy", level: str | None = None) -> Evaluated:
    """Return what the file says of an episode; simulation being deterministic, it can be played again.

    Args:
        path: What `foreact eval --json` or the quickstart wrote.
        number: Of the episode, from 0 on.
        name: Whose: "policy", or a control's name.
        level: Where it was evaluated at several.

    Raises:
        ConfigError: If there is no such policy, it has no run, or no such episode; or several levels and none is given.
        DataError: If it is not such a file.
    """
    try:
        settings, episodes = _chosen(path, json.loads(path.read_text()), name, level)
        if not settings.get("run"):
            raise ConfigError(f"'{path}' does not say where '{name}' lies; give the run, --level and --seed instead")
        if not 0 <= number < len(episodes):
            raise ConfigError(f"'{path}' has no episode {number}; it has 0 to {len(episodes) - 1}")
        known = {field.name for field in fields(TaskConfig)}
        return Evaluated(
            run=Path(settings["run"]),
            checkpoint=Path(settings.get("checkpoint") or settings["run"]),
            task=TaskConfig(**{key: _tuples(value) for key, value in settings["task"].items() if key in known}),
            level=settings["level"],
            seed=episodes[number]["seed"],
            outcome=episodes[number]["outcome"],
            overrides=settings["overrides"],
        )
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataError(f"'{path}' is not what foreact eval --json writes ({type(error).__name__}: {error})") from error


def _chosen(path: Path, content: Any, name: str, level: str | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the settings and the episodes of a policy at a level."""
    of_name = [entry for entry in content if entry["name"] == name]
    if not of_name:
        names = dict.fromkeys(entry["name"] for entry in content)
        raise ConfigError(f"'{path}' has no policy '{name}'; it has: {', '.join(names)}")
    levels = ", ".join(entry["settings"]["level"] for entry in of_name)
    found = [entry for entry in of_name if level in (None, entry["settings"]["level"])]
    if not found:
        raise ConfigError(f"'{path}' has '{name}' at {levels}, not at '{level}'")
    if len(found) > 1:
        raise ConfigError(f"'{path}' has '{name}' at {levels}; choose one with --level")
    return found[0]["settings"], found[0]["per_episode"]


def _tuples(value: Any) -> Any:
    """JSON knows no tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
