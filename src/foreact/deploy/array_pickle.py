"""Pickled dictionaries of NumPy arrays, read without running anything that the file holds.

A pickle is a program that may call any function by its name. This reader looks up none: the few names by which NumPy
writes arrays, data types and scalars stand for the functions below, which store what they are handed and check it.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from foreact.errors import CheckpointError

_LARGEST = 256 * 2**20
"""Bytes; statistics are a few kilobytes, and ACT++ adds an episode's joints."""
_KINDS = "biuf"
"""Booleans and numbers."""


class _Type:
    """A data type: its code, then its byte order."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in _KINDS:
            raise pickle.UnpicklingError(f"it holds values of type '{code}'")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(">" if state[1] == ">" else "<")


class _Array:
    """An array, empty until its state says what it holds."""

    def __init__(self, *_: Any) -> None:
        self.value = np.zeros(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, data = state
        if not isinstance(kind, _Type) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("it holds an array of something else than numbers")
        self.value = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if is_fortran else "C")


def _scalar(kind: Any, data: Any = None) -> Any:
    """A NumPy number."""
    if not isinstance(kind, _Type) or not isinstance(data, bytes):
        raise pickle.UnpicklingError("it holds a value that is not a number")
    return np.frombuffer(data, kind.dtype)[0]


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> _Array:
    """How arrays are written in protocol 5."""
    array = _Array()
    array.__setstate__((1, shape, kind, order == "F", bytes(data)))
    return array


def _no_bytes() -> bytes:
    """How pickles of protocol 2 write none."""
    return b""


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How pickles of protocol 2 write bytes."""
    return text.encode("latin1")


_KNOWN = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    **{
        (f"numpy.{core}.multiarray", name): of
        for core in ("core", "_core")
        for name, of in (("_reconstruct", _Array), ("scalar", _scalar))
    },
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _Reader(pickle._Unpickler):
    """Written in Python: the one in C reserves gigabytes where a few bytes number an object so high."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for '{module}.{name}'")
        known = _KNOWN[module, name]
        return lambda *arguments: known(*arguments)  # a new one each time: a pickle may set attributes of what it names


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return a pickled dictionary's arrays and numbers by name.

    Raises:
        CheckpointError: If the file cannot be read, or holds anything but names, numbers and arrays of numbers.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise pickle.UnpicklingError("it is larger than any statistics")
        content = _Reader(io.BytesIO(path.read_bytes())).load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError(f"it holds a {type(content).__name__}")
        return {_name(name): _numbers(name, of) for name, of in content.items()}
    except OSError as error:
        raise CheckpointError(f"cannot read '{path}': {error.strerror}") from error
    except Exception as error:  # damaged or malicious bytes make an unpickler raise almost anything
        raise CheckpointError(
            f"'{path}' was not read, and nothing in it was run: {error or type(error).__name__}; expected a pickled "
            "dictionary of NumPy arrays"
        ) from error


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise pickle.UnpicklingError(f"it calls something {name!r}, not by a text")
    return name


def _numbers(name: str, value: Any) -> np.ndarray:
    """An array, or a number as one; no lists, which a few bytes can make endless."""
    array = value.value if isinstance(value, _Array) else np.array(value if np.isscalar(value) else None)
    if array.dtype.kind not in _KINDS:
        raise pickle.UnpicklingError(f"it holds '{name}', which is not an array of numbers")
    return array
