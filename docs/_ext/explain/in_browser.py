"""The built site in a real browser: `python -m explain.in_browser site` names each fault; without chromium it says so.

Every page is opened from its file, with no network, at the width of a desk and of a phone, light and dark: no script
may fail, nothing may be asked of another host, and no page may be wider than the window. On the walkthrough the block
in view is marked as one scrolls, and the search box finds a word.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import TimeoutError as NotInTime

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
Theme = Literal["light", "dark"]
WIDTHS = (1280, 390)
LOOKS: tuple[tuple[int, Theme], ...] = ((1280, "light"), (1280, "dark"), (390, "dark"), (390, "light"))
"""Widths of the window and themes, one changing at a time."""
_LISTINGS = "_modules"
"""The sources, in hundreds of pages from one template: these are looked at in every second way."""
_HEIGHT = 800
_LOADING_MS = 30_000
"""For a page, which is on the disk: a busy machine, not a fault."""
_OWN = ("file:", "data:", "blob:")
_IN_VIEW = "[...document.querySelectorAll('.walk-in-view')].map((row) => row.id).join()"
_WIDEST = """(width) => [...document.querySelectorAll('body *')]
    .filter((of) => of.getBoundingClientRect().right > width + 1)
    .map((of) => of.tagName.toLowerCase() + (of.className ? '.' + String(of.className).split(' ')[0] : ''))
    .slice(0, 3).join(', ')"""


def faults(site: Path, browser: Browser, *, word: str = "backbone", patience: float = 20.0) -> Iterator[str]:
    """Yield a line for each thing that is wrong.

    Args:
        site: The built site.
        browser: Looks at it.
        word: That the search box must find.
        patience: Seconds to wait for what scripts do once a page is there.
    """
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.set_default_timeout(1000 * patience)
    page.set_default_navigation_timeout(_LOADING_MS)
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(f"a script fails: {error}"))
    page.on("request", lambda of: None if of.url.startswith(_OWN) else said.append(f"asks '{of.url}'"))
    paths = sorted(site.resolve().rglob("*.html"))
    if not paths:
        yield f"'{site}' holds no page"
    for path in paths:
        where = path.relative_to(site.resolve())
        page.goto(path.as_uri())
        for width, theme in LOOKS[::2] if where.parts[0] == _LISTINGS else LOOKS:
            page.set_viewport_size({"width": width, "height": _HEIGHT})
            page.emulate_media(color_scheme=theme)
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                said.append(f"{wide} pixels wide in a window of {width}, {theme}: {page.evaluate(_WIDEST, width)}")
        said += _unmarked(page)
        yield from (f"{where}: {of}" for of in said)
        said.clear()
    if paths:
        yield from _not_found(page, site, word)
        yield from said
    context.close()


def _unmarked(page: Page) -> list[str]:
    """Return the blocks of a walkthrough that are not marked when they are in view."""
    rows = page.evaluate("[...document.querySelectorAll('.walk-row')].map((row) => row.id)")
    found = []
    for width in WIDTHS if rows else ():
        page.set_viewport_size({"width": width, "height": _HEIGHT})
        for row in rows:
            to = f"document.getElementById('{row}').getBoundingClientRect().top + scrollY - innerHeight / 4"
            page.evaluate(f"scrollTo({{top: {to}, behavior: 'instant'}})")
            try:
                page.wait_for_function(f"({_IN_VIEW}) === '{row}'")
            except NotInTime:
                found.append(f"'{row}' is in view and '{page.evaluate(_IN_VIEW)}' is marked, {width} pixels wide")
    return found


def _not_found(page: Page, site: Path, word: str) -> list[str]:
    """Type a word into the search box of the first page, as a reader does, and follow the first result."""
    page.set_viewport_size({"width": WIDTHS[0], "height": _HEIGHT})
    page.goto((site.resolve() / "index.html").as_uri())
    page.fill("input[name=q]", word)
    page.press("input[name=q]", "Enter")
    try:
        page.locator("#search-results li a").first.click()
        page.get_by_text(word).first.wait_for(state="attached")
    except NotInTime:
        return [f"search: '{word}' is not found"]
    return []


def main(arguments: list[str]) -> int:
    """Print what is wrong and return 1 where anything is."""
    parser = argparse.ArgumentParser(prog="python -m explain.in_browser", description="Look at a built site.")
    parser.add_argument("site", type=Path)
    options = parser.parse_args(arguments)
    chromium = shutil.which("chromium")
    if chromium is None:
        print("chromium is not installed, so the site was not looked at; type: sh scripts/browser.sh")
        return 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        found = list(faults(options.site, browser))
        browser.close()
    for line in found:
        print(line)
    print(f"{len(found)} faults of {options.site} in a browser")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
