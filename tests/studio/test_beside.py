"""Two policies beside each other: whatever is done to one scene is done to both, and both are asked alike."""

import math
import re

import pytest
from playwright.sync_api import Locator, Page, expect

from studio.running import RunningStudio
from studio.visiting import (
    LONG,
    corner_and_size,
    drag_block,
    eventually,
    open_live,
    outcome,
    pause_at_the_start,
    place_of_block,
    put_beside,
    wait_for_picture,
)

pytestmark = pytest.mark.slow

Places = list[tuple[str, str, str]]
_NUMBERS = "of => of.map(label => [label.textContent, label.getAttribute('x'), label.getAttribute('y')])"
_CIRCLES = "of => of.map(circle => ['', circle.getAttribute('cx'), circle.getAttribute('cy')])"


def overhead(page: Page, scene: int) -> Locator:
    return page.locator(".overhead").nth(scene)


def numbers(page: Page, scene: int) -> Places:
    """Of the blocks, and where they stand in a scene's picture."""
    return [tuple(of) for of in overhead(page, scene).locator("text.number").evaluate_all(_NUMBERS)]


def clicked(page: Page, scene: int) -> Places:
    """Where the picture shows the click; empty where there was none."""
    return [tuple(of) for of in overhead(page, scene).locator("circle.clicked").evaluate_all(_CIRCLES)]


def are_near(some: Places, others: Places) -> bool:
    """The same blocks within a pixel: one that was just put down settles by a tenth of it."""
    names = [of[0] for of in some] == [of[0] for of in others]
    pairs = zip(some, others, strict=False)
    return names and all(math.dist(*((float(x), float(y)) for _, x, y in pair)) < 1 for pair in pairs)


def in_both(page: Page) -> Places:
    """The blocks of both scenes once they have the same."""
    both = eventually(page, lambda: (numbers(page, 0), numbers(page, 1)), lambda of: of[0] == of[1] != [])
    return both[0]


def changed(page: Page, before: Places) -> Places:
    """The blocks of both scenes once both are other than before, and the same."""
    return eventually(
        page, lambda: (numbers(page, 0), numbers(page, 1)), lambda of: of[0] == of[1] not in ([], before)
    )[0]


def test_both_scenes_have_the_same_blocks_clicks_and_seeds(page: Page, studio: RunningStudio) -> None:
    open_live(page, studio, policy="untrained")
    wait_for_picture(page)
    pause_at_the_start(page)
    drawn = eventually(page, lambda: numbers(page, 0), lambda of: len(of) == 2)
    page.get_by_role("button", name="drag moves blocks").click()
    drag_block(page, 2, (0.55, 0.78))
    dragged = eventually(page, lambda: numbers(page, 0), lambda of: of[1] != drawn[1])

    put_beside(page, "cured")
    expect(page.locator("section h2").nth(1)).to_have_text(re.compile("cured"))
    assert are_near(in_both(page), dragged), "the second scene takes over where the blocks are"
    drag_block(page, 1, (0.8, 0.6), scene=1)
    dragged = changed(page, dragged)

    page.get_by_role("button", name="click picks").click()
    x, y = place_of_block(page, 2, scene=1)
    overhead(page, 1).locator("img").click(position={"x": x, "y": y})
    page.get_by_role("button", name="Pause").click()
    clicks = eventually(page, lambda: (clicked(page, 0), clicked(page, 1)), lambda of: of[0] == of[1] != [])[0]
    scale = corner_and_size(page, 1)["width"] / 384
    assert math.dist((x, y), (scale * float(clicks[0][1]), scale * float(clicks[0][2]))) < 2
    page.get_by_role("button", name="Again").click()
    picked = [("1", *dragged[1][1:]), ("2", *dragged[0][1:])]  # what was clicked is 1 now
    eventually(
        page,
        lambda: (numbers(page, 0), numbers(page, 1)),
        lambda of: of[0] == of[1] and are_near(of[0], picked),
    )

    page.get_by_role("button", name="Next seed").click()
    assert changed(page, picked) not in (drawn, dragged)
    eventually(page, lambda: (clicked(page, 0), clicked(page, 1)), lambda of: of == ([], []))


def test_a_policy_that_sees_a_crop_and_moves_the_hand_is_asked_as_any_other(page: Page, studio: RunningStudio) -> None:
    open_live(page, studio, policy="untrained")
    put_beside(page, "cured")
    path = overhead(page, 1).locator("polyline.path")
    expect(path.first).to_be_attached(timeout=LONG)
    assert path.first.get_attribute("points") != overhead(page, 0).locator("polyline.path").first.get_attribute(
        "points"
    )
    page.get_by_role("button", name="second scene").click()
    page.get_by_role("tab", name="Why it goes there").click()
    page.get_by_role("button", name="Where does it look?").click()
    expect(page.get_by_text(re.compile("overhead: covering the patch in row.*wrist: covering"))).to_be_visible(
        timeout=LONG
    )
    expect(page.locator(".heat-figure")).to_have_count(2)
    page.get_by_role("button", name="Where would a click lead?").click()
    expect(page.get_by_text(re.compile(r"the arm follows -?\d+% of the click"))).to_be_visible(timeout=LONG)
    expect(page.locator("svg.map line.leads")).to_have_count(55)
    page.get_by_role("button", name="What does it attend to?").click()
    expect(page.get_by_text("overhead@cue, as the policy gets it")).to_be_visible(timeout=LONG)
    expect(page.locator(".heat-figure")).to_have_count(2)
    expect(outcome(page, 1)).to_have_text(re.compile("running|never picked"))
    assert page.locator(".error").all_inner_texts() == ["", ""]
