"""Shapes as the page states them, held against the recorded passes of the presets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from explain.passes import PRESETS, record_pass
from explain.recording import Recording, Shape
from explain.source import Block

_STATED = re.compile(r"^(?:(?P<prefix>[\w.]+): +)?(?P<tensor>[\w.@\[\]]+) +\((?P<dims>[^()]*)\)$")
_BATCH = "B"
"""Stands for the batch of each call, whatever it was."""

Symbols = Mapping[str, Mapping[str, int]]
"""Sizes by preset, then by symbol: what the page says that they are."""


class ShapeError(Exception):
    """A shape that the page states is not true; the message is one line that names the block."""


@dataclass(frozen=True, kw_only=True)
class Stated:
    """A tensor's shape as a page states it: `encoder.layers.0: x (B, L, D)` or `so101: tokens[2] (B, 1, D)`."""

    preset: str | None
    """Where it is stated for one preset only."""
    owner: str | None
    """Which module's method it is stated for, where one has several."""
    tensor: str
    dims: tuple[str, ...]

    @property
    def symbolic(self) -> str:
        """The shape in symbols."""
        return _text(self.dims)


def parse_stated(line: str) -> Stated:
    """Return what a line states.

    Raises:
        ShapeError: If it cannot be read.
    """
    matched = _STATED.match(line.strip())
    if matched is None:
        raise ShapeError(f"'{line.strip()}' is no shape; write for example 'tokens (B, L, D)'")
    prefix = matched["prefix"]
    dims = tuple(dim.strip() for dim in matched["dims"].split(",") if dim.strip())
    preset = prefix if prefix in PRESETS else None
    return Stated(preset=preset, owner=None if preset else prefix, tensor=matched["tensor"], dims=dims)


def recorded(name: str) -> Recording:
    """Return the recording of a preset's pass."""
    return record_pass(name).recording


def numbers(
    block: Block, stated: Stated, symbols: Symbols, recording_of: Callable[[str], Recording] = recorded
) -> dict[str, str]:
    """Return the recorded shape by preset, as text, once it is seen to be the stated one in every call.

    Args:
        block: Whose function's variable it is.
        stated: The claim.
        symbols: What the symbols stand for.
        recording_of: Gives the recorded pass of a preset.

    Raises:
        ShapeError: If a function was not called, has no such tensor, or one of another shape.
    """
    return {
        preset: _checked(block, stated, preset, symbols[preset], recording_of(preset))
        for preset in (PRESETS if stated.preset is None else (stated.preset,))
    }


def _checked(block: Block, stated: Stated, preset: str, sizes: Mapping[str, int], recording: Recording) -> str:
    where = f"'{block.name}' with preset {preset}"
    calls = recording.calls.get((block.module, block.qualname), [])
    calls = [call for call in calls if stated.owner in (None, call.owner)]
    if not calls:
        of = f" of '{stated.owner}'" if stated.owner else ""
        raise ShapeError(f"{where}: '{block.qualname}'{of} was not called")
    for call in calls:
        if stated.tensor not in call.shapes:
            raise ShapeError(f"{where}: there is no tensor '{stated.tensor}'; there are {', '.join(call.shapes)}")
        found = call.shapes[stated.tensor]
        wanted = tuple(_size(dim, {**sizes, _BATCH: call.batch}, where) for dim in stated.dims)
        if found != wanted:
            raise ShapeError(f"{where}: '{stated.tensor}' has shape {found}, not {stated.symbolic} = {wanted}")
    return _text(tuple(_number(dim, sizes) for dim in stated.dims))


def _size(dim: str, sizes: Mapping[str, int], where: str) -> int:
    """Evaluate `603`, `L` or `2 * Z + 1`."""
    terms = re.fullmatch(r"[\w+*/ ]+", dim)
    unknown = set(re.findall(r"[A-Za-z_]\w*", dim)) - set(sizes)
    if terms is None or unknown:
        raise ShapeError(f"{where}: '{dim}' is not made of the page's symbols {', '.join(sizes)}")
    return int(eval(dim, {"__builtins__": {}}, dict(sizes)))


def _number(dim: str, sizes: Mapping[str, int]) -> str:
    """A size as people read it: the batch stays a symbol."""
    factors = dim.split(_BATCH) if re.search(rf"\b{_BATCH}\b", dim) else None
    if factors is None:
        return str(_size(dim, sizes, ""))
    rest = "".join(factors).strip(" *")
    return f"{_size(rest, sizes, '')}*{_BATCH}" if rest else _BATCH


def _text(dims: Shape | tuple[str, ...]) -> str:
    return f"({', '.join(map(str, dims))}{',' if len(dims) == 1 else ''})".replace("*", "·") if dims else "a number"
