"""A dataclass's fields as options of argparse, where there is no tyro: the same words with the same help."""

from __future__ import annotations

import argparse
import ast
import inspect
from collections.abc import Iterable
from dataclasses import MISSING, fields
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

OptionsT = TypeVar("OptionsT")


def add_arguments(parser: argparse._ActionsContainer, options: type[Any]) -> None:
    """Add an option for each field; its docstring is the help. A dict is given as pairs: KEY VALUE KEY VALUE."""
    hints, helps = get_type_hints(options), field_docstrings(options)
    for of in fields(options):
        default = of.default if of.default_factory is MISSING else of.default_factory()
        flag = f"--{of.name.replace('_', '-')}"
        text = helps[of.name].replace("%", "%%")
        parser.add_argument(flag, dest=of.name, default=default, help=text, **_kind(hints[of.name]))


def from_arguments(options: type[OptionsT], parsed: argparse.Namespace) -> OptionsT:
    """Return the dataclass with what was given."""
    return options(**{of.name: getattr(parsed, of.name) for of in fields(options)})  # type: ignore[arg-type]


class _Pairs(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if len(values) % 2:
            raise argparse.ArgumentError(self, "expected pairs")
        setattr(namespace, self.dest, dict(zip(values[::2], values[1::2], strict=True)))


def _kind(hint: Any) -> dict[str, Any]:
    """What argparse is told of a field's type; None beside a type is the default only."""
    if isinstance(hint, UnionType) or get_origin(hint) not in (None, dict, Literal):
        [hint] = [of for of in get_args(hint) if of is not type(None)]
    if hint is bool:
        return {"action": "store_true"}
    if get_origin(hint) is dict:
        return {"nargs": "+", "action": _Pairs}
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    assert hint in (str, int, float, Path), hint
    return {"type": hint}


def field_docstrings(options: type[Any]) -> dict[str, str]:
    """Return the string below each field, which Python does not keep, from the source."""
    [made] = ast.parse(inspect.cleandoc(inspect.getsource(options))).body
    assert isinstance(made, ast.ClassDef)
    return dict(_documented(made.body))


def _documented(body: Iterable[ast.stmt]) -> Iterable[tuple[str, str]]:
    for statement, below in pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(below, ast.Expr):
            assert isinstance(statement.target, ast.Name)
            yield statement.target.id, " ".join(ast.literal_eval(below.value).split())
