"""A trained policy's figures: success by condition."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.grounding.cells import EVAL_SEED, Condition
from gymnasium.utils.seeding import np_random

from foreact.errors import ConfigError
from foreact.policy.policy import Policy
from foreact.sim.evaluation import Evaluation
from foreact.sim.layout import sample_layout
from foreact.sim.rollout import rollout, task_for_policy


def seeds_of(condition: Condition, first: int = EVAL_SEED) -> list[int]:
    """Return the condition's seeds, from `first` on.

    Where the task lists positions, the first seeds that bring each of them equally often: the environment's own
    draw decides, nothing is put in its place.

    Raises:
        ConfigError: If the episodes cannot be shared out equally among the positions.
    """
    positions = condition.task.positions
    if isinstance(positions, str):
        return list(range(first, first + condition.episodes))
    each, rest = divmod(condition.episodes, len(positions))
    if rest or not each:
        raise ConfigError(
            f"condition '{condition.name}' has {condition.episodes} episodes for {len(positions)} positions; "
            "its episodes must be a multiple of that"
        )
    found: list[int] = []
    count: Counter[tuple[float, ...]] = Counter()
    seed = first
    while len(found) < condition.episodes:
        target = tuple(sample_layout(condition.task, np_random(seed)[0]).target.tolist())
        if count[target] < each:
            count[target] += 1
            found.append(seed)
        seed += 1
    return found


def measure(policy: Policy, condition: Condition, *, n_envs: int, recorded: Sequence[int]) -> dict[str, Any]:
    """Run the condition's episodes.

    Args:
        policy: Any; it decides cameras and rate.
        condition: What to run.
        n_envs: Simulating processes.
        recorded: Seeds of the training data, none of which may be among the condition's.

    Returns:
        Counts, rate, interval, minutes, and a line an episode for the plots: `x y outcome closing-error`, in metres
        and millimetres, `-` where the gripper never closed.

    Raises:
        ConfigError: If a seed was recorded.
    """
    seeds = seeds_of(condition)
    if seen := set(seeds) & set(recorded):
        raise ConfigError(f"seed {min(seen)} of condition '{condition.name}' was recorded in the training data")
    begun = time.perf_counter()
    task = task_for_policy(condition.task, policy)
    episodes = rollout(policy, task, seeds, n_envs=n_envs, name=condition.name)
    figures = Evaluation(name=condition.name, episodes=episodes).to_dict({})
    figures["unreachable_ticks"] = sum(episode.unreachable for episode in episodes)
    figures["seeds"] = [seeds[0], seeds[-1]]
    figures["minutes"] = round((time.perf_counter() - begun) / 60, 2)
    figures["per_episode"] = [
        f"{e.target[0]:.4f} {e.target[1]:.4f} {e.outcome} "
        f"{'-' if e.closed_to_target_mm is None else format(e.closed_to_target_mm, '.1f')}"
        for e in episodes
    ]
    return {name: value for name, value in figures.items() if name not in ("name", "settings")}
