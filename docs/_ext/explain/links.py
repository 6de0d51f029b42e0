"""Dead links of the built site: `python -m explain.links site` names each; with --external those to elsewhere too.

A link within the site must lead to a file, and to an element with that id where it has a fragment. Whatever a page
loads must lie in the site: it is to work with no network.
"""

from __future__ import annotations

import argparse
import re
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.client import HTTPException
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "video": "src", "use": "xlink:href"}
"""What a page fetches by itself, by element; `link` too, but for its relations to other pages."""
_ELSEWHERE = ("http", "https")
_IN_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""")
_SECONDS = 20


@dataclass
class _Page(HTMLParser):
    """Ids, links and loaded files of a page."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element names and refers to."""
        of = {name: value for name, value in attrs if value is not None}
        self.ids |= {of[name] for name in ("id", "name") if name in of}
        if tag == "a" and "href" in of:
            self.links.append(of["href"])
        elif tag == "link" and "href" in of:
            (self.loaded if of.get("rel") in ("stylesheet", "icon", "shortcut icon", "preload") else self.links).append(
                of["href"]
            )
        elif tag in _LOADED and _LOADED[tag] in of:
            self.loaded.append(of[_LOADED[tag]])


def read_site(root: Path) -> dict[Path, _Page]:
    """Return all pages of a site by their path."""
    pages = {}
    for path in sorted(root.rglob("*.html")):
        page = _Page()
        page.feed(path.read_text())
        pages[path.resolve()] = page
    return pages


def dead_links(root: Path, *, external: bool = False) -> Iterator[str]:
    """Yield a line for each link that leads nowhere and each file that is loaded from elsewhere.

    Args:
        root: The built site.
        external: Whether links to elsewhere are fetched too.
    """
    pages = read_site(root)
    if not pages:
        yield f"'{root}' holds no page"
    elsewhere: dict[str, Path] = {}
    for path, page in pages.items():
        where = path.relative_to(root.resolve())
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme in _ELSEWHERE or (parts.netloc and not parts.scheme):
                if link in page.loaded:
                    yield f"{where}: loads '{link}' from elsewhere"
                elsewhere.setdefault(link, where)
            elif not parts.scheme and (fault := _fault(path, parts.path, parts.fragment, pages)):
                yield f"{where}: '{link}': {fault}"
    for style in sorted(root.rglob("*.css")):
        for link in _IN_STYLE.findall(style.read_text()):
            yield f"{style.relative_to(root)}: loads '{link}' from elsewhere"
    if external:
        for link, where in elsewhere.items():
            if fault := _unreachable(link):
                yield f"{where}: '{link}': {fault}"


def _fault(page: Path, path: str, fragment: str, pages: dict[Path, _Page]) -> str:
    """Why a link within the site is dead; empty where it is not."""
    target = (page.parent / unquote(path)).resolve() if path else page
    if target.is_dir():
        target = target / "index.html"
    if not target.exists():
        return "there is no such file"
    if fragment and target in pages and unquote(fragment) not in pages[target].ids:
        return f"nothing there has the id '{unquote(fragment)}'"
    return ""


def _unreachable(link: str) -> str:
    """Why a link to elsewhere is dead; empty where it answers.

    Some hosts refuse HEAD alone, so GET has the last word.
    """
    fault = ""
    for method in ("HEAD", "GET"):
        try:
            with urllib.request.urlopen(urllib.request.Request(link, method=method), timeout=_SECONDS):
                return ""
        except (OSError, HTTPException, ValueError) as error:
            fault = str(error) or type(error).__name__
    return fault


def main(arguments: list[str]) -> int:
    """Print them and return 1 where there are any."""
    parser = argparse.ArgumentParser(prog="python -m explain.links", description="Find dead links of a built site.")
    parser.add_argument("site", type=Path)
    parser.add_argument("--external", action="store_true", help="fetch links to elsewhere too")
    options = parser.parse_args(arguments)
    dead = list(dead_links(options.site, external=options.external))
    for line in dead:
        print(line)
    print(f"{len(dead)} dead links in {options.site}")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
