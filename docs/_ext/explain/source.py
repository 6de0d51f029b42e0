"""Blocks of source code, found by the name of their symbol: never by line numbers, never copied.

A block is named like `foreact.model.act.ACT.forward`, or, where only a part of the symbol is meant, by how its first
and last statement begin: `foreact.model.act.ACT.forward[strong .. hidden]`. Docstrings are left out: what they say
is said beside the block.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_NAME = re.compile(r"^(?P<symbol>[\w.]+)(?:\[(?P<first>.+?)(?: \.\. (?P<last>.+))?\])?$")
_COLUMN = 58
"""Characters of a line beside an explanation, at 1280 pixels."""
_Scope = ast.Module | ast.ClassDef


class BlockError(Exception):
    """A block that the page explains is gone; the message is one line that names it."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A piece of a module's source."""

    name: str
    """As the page writes it."""
    module: str
    qualname: str
    """Of the symbol within its module."""
    code: str
    """Without docstrings, indented as if it stood alone."""


def find_block(name: str) -> Block:
    """Return the block of that name.

    Raises:
        BlockError: If there is no such module, symbol or statement, or several statements begin like that.
    """
    matched = _NAME.match(name)
    if matched is None:
        raise BlockError(f"'{name}': a block is named like package.module.Class.method[first statement .. last one]")
    module, qualname, path = _module_of(name, matched["symbol"])
    text, tree = _parsed(path)
    symbol = _symbol(name, tree, qualname, module)
    first = last = symbol
    if matched["first"] is not None:
        first = last = _statement(name, symbol, matched["first"], text)
        if matched["last"] is not None:
            last = _statement(name, symbol, matched["last"], text)
    lines = _lines(text, symbol, first, last)
    if not lines:
        raise BlockError(f"'{name}': '{matched['last']}' stands before '{matched['first']}'")
    return Block(name=name, module=module, qualname=qualname, code=textwrap.dedent("\n".join(lines)).strip("\n"))


def wrapped(code: str) -> str:
    """Return code in lines that fit into a column; as it is where it is no whole statement."""
    words = [sys.executable, "-m", "ruff", "format", "--isolated", f"--line-length={_COLUMN}", "-"]
    done = subprocess.run(words, input=code, capture_output=True, text=True, check=False)
    return re.sub("\n{3,}", "\n\n", done.stdout.rstrip("\n")) if done.returncode == 0 else code


def _module_of(name: str, symbol: str) -> tuple[str, str, Path]:
    """Split a symbol's name into module and the rest, by what files there are; nothing is imported."""
    top, *parts = symbol.split(".")
    spec = find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        raise BlockError(f"'{name}': there is no package '{top}'")
    folder = Path(next(iter(spec.submodule_search_locations)))
    for i, part in enumerate(parts):
        if (folder / part).is_dir():
            folder = folder / part
            continue
        path = folder / f"{part}.py"
        if not path.is_file():
            raise BlockError(f"'{name}': there is no module '{'.'.join([top, *parts[: i + 1]])}'")
        if i + 1 == len(parts):
            break
        return ".".join([top, *parts[: i + 1]]), ".".join(parts[i + 1 :]), path
    raise BlockError(f"'{name}': a module is no block; name a class, function or constant in it")


def _parsed(path: Path) -> tuple[str, ast.Module]:
    text = path.read_text()
    return text, ast.parse(text)


def _symbol(name: str, tree: ast.Module, qualname: str, module: str) -> ast.stmt:
    scope: _Scope = tree
    parts = qualname.split(".")
    for i, part in enumerate(parts):
        found = [statement for statement in scope.body if part in _names(statement)]
        if not found:
            inside = ".".join([module, *parts[:i]])
            raise BlockError(f"'{name}' is gone: '{inside}' has no '{part}'")
        symbol = found[-1]
        if i + 1 == len(parts):
            return symbol
        if not isinstance(symbol, ast.ClassDef):
            break
        scope = symbol
    raise BlockError(f"'{name}': '{part}' is no class, so nothing can be looked up in it")


def _names(statement: ast.stmt) -> set[str]:
    """What a statement defines."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _statement(name: str, symbol: ast.stmt, start: str, text: str) -> ast.stmt:
    """Return the one statement within a symbol that begins like that."""
    lines = text.splitlines()
    begins = re.compile(re.escape(start) + r"(?!\w)")
    inside = (node for node in ast.walk(symbol) if isinstance(node, ast.stmt) and node is not symbol)
    found = [node for node in inside if begins.match(lines[node.lineno - 1], node.col_offset)]
    if not found:
        raise BlockError(f"'{name}' is gone: no statement begins with '{start}'")
    if len(found) > 1:
        raise BlockError(f"'{name}': {len(found)} statements begin with '{start}'; write more of the one that is meant")
    return found[0]


def _lines(text: str, symbol: ast.stmt, first: ast.stmt, last: ast.stmt) -> list[str]:
    """Return the lines from one statement to another with the comments before them, without docstrings."""
    lines = text.splitlines()
    decorators = getattr(first, "decorator_list", [])
    start = min([first.lineno, *(node.lineno for node in decorators)]) - 1
    while start > 0 and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    strings: set[int] = set()
    for node in ast.walk(symbol):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            assert node.end_lineno is not None
            strings |= set(range(node.lineno - 1, node.end_lineno))
    assert last.end_lineno is not None
    kept = [lines[i] for i in range(start, last.end_lineno) if i not in strings]
    return [line for i, line in enumerate(kept) if line.strip() or (i > 0 and _matters(kept, i))]


def _matters(lines: list[str], i: int) -> bool:
    """Whether an empty line parts two others: not the second of two, not one below a signature."""
    before = lines[i - 1]
    return bool(before.strip()) and not before.rstrip().endswith(":") and i + 1 < len(lines)
