"""The shapes of all tensors and arrays in our functions, recorded while they run.

Python tells a profiler of every function that returns; then its variables still are what they were.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import FrameType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

Shape = tuple[int, ...]
T = TypeVar("T")
PACKAGES = ("foreact", "foreact_runtime")
_DEPTH = 2
"""Of collections in variables: `batch.images[overhead]`."""
_MOST = 16
"""Elements of a sequence that are looked at."""


@dataclass(frozen=True)
class Call:
    """What one call of a function had in its variables when it returned."""

    owner: str
    """Name within the network of the module whose method it was; empty for the network itself and all else."""
    batch: int
    """Samples side by side."""
    shapes: Mapping[str, Shape]
    """By variable: `tokens`, `batch.action`, `images[overhead]`, `self.queries`; what it returned is `return`."""


@dataclass
class Recording:
    """Calls by (module, qualified name)."""

    network: nn.Module | None = None
    calls: dict[tuple[str, str], list[Call]] = field(default_factory=dict)

    def of(self, function: Callable[[], T], *, batch: int = 1) -> T:
        """Call a function on so many samples, record all of ours that it calls, and return what it returns."""
        owners = {} if self.network is None else {id(of): name for name, of in self.network.named_modules()}

        def note(frame: FrameType, event: str, argument: Any) -> None:
            if event != "return":
                return
            module = str(frame.f_globals.get("__name__", ""))
            if module.partition(".")[0] not in PACKAGES:
                return
            variables = dict(frame.f_locals)
            owner = owners.get(id(variables.get("self")), "")
            shapes = dict(_shapes({**variables, "return": argument}))
            self.calls.setdefault((module, frame.f_code.co_qualname), []).append(Call(owner, batch, shapes))

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            return function()
        finally:
            sys.setprofile(before)


def _shapes(variables: Mapping[str, Any]) -> Iterator[tuple[str, Shape]]:
    for name, value in variables.items():
        yield from _shapes_of(name, value, _DEPTH)
        if name == "self":
            yield from _attributes(value)


def _attributes(owner: Any) -> Iterator[tuple[str, Shape]]:
    """Tensors and arrays that a method's object holds itself."""
    held = dict(vars(owner)) if hasattr(owner, "__dict__") else {}
    if isinstance(owner, nn.Module):
        held |= dict(owner.named_parameters(recurse=False)) | dict(owner.named_buffers(recurse=False))
    for name, value in held.items():
        if isinstance(value, torch.Tensor | np.ndarray):
            yield f"self.{name}", tuple(value.shape)


def _shapes_of(name: str, value: Any, depth: int) -> Iterator[tuple[str, Shape]]:
    if isinstance(value, torch.Tensor | np.ndarray):
        yield name, tuple(value.shape)
    elif depth and is_dataclass(value) and not isinstance(value, type):
        for of in fields(value):
            yield from _shapes_of(f"{name}.{of.name}", getattr(value, of.name), depth - 1)
    elif depth and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _shapes_of(f"{name}[{key}]", item, depth - 1)
    elif depth and isinstance(value, tuple | list) and len(value) <= _MOST:
        for i, item in enumerate(value):
            yield from _shapes_of(f"{name}[{i}]", item, depth - 1)
