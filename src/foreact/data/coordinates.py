"""A file of coordinates: where the object of each episode lay, for data that were recorded without.

    episode,x,y
    0,0.213,-0.054
    1,0.187,0.102

The heading's other names become those of the dimensions of `observation.environment_state`; an episode has one line,
for it stays what it is. With several sources episodes count through them, from 0.

Where other objects lay is a file of the same form, `episode,x,y`, with a line for each of them.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from foreact.data.bad_episodes import listed
from foreact.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Coordinates:
    """What a file says."""

    names: tuple[str, ...]
    """One a dimension (E,)."""
    rows: Mapping[int, tuple[float, ...]]
    """Coordinates (E,) by episode."""


def read_coordinates(path: Path) -> Coordinates:
    """Read a file of coordinates.

    Raises:
        DataError: If it is missing, has another heading, or a line is not a new episode with finite numbers.
    """
    names, lines = _read(path)
    rows: dict[int, tuple[float, ...]] = {}
    for number, episode, values in lines:
        if episode in rows:
            raise DataError(f"'{path}', line {number}: episode {episode} has a line already")
        rows[episode] = values
    return Coordinates(names=names, rows=rows)


def read_other_places(path: Path) -> dict[int, tuple[tuple[float, float], ...]]:
    """Read where other objects lay: x and y [m] of each, by episode.

    Raises:
        DataError: If it is missing, has another heading than episode,x,y, or a line is not that in finite numbers.
    """
    names, lines = _read(path)
    if names != ("x", "y"):
        raise DataError(f"'{path}' begins with 'episode,{','.join(names)}', expected the heading episode,x,y")
    places: dict[int, tuple[tuple[float, float], ...]] = {}
    for _, episode, (x, y) in lines:
        places[episode] = (*places.get(episode, ()), (x, y))
    return places


def _read(path: Path) -> tuple[tuple[str, ...], Iterator[tuple[int, int, tuple[float, ...]]]]:
    """Return the heading's names, and of each line its number, episode and values."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [(number, [cell.strip() for cell in cells]) for number, cells in enumerate(csv.reader(file), 1)]
    except FileNotFoundError as error:
        raise DataError(f"there is no file '{path}'") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{path}' cannot be read as text ({error})") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    heading = lines[0][1] if lines else []
    names = tuple(heading[1:])
    if heading[:1] != ["episode"] or len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise DataError(
            f"'{path}' begins with '{','.join(heading)}', expected a heading: episode and two or more names that "
            "differ, such as episode,x,y"
        )
    return names, _parsed(lines, path)


def _parsed(lines: list[tuple[int, list[str]]], path: Path) -> Iterator[tuple[int, int, tuple[float, ...]]]:
    heading = lines[0][1]
    for number, cells in lines[1:]:
        try:
            episode, values = int(cells[0]), tuple(float(cell) for cell in cells[1:])
        except ValueError:
            episode, values = -1, ()
        if episode < 0 or len(values) != len(heading) - 1 or not all(map(math.isfinite, values)):
            raise DataError(f"'{path}', line {number}: '{','.join(cells)}' is not {','.join(heading)} in numbers")
        yield number, episode, values


def check_coordinates(rows: Mapping[int, object], path: Path, *, asked: Iterable[int], known: Iterable[int]) -> None:
    """Refuse coordinates that lack an episode that is asked for, or name one that does not exist.

    Args:
        rows: By episode.
        path: Of the file, for messages.
        asked: Episodes that need one.
        known: Episodes that may have one.

    Raises:
        DataError: Naming the episodes.
    """
    if missing := set(asked) - set(rows):
        raise DataError(f"'{path}' has no line for episode {listed(missing)}; each episode needs its coordinates")
    known = tuple(known)
    if unknown := set(rows) - set(known):
        raise DataError(
            f"'{path}' has a line for episode {listed(unknown)}; the data have {len(known)}, from {known[0]} to "
            f"{known[-1]}"
        )
