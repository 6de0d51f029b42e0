"""What a visitor of the studio does, and where things are on the page."""

import re
from collections.abc import Callable
from typing import TypeVar

from playwright.sync_api import FloatRect, Locator, Page, expect

from studio.running import RunningStudio

T = TypeVar("T")
LONG = 60_000
"""Milliseconds for what takes seconds on an idle machine."""


def open_live(page: Page, studio: RunningStudio, policy: str = "expert") -> None:
    """Open the live page; the first policy plays, or the expert."""
    page.goto(studio.url)
    expect(outcome(page)).to_be_visible(timeout=LONG)
    if policy != "expert":
        return
    choose(page, "Policy", "expert")


def open_data(page: Page, studio: RunningStudio, name: str, episode: int) -> None:
    """Open an episode of the data set whose name has this in it."""
    page.goto(studio.url + "/data")
    page.get_by_role("combobox", name="Data set").click()
    page.get_by_role("option").filter(has_text=name).click()
    title = rf"^episode {{}}: .* of .*{re.escape(name)}"  # the page has opened another set's episode 0 before
    expect(page.get_by_text(re.compile(title.format(0)))).to_be_visible(timeout=LONG)
    expect(page.get_by_role("combobox", name="Episode")).to_have_value("0")
    if episode:
        choose(page, "Episode", str(episode))
        expect(page.get_by_text(re.compile(title.format(episode)))).to_be_visible(timeout=LONG)


def outcome(page: Page, scene: int = 0) -> Locator:
    """Where a scene's outcome is said."""
    return page.get_by_test_id("outcome").nth(scene)


def choose(page: Page, label: str, option: str) -> None:
    """Choose an option of a select."""
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option, exact=True).click()


def put_beside(page: Page, policy: str) -> None:
    """Have a second scene with the policy whose name has this in it."""
    page.get_by_role("combobox", name="Beside it").click()
    page.get_by_role("option").filter(has_text=policy).click()
    expect(page.get_by_test_id("outcome")).to_have_count(2)


def wait_for_picture(page: Page) -> None:
    """Wait until the overhead camera's picture is there."""
    page.wait_for_function(
        "() => { const of = document.querySelector('.overhead img'); return of && of.naturalWidth > 0; }", timeout=LONG
    )


def pause_at_the_start(page: Page) -> None:
    """Stop the clock, and have the scene begin again: the first tick is played."""
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Again").click()
    expect(page.get_by_text(re.compile("^tick 1, ")).first).to_be_visible(timeout=LONG)
    expect(outcome(page)).to_have_text("paused")


def place_of_block(page: Page, number: int, scene: int = 0) -> tuple[float, float]:
    """Where a scene's picture shows a block, in pixels of the screen from its corner."""
    label = page.locator(".overhead").nth(scene).locator("text.number").nth(number - 1)
    x, y = (float(str(label.get_attribute(axis))) for axis in ("x", "y"))
    box = corner_and_size(page, scene)
    return (x - 15) * box["width"] / 384, (y + 11) * box["height"] / 384


def drag_block(page: Page, number: int, share: tuple[float, float], scene: int = 0) -> tuple[float, float]:
    """Take a block in a scene's picture to a share of its width and height; return that place in pixels."""
    x, y = place_of_block(page, number, scene)
    box = corner_and_size(page, scene)
    goal = (share[0] * box["width"], share[1] * box["height"])
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down()
    page.mouse.move(box["x"] + goal[0], box["y"] + goal[1], steps=5)
    page.mouse.up()
    return goal


def corner_and_size(page: Page, scene: int = 0) -> FloatRect:
    """Where a scene's overhead picture is on the screen."""
    picture = page.locator(".overhead img").nth(scene)
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    return box


def eventually(page: Page, look: Callable[[], T], is_so: Callable[[T], bool]) -> T:
    """Look until it is so, for as long as that may take on a busy machine, and return what was seen."""
    seen = look()
    for _ in range(LONG // 200):
        if is_so(seen):
            return seen
        page.wait_for_timeout(200)
        seen = look()
    raise AssertionError(f"it never came to be so: {seen}")
