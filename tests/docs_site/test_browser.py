"""The two columns in a real browser: the block in view is marked as one scrolls, and on a phone columns are stacked."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from explain.in_browser import FLAGS, faults
from pages import ROOT

BLOCKS = ("latent.sample_latent", "losses.masked_l1", "position.sinusoid_2d", "losses.kl_divergence", "film.modulate")
IN_VIEW = "[...document.querySelectorAll('.walk-in-view')].map((row) => row.id)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of blocks in the site's theme, style and script."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"
    source.mkdir()
    said = "Why it is so. " * 60
    blocks = "".join(f":::{{block}} foreact.model.{name}\n\n{said}\n:::\n\n" for name in BLOCKS)
    (source / "index.md").write_text(f"# Blocks\n\n{blocks}")
    conf = (ROOT / "docs/conf.py").read_text()
    conf = conf.replace("Path(__file__).parent", f"Path({str(ROOT / 'docs')!r})")
    conf = re.sub(r"(?ms)^extensions = \[.*?\]", 'extensions = ["myst_parser", "explain.walkthrough"]', conf)
    conf = conf.replace('html_static_path = ["_static"]', f"html_static_path = [{str(ROOT / 'docs/_static')!r}]")
    (source / "conf.py").write_text(conf)
    words = [sys.executable, "-m", "sphinx", "-q", "--fail-on-warning", str(source), str(folder / "html")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed, so no page was looked at; type: sh scripts/browser.sh")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


def opened(browser: Browser, site: Path, width: int, faults: list[str]) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if request.url.startswith("http") else None)
    page.goto(f"file://{site}/index.html")
    return page


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_block_in_view_is_marked_as_one_scrolls(browser: Browser, site: Path, width: int) -> None:
    faults: list[str] = []
    page = opened(browser, site, width, faults)
    rows = page.evaluate("[...document.querySelectorAll('.walk-row')].map((row) => row.id)")
    assert len(rows) == len(BLOCKS)
    for row in [*rows, *reversed(rows)]:
        page.evaluate(
            f"window.scrollTo(0, document.getElementById('{row}').getBoundingClientRect().top + scrollY - 200)"
        )
        page.wait_for_function(f"({IN_VIEW}).join() === '{row}'")
    assert faults == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.close()


@pytest.mark.slow
def test_columns_stand_side_by_side_on_a_desk_and_below_each_other_on_a_phone(browser: Browser, site: Path) -> None:
    for width, beside in ((1280, True), (390, False)):
        page = opened(browser, site, width, [])
        code, text = (page.locator(f".walk-{of}").first.bounding_box() for of in ("code", "text"))
        assert code is not None
        assert text is not None
        assert (code["x"] + code["width"] <= text["x"]) == beside
        assert (code["y"] + code["height"] <= text["y"]) != beside
        page.close()


@pytest.mark.slow
def test_a_sound_site_has_no_fault_in_a_browser(browser: Browser, site: Path) -> None:
    assert list(faults(site, browser, word="blocks")) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "added", "fault"),
    [
        (
            "index.html",
            "<script>throw new Error('nothing works')</script>",
            "index.html: a script fails: nothing works",
        ),
        ("index.html", '<img src="https://example.org/a.png">', "index.html: asks 'https://example.org/a.png'"),
        (
            "genindex.html",
            '<div class="broad" style="width: 700px; height: 1px"></div>',
            "genindex.html: 700 pixels wide in a window of 390, dark: div.broad",
        ),
        (
            "index.html",
            "<script>delete window.IntersectionObserver</script>",
            "index.html: 'block-foreact-model-film-modulate' is in view and '' is marked, 390 pixels wide",
        ),
        ("search.html", "<script>Search.performSearch = () => {}</script>", "search: 'blocks' is not found"),
    ],
)
def test_a_fault_that_only_a_browser_sees_is_named_with_its_page(
    browser: Browser, site: Path, tmp_path: Path, page: str, added: str, fault: str
) -> None:
    shutil.copytree(site, tmp_path / "site")
    text = (tmp_path / "site" / page).read_text()
    (tmp_path / "site" / page).write_text(text.replace("</body>", f"{added}</body>"))
    assert fault in [of.partition(" (")[0] for of in faults(tmp_path / "site", browser, word="blocks", patience=1)]


@pytest.mark.slow
def test_a_word_that_is_nowhere_is_not_found(browser: Browser, site: Path) -> None:
    assert "search: 'zebra' is not found" in list(faults(site, browser, word="zebra", patience=1.5))
