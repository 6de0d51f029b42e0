"""The split into training and validation episodes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreact.errors import DataError


def split_episodes(
    tasks: Mapping[int, str],
    lengths: Mapping[int, int],
    val_fraction: float,
    seed: int,
    scenes: Mapping[int, int] | None = None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split episodes into training and validation by scenes, stratified by task and length.

    All episodes of a scene (paired demonstrations: the same blocks, each one the target once) come into the same
    part; otherwise validation would be on scenes that were trained on. The scenes are ordered by task, then mean
    length, and every (1 / val_fraction)-th is held out, from a random start: so each task and each range of lengths
    has its share in both parts, to within one scene.

    Args:
        tasks: Task by episode index.
        lengths: Frames by episode index.
        val_fraction: Share of the scenes held out, in [0, 1).
        seed: The same seed gives the same split.
        scenes: Scene by episode index; None where each episode has its own.

    Returns:
        Training and validation episode indices, ascending. With a positive fraction and at least two scenes
        neither is empty.

    Raises:
        DataError: If there are no episodes.
    """
    if not tasks:
        raise DataError("there are no episodes to split")
    groups: dict[int, list[int]] = {}
    for index in sorted(tasks):
        groups.setdefault(index if scenes is None else scenes[index], []).append(index)
    members = {of[0]: of for of in groups.values()}  # by a scene's first episode, whatever the scenes' numbers
    n = len(members)
    n_val = min(max(1, round(val_fraction * n)), n - 1) if val_fraction > 0 else 0
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(sorted(members)).tolist()  # so that equal scenes are in random order
    ordered = sorted(shuffled, key=lambda first: _stratum(members[first], tasks, lengths))
    start = generator.random()
    held_out = {index for i in range(n_val) for index in members[ordered[int((start + i) * n / n_val)]]}
    return tuple(sorted(tasks.keys() - held_out)), tuple(sorted(held_out))


def _stratum(episodes: list[int], tasks: Mapping[int, str], lengths: Mapping[int, int]) -> tuple[list[str], float]:
    """A scene's place in the order: its tasks, then the mean length of its episodes."""
    return sorted({tasks[index] for index in episodes}), sum(lengths[index] for index in episodes) / len(episodes)
