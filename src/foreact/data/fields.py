"""Values out of a JSON or YAML mapping, checked: an error names the file, the place in it and the key."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from foreact.errors import DataError, unknown_name


class Fields:
    """A mapping that was read from a file. What is taken out of it has the type and length that was asked for."""

    def __init__(self, values: Any, where: str, known: Iterable[str]) -> None:
        """Take a mapping.

        Args:
            values: What the file holds.
            where: The file and the place in it, for messages.
            known: Every key that it may have.

        Raises:
            DataError: If it is no mapping or has a key that is not known.
        """
        if not isinstance(values, Mapping):
            raise DataError(f"{where} holds {_kind(values)}, expected keys with values: {', '.join(known)}")
        known = tuple(known)
        for key in values:
            if key not in known:
                raise DataError(f"{where}: {unknown_name('key', str(key), known)}")
        self._values = values
        self._where = where

    def __contains__(self, key: str) -> bool:
        """Whether the key is there and not empty."""
        return self._values.get(key) is not None

    def get(self, key: str) -> Any:
        """Return a value as it stands; raises DataError where it is missing."""
        if key not in self:
            raise DataError(f"{self._where}: '{key}' is missing")
        return self._values[key]

    def number(self, key: str) -> float:
        """Return a finite number."""
        value = self.get(key)
        if not _is_number(value):
            raise self._error(key, "a number")
        return float(value)

    def numbers(self, key: str, n: int) -> tuple[float, ...]:
        """Return n finite numbers."""
        value = self.get(key)
        if not _are_numbers(value, n):
            raise self._error(key, f"{n} numbers")
        return tuple(float(item) for item in value)

    def positive(self, key: str, n: int) -> tuple[float, ...]:
        """Return n positive numbers."""
        value = self.numbers(key, n)
        if min(value) <= 0:
            raise self._error(key, "positive numbers")
        return value

    def rows(self, key: str, n_rows: int, n: int) -> tuple[tuple[float, ...], ...]:
        """Return n_rows times n finite numbers."""
        value = self.get(key)
        if not (isinstance(value, list) and len(value) == n_rows and all(_are_numbers(row, n) for row in value)):
            raise self._error(key, f"{n_rows} lists of {n} numbers")
        return tuple(tuple(float(item) for item in row) for row in value)

    def sizes(self, key: str, n: int) -> tuple[int, ...]:
        """Return n positive whole numbers."""
        value = self.get(key)
        if not (_are_numbers(value, n) and all(isinstance(item, int) and item > 0 for item in value)):
            raise self._error(key, f"{n} positive whole numbers")
        return tuple(value)

    def text(self, key: str) -> str:
        """Return a text."""
        value = self.get(key)
        if not isinstance(value, str):
            raise self._error(key, "a name")
        return value

    def names(self, key: str, n: int | None = None) -> tuple[str, ...]:
        """Return a list of n texts, or at least one, no two alike."""
        value = self.get(key)
        if not (isinstance(value, list) and value and all(isinstance(item, str) for item in value)):
            raise self._error(key, "a list of names")
        if n is not None and len(value) != n:
            raise self._error(key, f"{n} names")
        if len(set(value)) < len(value):
            raise self._error(key, "names that differ")
        return tuple(value)

    def choice(self, key: str, choices: tuple[str, ...]) -> Any:
        """Return a text that is one of the choices."""
        value = self.get(key)
        if value not in choices:
            raise self._error(key, " or ".join(choices))
        return value

    def unit(self, key: str, n: int) -> tuple[float, ...]:
        """Return a direction or a quaternion of n numbers, its length made 1; raises where it is not near 1."""
        return self._unit(key, self.numbers(key, n))

    def units(self, key: str, n_rows: int, n: int) -> tuple[tuple[float, ...], ...]:
        """Return n_rows directions or quaternions, like `unit`."""
        return tuple(self._unit(key, row) for row in self.rows(key, n_rows, n))

    def _unit(self, key: str, value: tuple[float, ...]) -> tuple[float, ...]:
        length = math.hypot(*value)
        if abs(length - 1.0) > 1e-3:
            raise self._error(key, "numbers whose squares add up to 1")
        return value if abs(length - 1.0) < 1e-9 else tuple(item / length for item in value)

    def _error(self, key: str, expected: str) -> DataError:
        return DataError(f"{self._where}: '{key}' is {_kind(self._values[key])}, expected {expected}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_numbers(value: Any, n: int) -> bool:
    return isinstance(value, list) and len(value) == n and all(_is_number(item) for item in value)


def _kind(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = "nothing" if value is None else " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
