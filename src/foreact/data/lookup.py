"""What a reader is asked for by index or name, or an error that says what there is; and some of many episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from foreact.errors import DataError, unknown_name

T = TypeVar("T")


def find_episode(root: Path, episodes: Mapping[int, T], index: int) -> T:
    """Return what belongs to an episode, given all by index, ascending; raises DataError where there is none."""
    if index not in episodes:
        indices = tuple(episodes)
        raise DataError(f"'{root}' has no episode {index}; it has {len(indices)}, from {indices[0]} to {indices[-1]}")
    return episodes[index]


def spread_evenly(indices: Sequence[int], n: int) -> tuple[int, ...]:
    """Return at most n of the indices, in order: the first alone, or the first and the last among them."""
    if len(indices) <= n:
        return tuple(indices)
    if n == 1:
        return (indices[0],)
    return tuple(indices[round(number * (len(indices) - 1) / (n - 1))] for number in range(n))


def find_camera(cameras: Mapping[str, T], name: str) -> T:
    """Return what belongs to a camera, given all by name; raises DataError where there is none."""
    if name not in cameras:
        raise DataError(unknown_name("camera", name, cameras))
    return cameras[name]
