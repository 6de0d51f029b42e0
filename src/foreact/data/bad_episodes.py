"""Episodes that cannot be used: told apart from other errors, so that `--skip-bad` goes on without them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from foreact.data.mixed import origin_of
from foreact.data.source import EpisodeSource
from foreact.data.statistics import check_episode
from foreact.errors import DataError
from foreact.records import Episode

OnBad: TypeAlias = Callable[[int, str], None]
"""Told an episode's index and what is wrong with it."""
_LISTED = 10


class BadEpisodeError(DataError):
    """One episode is damaged; the others of its data set may be whole."""


def read_episode(source: EpisodeSource, index: int) -> Episode:
    """Return an episode's vectors, every number of them finite.

    Raises:
        BadEpisodeError: If it is damaged.
    """
    try:
        episode = source.episode(index)
        check_episode(episode, f"episode {origin_of(source, index)[1]} ('{source.file_of(index)}')")
    except DataError as error:
        raise BadEpisodeError(str(error)) from error
    return episode


def left_out_line(index: int, reason: str) -> str:
    """Return `left out episode 3: reason`, without saying the number twice: reasons begin with the source's own."""
    return f"left out {reason}" if re.match(rf"episode {index}\b", reason) else f"left out episode {index}: {reason}"


@contextmanager
def naming_skip_bad() -> Iterator[None]:
    """Add to the error of a damaged episode how to go on without it; for commands that have the option.

    Raises:
        DataError: With the longer message.
    """
    try:
        yield
    except BadEpisodeError as error:
        raise DataError(f"{error}; --skip-bad goes on without such episodes") from error


def left_out_text(left_out: Mapping[int, str], n_episodes: int) -> str:
    """Return `left out 2 of 50 episodes: 3, 17`.

    Args:
        left_out: What is wrong, by episode index.
        n_episodes: How many there are, those among them.
    """
    return f"left out {len(left_out)} of {n_episodes} episodes: {listed(left_out)}"


def listed(episodes: Iterable[int]) -> str:
    """Return `3, 17`, in order; of many the first ten, and how many more."""
    ordered = sorted(episodes)
    more = f" and {len(ordered) - _LISTED} more" if len(ordered) > _LISTED else ""
    return ", ".join(map(str, ordered[:_LISTED])) + more


def check_some_left(source: EpisodeSource, left_out: Mapping[int, str], n_episodes: int) -> None:
    """Refuse a data set without a good episode.

    Raises:
        DataError: Naming what is wrong with the first.
    """
    if n_episodes and len(left_out) == n_episodes:
        raise DataError(
            f"all {n_episodes} episodes of '{source.root}' are damaged, the first: {next(iter(left_out.values()))}"
        )
