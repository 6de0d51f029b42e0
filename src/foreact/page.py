"""A self-contained HTML page: one style for every report, pictures inside, no network needed."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from foreact.finding import Finding

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #8884; padding: .3rem .8rem; text-align: right; }
th:first-child, td:first-child, table.facts td { text-align: left; }
table.facts td:first-child { overflow-wrap: normal; }
.scrolled { overflow-x: auto; } .scrolled table { font-size: .85rem; }
.scrolled th, .scrolled td { overflow-wrap: normal; }
.scrolled td:first-child { min-width: 8rem; overflow-wrap: anywhere; }
.scrolled th, .scrolled td { padding: .2rem .5rem; }
.pictures { display: flex; flex-wrap: wrap; gap: .8rem; } figure { margin: 0; max-width: 10rem; }
figure img { width: 10rem; image-rendering: pixelated; } figcaption { font-size: .8rem; }
code { background: #8882; padding: .1rem .3rem; border-radius: 3px; }
video, img { max-width: 100%; border-radius: 6px; }
section { border-left: .4rem solid #8888; padding-left: 1rem; margin: 2rem 0; }
.fault { border-color: #c0392b; } .warning { border-color: #e0a030; } .fine { border-color: #2a9d4a; }
.verdict { font-size: 1.15rem; font-weight: 600; } .severity { font-size: .8rem; text-transform: uppercase; }
.rate { font-size: 2rem; font-weight: 600; }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """Return a page with a heading; `parts` are HTML, the title is text."""
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{escape(title)}</title>"
    body = "\n".join(parts)
    return f"<!doctype html><html lang='en'>{head}<style>{_STYLE}</style>\n<h1>{escape(title)}</h1>\n{body}\n</html>\n"


def escape(text: str) -> str:
    """Return text as HTML that shows it."""
    return html.escape(text)


def facts(values: Mapping[str, str]) -> str:
    """Return a table of names and values."""
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in values.items())
    return f"<table class='facts'>{rows}</table>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with a heading, which scrolls by itself where it is too wide."""
    heading = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='scrolled'><table><tr>{heading}</tr>{body}</table></div>"


def pictures(of: Sequence[tuple[Path, str]]) -> str:
    """Return small PNG files with their captions side by side, as many in a row as there is room for."""
    shown = "".join(f"<figure>{image(path, text)}<figcaption>{escape(text)}</figcaption></figure>" for path, text in of)
    return f"<div class='pictures'>{shown}</div>"


def data_url(path: Path, kind: str) -> str:
    """Return a file as an address that holds it; `kind` is its media type, for example `image/png`."""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def image(path: Path, caption: str, dark: Path | None = None) -> str:
    """Return a PNG file inside the page; `dark` is shown instead on a dark one."""
    shown = f"<img alt='{escape(caption)}' src='{data_url(path, 'image/png')}'>"
    if dark is None:
        return shown
    other = f"<source media='(prefers-color-scheme: dark)' srcset='{data_url(dark, 'image/png')}'>"
    return f"<picture>{other}{shown}</picture>"


def section(finding: Finding, picture: Path | None = None, dark: Path | None = None, more: str = "") -> str:
    """Return one finding: its title, severity, verdict, remedy and evidence.

    Args:
        finding: What was found.
        picture: A PNG, where there is one.
        dark: The same for dark pages.
        more: HTML below it.
    """
    remedy = f"<p>What helps: {escape(finding.remedy)}</p>" if finding.remedy else ""
    shown = image(picture, finding.title, dark) if picture is not None else ""
    return (
        f"<section class='{finding.severity}'><h2>{escape(finding.title)}</h2>"
        f"<p><span class='severity'>{finding.severity}</span></p>"
        f"<p class='verdict'>{escape(finding.verdict)}</p>{remedy}{shown}{more}</section>"
    )
