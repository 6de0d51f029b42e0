"""Messages between robot and server: msgpack maps with arrays, as openpi and BEHAVIOR-1K code them (FORMATS.md 5.3).

An array is a map with the bytes keys `__ndarray__`, `data`, `dtype` and `shape`, a NumPy scalar one with
`__npgeneric__`. Nothing in it runs code, and what is read is bounded before it is built: a few bytes cannot ask for an
array, a list or a depth that fills the memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

from foreact_runtime.errors import ServingError

_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"
_DATA, _DTYPE, _SHAPE = b"data", b"dtype", b"shape"

_KINDS = "biufSU"
"""Of NumPy's dtypes: truth values, whole numbers, floats, bytes and text. No objects, records or complex numbers."""
_DTYPE_TEXT = re.compile(rf"[<>|=]?[{_KINDS}][1-9]\d{{0,5}}")
_MOST_DIMENSIONS = 8
_LONGEST_SIDE = 1 << 24

_MOST_CONTAINERS = 256
"""Maps and lists in one message, arrays among them; an evaluator sends about ten."""
_LONGEST_LIST = 1024
_LONGEST_MAP = 256
_LONGEST_TEXT = 4096


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as msgpack.

    Raises:
        ServingError: If it holds what the protocol has no words for, for example an array of objects.
    """
    try:
        packed: bytes = msgpack.packb(message, default=_pack)
    except (TypeError, ValueError, OverflowError) as error:
        raise ServingError(f"this message cannot be sent: {error}") from error
    return packed


def decode(data: bytes) -> dict[str, Any]:
    """Return the map that a message holds, its arrays as writable copies.

    Raises:
        ServingError: If it is not a msgpack map, or an array in it is not one of numbers or text whose shape fits its
            bytes.
    """
    containers = 0

    def counted(value: Any) -> Any:
        nonlocal containers
        containers += 1
        if containers > _MOST_CONTAINERS:
            raise ServingError(f"the message has more than {_MOST_CONTAINERS} maps and lists; send arrays")
        return _unpack(value) if isinstance(value, dict) else value

    try:
        message = msgpack.unpackb(
            data,
            object_hook=counted,
            list_hook=counted,
            max_array_len=_LONGEST_LIST,
            max_map_len=_LONGEST_MAP,
            max_str_len=_LONGEST_TEXT,
            max_ext_len=0,
        )
    except (ValueError, TypeError) as error:
        raise ServingError(f"the message is not msgpack as the protocol has it: {_short(error)}") from error
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise ServingError("the message is not a msgpack map with names as its keys")
    return message


def _pack(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in _KINDS:
        raise TypeError(f"dtype {value.dtype} is not one of numbers or text")
    if isinstance(value, np.ndarray):
        return {_ARRAY: True, _DATA: value.tobytes(), _DTYPE: value.dtype.str, _SHAPE: value.shape}
    if isinstance(value, np.generic):
        return {_SCALAR: True, _DATA: value.item(), _DTYPE: value.dtype.str}
    raise TypeError(f"a {type(value).__name__} is neither an array nor a plain value")


def _unpack(value: dict[Any, Any]) -> Any:
    if _ARRAY in value:
        return _array(value)
    if _SCALAR in value:
        return _scalar(value)
    return value


def _array(value: dict[Any, Any]) -> np.ndarray:
    dtype = _dtype(value.get(_DTYPE))
    shape, data = value.get(_SHAPE), value.get(_DATA)
    if not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS or not all(_is_side(side) for side in shape):
        raise ServingError(f"an array has the shape {_short(shape)}, expected at most {_MOST_DIMENSIONS} whole numbers")
    expected = math.prod(shape) * dtype.itemsize
    if not isinstance(data, bytes) or len(data) != expected:
        found = f"{len(data)} bytes" if isinstance(data, bytes) else f"a {type(data).__name__}"
        raise ServingError(f"an array of shape {tuple(shape)} and dtype {dtype} has {found}, expected {expected} bytes")
    return np.ndarray(shape, dtype, buffer=data).copy()


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LONGEST_SIDE


def _scalar(value: dict[Any, Any]) -> Any:
    dtype, data = _dtype(value.get(_DTYPE)), value.get(_DATA)
    if not isinstance(data, bool | int | float | str | bytes):
        raise ServingError(f"a scalar of dtype {dtype} holds a {type(data).__name__}")
    try:
        return np.array(data, dtype)[()]
    except OverflowError as error:
        raise ServingError(f"a scalar of dtype {dtype} is {_short(data)}") from error


def _dtype(text: Any) -> np.dtype[Any]:
    """The dtype that a text names; what could hold a reference to an object is refused before NumPy sees it."""
    if not isinstance(text, str) or not _DTYPE_TEXT.fullmatch(text):
        raise ServingError(f"an array has the dtype {_short(text)}, expected one of numbers or text, for example '<f4'")
    return np.dtype(text)


def _short(value: Any) -> str:
    """For a message: what was sent is shown, but not a megabyte of it."""
    text = str(value) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
