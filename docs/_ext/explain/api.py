"""The API reference: `:::{modules} foreact.data` documents every module of a package from its docstrings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_CODE = re.compile(r"(?<![`:\w])`([^`\n]+)`(?![`\w])")
_LINKED = re.compile(r"^(?:foreact\w*\.[\w.]+|[A-Z][a-z]\w*(?:\.\w+)?)$")
_SPECIAL = re.compile(r"(?<=\w)_(?=[\s.,;:)\]]|$)|[*|]")
_SECTION = re.compile(r"^(Args|Arguments|Returns|Raises|Yields|Source|Sources|Attributes|Example|Note):")


def modules_of(name: str) -> Iterator[str]:
    """Yield a module's name, or a package's and those of all modules in it."""
    spec = find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"there is no module '{name}'")
    yield name
    for folder in spec.submodule_search_locations or ():
        for path in sorted(Path(folder).iterdir()):
            inside = path.stem if path.suffix == ".py" else path.name if (path / "__init__.py").is_file() else ""
            if inside and not inside.startswith("__"):
                yield from modules_of(f"{name}.{inside}")


class ModulesDirective(SphinxDirective):
    """Sections of a page, a module each."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Write what autodoc is to document, and have it parsed."""
        names = [name for line in self.content for name in modules_of(line.strip())]
        text = "\n".join(f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n" for name in names)
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def to_rst(lines: list[str]) -> list[str]:
    """Return a docstring as reStructuredText: ours are plain text with code in single backticks.

    Names of classes become links, other code literal, indented paragraphs before the first section literal blocks,
    and nothing else is markup.
    """
    written: list[str] = []
    in_section = literal = False
    for line in lines:
        in_section = in_section or bool(_SECTION.match(line))
        indented = line.startswith("    ") and not in_section
        if literal and line.strip() and not indented:
            literal = False
        if indented and not literal and written and not written[-1].strip():
            literal = True
            if not "".join(written[-2:-1]).rstrip().endswith("::"):
                written += ["::", ""]
        written.append(line if literal else _marked(line))
    return written


def _marked(line: str) -> str:
    parts = _CODE.split(line)
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = f":py:obj:`{part}`" if _LINKED.match(part) else f"``{part}``"
        else:
            parts[i] = _SPECIAL.sub(lambda found: f"\\{found[0]}", part)
    return "".join(parts)


class _Docstrings:
    """Rewrites docstrings before napoleon reads their sections.

    Of an attribute napoleon takes what is before a colon for its type; ours are sentences, and are put back.
    """

    def __init__(self) -> None:
        self._sentences: list[str] | None = None

    def before(self, app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
        """Rewrite."""
        has_sections = any(_SECTION.match(line) for line in lines)
        lines[:] = to_rst(lines)
        is_sentences = what in ("attribute", "data", "property") and not has_sections
        self._sentences = list(lines) if is_sentences else None

    def after(self, app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
        """Put sentences back."""
        if self._sentences is not None:
            lines[:] = self._sentences


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx, around napoleon, whose priority is 500."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_directive("modules", ModulesDirective)
    app.add_lexer("csv", TextLexer)
    docstrings = _Docstrings()
    app.connect("autodoc-process-docstring", docstrings.before, priority=400)
    app.connect("autodoc-process-docstring", docstrings.after, priority=600)
    return {"version": "1", "parallel_read_safe": True}
