"""Two columns, our code on the left and what it does on the right, as Sphinx directives.

    :::{symbols}
    T = 100, 20: steps of a chunk
    :::

    :::{block} foreact.model.act.ACT.forward[tokens .. memory]
    ---
    shapes: |
      tokens (B, L, D)
    ---
    Why it is so.
    :::

A block that is gone and a shape that is not true are warnings, which `make docs` takes for errors. `{size}` within a
sentence gives a symbol's sizes.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from explain.passes import PRESETS
from explain.shapes import ShapeError, Stated, Symbols, numbers, parse_stated
from explain.source import Block, BlockError, find_block, wrapped

_log = logging.getLogger(__name__)
_SYMBOLS = "explain_symbols"


def _symbols(env: BuildEnvironment) -> Symbols:
    """What the page has said of its symbols so far."""
    return env.current_document.get(_SYMBOLS) or {preset: {} for preset in PRESETS}


class SymbolsDirective(SphinxDirective):
    """What the page's symbols stand for: `L = 603, 149: tokens`, a size for each preset."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Remember them and show them as a table."""
        sizes: dict[str, dict[str, int]] = {preset: {} for preset in PRESETS}
        rows: list[list[str | list[nodes.Node]]] = []
        for line in self.content:
            symbol, _, rest = line.partition("=")
            given, _, meaning = rest.partition(":")
            values = [value.strip() for value in given.split(",")]
            if len(values) == len(PRESETS):
                for preset, value in zip(PRESETS, values, strict=True):
                    sizes[preset][symbol.strip()] = int(value)
            said, _ = self.parse_inline(meaning.strip())
            rows.append([symbol.strip(), said, *(values if len(values) > 1 else values * len(PRESETS))])
        self.env.current_document[_SYMBOLS] = sizes
        return [_table(("symbol", "what it is", *PRESETS), rows)]


class BlockDirective(SphinxDirective):
    """A block of code and what is to be said of it."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"shapes": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return the two columns."""
        name = " ".join(self.arguments[0].split())
        try:
            block = find_block(name)
        except BlockError as error:
            _log.warning("%s", error, location=self.get_location(), type="explain")
            return []
        row = nodes.container(classes=["walk-row"], ids=[nodes.make_id(f"block-{name}")])
        row += self._code(block)
        row += self._text(block)
        return [row]

    def _code(self, block: Block) -> nodes.Node:
        column = nodes.container(classes=["walk-code"])
        symbol = f"{block.module}.{block.qualname}"
        title = nodes.paragraph(classes=["walk-symbol"])
        documented = ".".join(takewhile(lambda part: not part.startswith("_"), symbol.split(".")))
        reference = addnodes.pending_xref(refdomain="py", reftype="obj", reftarget=documented, refexplicit=True)
        reference["refdoc"] = self.env.current_document.docname
        reference += nodes.literal(symbol, symbol)
        title += reference
        text = wrapped(block.code)
        code = nodes.literal_block(text, text, language="python")
        column += [title, code]
        return column

    def _text(self, block: Block) -> nodes.Node:
        column = nodes.container(classes=["walk-text"])
        column += self.parse_content_to_nodes()
        lines = [line for line in self.options.get("shapes", "").splitlines() if line.strip()]
        rows: list[list[str | list[nodes.Node]]] = []
        for line in lines:
            try:
                stated = parse_stated(line)
                rows.append(self._row(block, stated))
            except ShapeError as error:
                _log.warning("%s", error, location=self.get_location(), type="explain")
        if rows:
            column += _table(("tensor", "shape", *PRESETS), rows)
        return column

    def _row(self, block: Block, stated: Stated) -> list[str | list[nodes.Node]]:
        found = numbers(block, stated, _symbols(self.env))
        tensor = f"{stated.owner}: {stated.tensor}" if stated.owner else stated.tensor
        return [tensor, stated.symbolic, *(found.get(preset, "-") for preset in PRESETS)]


class SizeRole(SphinxRole):
    """A symbol's sizes in a sentence: `603 with so101, 149 with r1pro`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the text; an unknown symbol is a warning."""
        sizes = _symbols(self.env)
        known = [(preset, of[self.text]) for preset, of in sizes.items() if self.text in of]
        if not known:
            _log.warning("the page has no symbol '%s'", self.text, location=self.get_location(), type="explain")
        words = ", ".join(f"{value} with {preset}" for preset, value in known)
        return [nodes.inline(self.rawtext, words)], []


def _table(heads: tuple[str, ...], rows: list[list[str | list[nodes.Node]]]) -> nodes.Node:
    """A table of short texts; the first column is code."""
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=1) for _ in heads]
    head, body = nodes.thead(), nodes.tbody()
    for part, of in ((head, [list(heads)]), (body, rows)):
        for texts in of:
            line = nodes.row()
            for i, text in enumerate(texts):
                words = [nodes.Text(text)] if isinstance(text, str) else text
                if part is body and i == 0 and isinstance(text, str):
                    words = [nodes.literal(text, text)]
                line += nodes.entry("", nodes.paragraph("", "", *words))
            part += line
    group += [head, body]
    return nodes.table("", group, classes=["walk-shapes"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("symbols", SymbolsDirective)
    app.add_directive("block", BlockDirective)
    app.add_role("size", SizeRole())
    return {"version": "1", "parallel_read_safe": False}
