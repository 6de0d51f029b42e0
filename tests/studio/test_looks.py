"""Wide and narrow, light and dark, with all that one may open: what is on a page is read, fits, and comes from here."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from studio.conftest import JUMP
from studio.running import RunningStudio
from studio.visiting import LONG, eventually, open_data, open_live, pause_at_the_start, put_beside

pytestmark = pytest.mark.slow

LOOKS: list[tuple[int, Literal["light", "dark"]]] = [(1280, "light"), (1280, "dark"), (390, "dark"), (390, "light")]

# Of all visible text: its colour and the ground behind it, as the browser has computed them, and where it ends. Letters
# in an SVG stand on a picture: their ground is their own edge.
_TEXTS = """() => {
  const rgba = (text) => { const c = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    c.fillStyle = text; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data].map(v => v / 255); };
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
  const ground = (of) => { const layers = [];
    for (let at = of; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [1, 1, 1]); };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walk.nextNode()) {
    const node = walk.currentNode, of = node.parentElement, text = node.textContent.trim();
    if (!text || !of.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (of.closest('style, script, .q-icon, .disabled, [disabled]')) continue;
    const seen = getComputedStyle(of), range = document.createRange();
    range.selectNodeContents(node);
    const right = range.getBoundingClientRect().right;
    if (of.closest('svg')) {
      const edge = seen.paintOrder.startsWith('stroke') ? rgba(seen.stroke) : rgba(seen.fill);
      found.push({text, right, letters: rgba(seen.fill).slice(0, 3), ground: edge.slice(0, 3)});
      continue;
    }
    const below = ground(of);
    found.push({text, right, letters: over(rgba(seen.color), below), ground: below});
  }
  return found;
}"""


def contrast(one: list[float], other: list[float]) -> float:
    """WCAG 2.1's ratio of two sRGB colours in 0..1."""

    def luminance(of: list[float]) -> float:
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in of]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_has_the_contrast_that_the_standard_gives_it() -> None:
    assert contrast([0, 0, 0], [1, 1, 1]) == pytest.approx(21)


def assert_can_be_read_in_all_looks(page: Page) -> None:
    for width, scheme in LOOKS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # colours do not fade in
        page.wait_for_timeout(300)  # tabs measure themselves
        texts = eventually(page, partial(texts_of, page), partial(are_as, scheme))
        assert len(texts) > 15
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not {of["text"][:40]: of["right"] for of in texts if of["right"] > width}
        ratios = {of["text"][:40]: round(contrast(of["letters"], of["ground"]), 2) for of in texts}
        assert not {text: ratio for text, ratio in ratios.items() if ratio < 4.5}, f"at {width}, {scheme}"


def texts_of(page: Page) -> list[dict[str, Any]]:
    return list(page.evaluate(_TEXTS))


def are_as(scheme: Literal["light", "dark"], texts: list[dict[str, Any]]) -> bool:
    """Whether most stand on ground of that scheme."""
    is_dark = sum(contrast(of["ground"], [0, 0, 0]) < 3 for of in texts) > len(texts) / 2
    return is_dark == (scheme == "dark")


@contextmanager
def nothing_asked_of_others(page: Page, studio: RunningStudio) -> Iterator[None]:
    """Look at every request that a page makes."""
    hosts = {""}  # of what stands in the page itself
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("websocket", lambda socket: hosts.add(urlsplit(socket.url).netloc))
    yield
    assert hosts == {"", studio.url.removeprefix("http://")}


def test_two_scenes_with_their_curves_and_answers_can_be_read_in_all_looks(page: Page, studio: RunningStudio) -> None:
    with nothing_asked_of_others(page, studio):
        open_live(page, studio, policy="untrained")
        put_beside(page, "cured")
        page.get_by_role("button", name="second scene").click()
        pause_at_the_start(page)
        for _ in range(4):
            page.get_by_role("button", name="Step").click()
        expect(page.get_by_text(re.compile("^tick 5, "))).to_have_count(2, timeout=LONG)
        expect(page.locator(".overhead polyline.path")).to_have_count(2, timeout=LONG)
        expect(page.locator("svg.panel polyline.plan").first).to_be_attached(timeout=LONG)
        page.get_by_role("combobox", name="Policy").focus()  # its name has another colour then
        assert_can_be_read_in_all_looks(page)
        page.get_by_role("tab", name="Why it goes there").click()
        page.get_by_role("button", name="Where would a click lead?").click()
        expect(page.locator("svg.map line.leads")).to_have_count(55, timeout=LONG)
        assert_can_be_read_in_all_looks(page)
        page.get_by_role("button", name="What does it attend to?").click()
        expect(page.locator(".heat-figure")).to_have_count(2, timeout=LONG)
        assert_can_be_read_in_all_looks(page)


def test_an_episode_with_what_inspect_found_can_be_read_in_all_looks(page: Page, studio: RunningStudio) -> None:
    with nothing_asked_of_others(page, studio):
        open_data(page, studio, "jumping", JUMP[0])
        page.get_by_role("button", name="Inspect").click()
        expect(page.get_by_text(re.compile(r"\d+ faults?, \d+ warnings?"))).to_be_visible(timeout=LONG)
        expect(page.locator("button.mark").first).to_be_visible()
        assert_can_be_read_in_all_looks(page)


def test_depth_beside_pictures_can_be_read_in_all_looks(page: Page, others_studio: RunningStudio) -> None:
    with nothing_asked_of_others(page, others_studio):
        open_data(page, others_studio, "aloha", 2)
        expect(page.get_by_text("not measured").first).to_be_visible(timeout=LONG)
        assert_can_be_read_in_all_looks(page)
        open_data(page, others_studio, "behavior-2026", 2)  # a picture and a depth map of each of three cameras
        expect(page.locator("figure.recorded img")).to_have_count(6, timeout=LONG)
        assert_can_be_read_in_all_looks(page)
