"""What a cell of the study is, what decides its result, and whether a result still stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from foreact.config import PolicyConfig, RunConfig, SourceConfig, TrainConfig, to_dict
from foreact.sim.record import RecordConfig
from foreact.sim.task import TaskConfig

EVAL_SEED = 1_000_000
"""First seed of every evaluation; recordings begin at 0, so no scene is ever both."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Demonstrations to train on."""

    name: str
    recording: RecordConfig
    copies: int = 1
    """How often each trajectory stands in the data set."""
    uninformed: float = 0.0
    """Share of the episodes whose coordinates are drawn anew, uniformly over the workspace: they tell nothing."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A policy with its training."""

    name: str
    title: str
    """A few words for the tables."""
    run: RunConfig
    by: Literal["foreact", "lerobot"] = "foreact"
    """Whose ACT; LeRobot's is trained by `lerobot-train` with the options of `run` that it has."""
    samples_per_s: float
    """A guess of the training speed on one thread, for the time left until a cell has measured it."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Episodes that a trained policy is measured on; cameras and rate are the policy's."""

    name: str
    task: TaskConfig
    episodes: int
    """Where the task lists positions: a multiple of their number, and each comes equally often."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training run and what it is measured on."""

    data: Data
    variant: Variant
    seed: int
    conditions: tuple[Condition, ...]
    diagnose: bool = False
    """Before any rollout ask `foreact diagnose`; LeRobot's policy by way of `foreact import`."""

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.data.name}_{self.variant.name}_s{self.seed}"

    @property
    def run(self) -> RunConfig:
        """The recipe with the cell's seed."""
        return replace(self.variant.run, train=replace(self.variant.run.train, seed=self.seed))

    @property
    def samples(self) -> int:
        """Samples seen in training."""
        train = self.run.train
        return train.steps * train.batch_size * train.accumulate

    def settings(self) -> dict[str, Any]:
        """Return all that decides the result, as plain values that survive JSON."""
        conditions = {of.name: {"task": _task_settings(of.task), "episodes": of.episodes} for of in self.conditions}
        return plain(
            {
                "data": data_settings(self.data),
                "by": self.variant.by,
                **to_dict(self.run),
                "conditions": conditions,
                "eval_seed": EVAL_SEED,
            }
        )


def data_settings(data: Data) -> dict[str, Any]:
    """Return all that decides a data set's content; its name does not."""
    return {name: value for name, value in plain(asdict(data)).items() if name != "name"}


def _task_settings(task: TaskConfig) -> dict[str, Any]:
    """Return a task's options; of a long list of positions only its number and a digest, since results are small."""
    settings = asdict(task)
    if not isinstance(task.positions, str):
        settings["positions"] = (
            f"{len(task.positions)} positions, digest {digest({'positions': plain(task.positions)})}"
        )
    return settings


def digest(settings: Mapping[str, Any]) -> str:
    """Return eight letters that differ where settings differ; an option at its default is as good as absent."""
    changed = {path: value for path, value in flat(settings).items() if _default(path) != (value,)}
    return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one phrase for each setting that differs, `policy.conditioning token, frame instead of token`.

    An option that the older settings do not know is no change while it has its default: a new option of the package
    makes no result stale.
    """
    old, new = flat(before), flat(now)
    phrases = []
    for path in sorted(old.keys() | new.keys()):
        if path not in new:
            phrases.append(f"no {path} any more")
        elif path not in old and _default(path) != (new[path],):
            phrases.append(f"{path} is new")
        elif path in old and old[path] != new[path]:
            phrases.append(f"{path} {_short(new[path])} instead of {_short(old[path])}")
    return phrases


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted path."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def plain(value: Any) -> Any:
    """Return what JSON makes of a value: lists for tuples."""
    return json.loads(json.dumps(value))


_TASK = plain(asdict(TaskConfig()))
_DEFAULTS = {
    "policy": plain(to_dict(PolicyConfig())),
    "source": plain(to_dict(SourceConfig())),
    "train": plain(to_dict(TrainConfig())),
    "recording": {**plain(asdict(RecordConfig(task=TaskConfig(), episodes=1))), "task": None, "episodes": None},
    "task": _TASK,
}
_REQUIRED = ("task", "episodes")


def _default(path: str) -> tuple[Any] | None:
    """Return the default of the option at a dotted path, in a tuple; None where it has none."""
    *_, owner, name = ("", *path.split("."))
    known = _DEFAULTS.get(owner, {})
    return (known[name],) if name in known and name not in _REQUIRED else None


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
