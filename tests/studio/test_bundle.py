"""`foreact studio BUNDLE` in a real browser: what a bundle does there, and what the page says of what it cannot do."""

import math
import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from studio.running import RunningStudio
from studio.visiting import (
    LONG,
    choose,
    corner_and_size,
    eventually,
    open_live,
    outcome,
    place_of_block,
    wait_for_picture,
)

pytestmark = pytest.mark.slow

_MOVED = """
() => Math.max(...[...document.querySelectorAll('svg.panel polyline.state')].map(line => {
  const ys = [...line.points].map(point => point.y);
  return Math.max(...ys) - Math.min(...ys);
}))"""
"""How far the measured joint that moved most has moved, in units of its panel."""


def test_a_click_on_a_block_has_the_bundle_told_of_it_and_the_arm_go(page: Page, others_studio: RunningStudio) -> None:
    open_live(page, others_studio, policy="bundle")
    wait_for_picture(page)
    expect(page.locator("section h2").first).to_have_text(re.compile("bundle"))
    path = page.locator(".overhead polyline.path").first
    expect(path).to_be_attached(timeout=LONG)
    place = place_of_block(page, 2)
    before = place_of_cue(page)
    page.locator(".overhead img").first.click(position={"x": place[0], "y": place[1]})
    expect(page.locator(".overhead circle.clicked").first).to_be_attached(timeout=LONG)
    # Beside the block by the cue's noise, but not at the other one any more.
    assert math.dist(place_of_cue(page), place) < math.dist(before, place) / 2
    expect(page.get_by_text(re.compile(r"^tick ([5-9]|\d\d+), .*cue \d+ mm"))).to_be_visible(timeout=LONG)
    expect(outcome(page)).to_have_text("running")
    drawn = path.get_attribute("points")
    eventually(page, lambda: path.get_attribute("points"), lambda now: now != drawn)  # chunk after chunk
    eventually(page, lambda: page.evaluate(_MOVED), lambda moved: moved > 5)  # of a panel's 96
    assert page.locator(".error").all_inner_texts() == [""]


def place_of_cue(page: Page) -> tuple[float, float]:
    """Where the picture shows what the policy is told, in pixels of the screen from its corner."""
    arms = str(page.locator(".overhead svg path.cue").first.get_attribute("d"))
    x, y = np.array(re.findall(r"[-\d.]+", arms), float).reshape(-1, 2).mean(axis=0)
    box = corner_and_size(page)
    return x * box["width"] / 384, y * box["height"] / 384


def test_what_cannot_be_asked_of_a_bundle_is_said_and_what_can_is_answered(
    page: Page, others_studio: RunningStudio
) -> None:
    open_live(page, others_studio, policy="bundle")
    expect(page.locator(".overhead polyline.path").first).to_be_attached(timeout=LONG)
    page.get_by_role("tab", name="Why it goes there").click()
    page.get_by_role("button", name="What does it attend to?").click()
    refusal = "attention cannot be seen in a bundle; give the studio the run"
    expect(page.get_by_text(refusal)).to_be_visible(timeout=LONG)
    expect(page.locator(".heat-figure")).to_have_count(0)
    page.get_by_role("button", name="Where does it look?").click()
    expect(page.get_by_text(re.compile("overhead: covering the patch in row"))).to_be_visible(timeout=LONG)
    expect(page.locator(".heat-figure")).to_have_count(2)
    page.get_by_role("button", name="Where would a click lead?").click()
    expect(page.get_by_text(re.compile(r"the arm follows -?\d+% of the click"))).to_be_visible(timeout=LONG)
    choose(page, "Latent", "sampled")
    refusal = "is a bundle, which takes the latent's mode; give the run to draw it at random"
    expect(page.get_by_role("alert").filter(has_text=refusal)).to_be_visible(timeout=LONG)
    expect(outcome(page)).to_have_text("stopped")
    choose(page, "Latent", "zero")
    expect(outcome(page)).to_have_text("running", timeout=LONG)
    expect(page.get_by_text(refusal)).to_be_hidden()
