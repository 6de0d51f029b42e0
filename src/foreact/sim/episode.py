"""How an episode went: the record that rollouts return and evaluations count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.console import progress_bar


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeResult:
    """How one episode went."""

    seed: int
    outcome: str
    steps: int
    """Control ticks."""
    seconds: float
    """Simulated time."""
    target: tuple[float, float]
    """Where the target began, x and y [m]."""
    cue: tuple[float, float]
    """What the policy was told, x and y [m]."""
    closed_to_target_mm: float | None
    """How far from the target the gripper first closed [mm]; None where it never closed."""
    closed_to_confuser_mm: float | None
    """The same for the nearest confuser; None without confusers too."""
    actions: np.ndarray
    """float32 (steps, A): enough to show the episode again, since the simulation is deterministic."""
    unreachable: int = 0
    """Ticks in which the policy asked for a hand pose beyond the arm's reach, so that the arm stayed where it was."""
    limited: int = 0
    """Ticks in which an action was beyond the executor's limits and was cut down to them."""

    @property
    def success(self) -> bool:
        """Whether the target lies in the bowl."""
        return self.outcome == "success"


def episode_result(seed: int, info: Mapping[str, Any], actions: np.ndarray, fps: float) -> EpisodeResult:
    """Return the result of an episode from the environment's last `info` and the actions (steps, A)."""

    def known(value: float) -> float | None:
        return None if not np.isfinite(value) else round(float(value), 2)

    return EpisodeResult(
        seed=seed,
        outcome=str(info["outcome"]),
        steps=len(actions),
        seconds=len(actions) / fps,
        target=(float(info["target"][0]), float(info["target"][1])),
        cue=(float(info["cue"][0]), float(info["cue"][1])),
        closed_to_target_mm=known(info["closing_target_mm"]),
        closed_to_confuser_mm=known(info["closing_confuser_mm"]),
        actions=actions,
    )


@contextmanager
def episode_progress(name: str, total: int) -> Iterator[Callable[[EpisodeResult], None]]:
    """Episodes with the success so far and the time left."""
    bar = progress_bar(f"evaluating {name}", "episodes, {task.fields[successes]} succeeded")
    task = bar.add_task("", total=total, successes=0)

    def advance(result: EpisodeResult) -> None:
        successes = bar.tasks[0].fields["successes"] + result.success
        bar.update(task, advance=1, successes=successes)

    with bar:
        yield advance
