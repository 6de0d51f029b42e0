"""The split into training and validation episodes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreact.errors import DataError


def split_episodes(
    tasks: Mapping[int, str], lengths: Mapping[int, int], val_fraction: float, seed: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split episodes into training and validation, stratified by task and length.

    The episodes are ordered by task, then length, and every (1 / val_fraction)-th is held out, from a random start:
    so each task and each range of lengths has its share in both parts, to within one episode.

    Args:
        tasks: Task by episode index.
        lengths: Frames by episode index.
        val_fraction: Share held out, in [0, 1).
        seed: The same seed gives the same split.

    Returns:
        Training and validation episode indices, ascending. With a positive fraction and at least two episodes
        neither is empty.

    Raises:
        DataError: If there are no episodes.
    """
    if not tasks:
        raise DataError("there are no episodes to split")
    n = len(tasks)
    n_val = min(max(1, round(val_fraction * n)), n - 1) if val_fraction > 0 else 0
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(sorted(tasks)).tolist()  # so that equal episodes are in random order
    ordered = sorted(shuffled, key=lambda index: (tasks[index], lengths[index]))
    start = generator.random()
    held_out = {ordered[int((start + i) * n / n_val)] for i in range(n_val)}
    return tuple(sorted(tasks.keys() - held_out)), tuple(sorted(held_out))
