"""The studio as a visitor has it: in a real browser."""

import re
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from studio.running import RunningStudio
from studio.visiting import LONG, choose, open_live, outcome, place_of_block, wait_for_picture

pytestmark = pytest.mark.slow


def test_a_click_on_a_block_has_the_arm_pick_it_and_the_outcome_is_shown(page: Page, studio: RunningStudio) -> None:
    open_live(page, studio)
    wait_for_picture(page)
    expect(outcome(page)).to_have_text(re.compile("success"), timeout=LONG)  # the block of the seed
    x, y = place_of_block(page, 2)
    page.locator(".overhead img").first.click(position={"x": x, "y": y})
    expect(page.locator(".overhead circle.clicked").first).to_be_attached()
    expect(outcome(page)).to_have_text("running", timeout=LONG)
    expect(outcome(page)).to_have_text(re.compile("success: the block is in the bowl"), timeout=LONG)
    expect(page.get_by_text(re.compile("tick [0-9]+"))).to_be_visible()


def test_a_block_is_dragged_where_the_pointer_lets_it_go_and_confusers_come_and_go(
    page: Page, studio: RunningStudio
) -> None:
    open_live(page, studio)
    wait_for_picture(page)
    page.get_by_role("button", name="Again").click()
    page.get_by_role("button", name="Pause").click()
    expect(outcome(page)).to_have_text("paused")
    page.get_by_role("button", name="add a confuser").click()
    expect(page.locator(".overhead svg text.number")).to_have_count(3, timeout=LONG)
    page.get_by_role("button", name="drag moves blocks").click()
    x, y = place_of_block(page, 2)
    box = page.locator(".overhead img").first.bounding_box()
    assert box is not None
    goal = (0.55 * box["width"], 0.78 * box["height"])
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down()
    page.mouse.move(box["x"] + goal[0], box["y"] + goal[1], steps=5)
    page.mouse.up()
    page.wait_for_timeout(1500)
    moved = place_of_block(page, 2)
    assert abs(moved[0] - goal[0]) + abs(moved[1] - goal[1]) < 0.08 * box["width"]
    page.get_by_role("button", name="remove a confuser").click()
    expect(page.locator(".overhead svg text.number")).to_have_count(2, timeout=LONG)


def test_another_policy_takes_over_and_two_play_the_same_scene(page: Page, studio: RunningStudio) -> None:
    open_live(page, studio)
    expect(page.locator("section h2").first).to_have_text("expert")
    names = page.get_by_role("combobox", name="Policy")
    names.click()
    policy = page.get_by_role("option").filter(has_text="untrained").inner_text()
    page.get_by_role("option", name=policy).click()
    expect(page.locator("section h2").first).to_have_text(policy)
    expect(page.locator(".overhead polyline.path").first).to_be_attached(timeout=LONG)  # the predicted chunk
    expect(page.locator("svg.panel polyline.plan").first).to_be_attached(timeout=LONG)
    choose(page, "Beside it", "expert")
    expect(page.get_by_test_id("outcome")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(outcome(page, 1)).to_have_text(re.compile("success"), timeout=LONG)
    choose(page, "Beside it", "nobody")
    expect(page.get_by_test_id("outcome")).to_have_count(1)


def test_what_a_policy_looks_at_and_where_clicks_lead_is_shown(page: Page, studio: RunningStudio) -> None:
    open_live(page, studio, policy="untrained")
    expect(page.locator(".overhead polyline.path").first).to_be_attached(timeout=LONG)
    page.get_by_role("tab", name="Why it goes there").click()
    page.get_by_role("button", name="Where would a click lead?").click()
    expect(page.get_by_text(re.compile(r"the arm follows -?\d+% of the click"))).to_be_visible(timeout=LONG)
    expect(page.locator("svg.map line.leads")).to_have_count(55)
    page.get_by_role("button", name="Where does it look?").click()
    expect(page.get_by_text(re.compile("overhead: covering the patch in row"))).to_be_visible(timeout=LONG)
    expect(page.locator(".heat-figure")).to_have_count(2)
    page.get_by_role("button", name="What does it attend to?").click()
    expect(page.get_by_text("Attention is not use", exact=False)).to_be_visible(timeout=LONG)


def test_everything_can_be_done_with_the_keyboard(page: Page, studio: RunningStudio) -> None:
    open_live(page, studio)
    wait_for_picture(page)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("r")
    page.keyboard.press("Space")
    expect(outcome(page)).to_have_text("paused")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    page.keyboard.press(".")
    expect(outcome(page)).to_have_text("paused")
    page.keyboard.press("2")  # picks a block, and lets the clock go on
    expect(outcome(page)).to_have_text(re.compile("success"), timeout=LONG)
    page.keyboard.press("n")
    expect(page.get_by_label("Seed")).to_have_value("1")
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || '').trim()"
            )
        )
    for name in ("Pause", "Step", "Again", "Next seed", "Pick 1", "Light", "Cue noise", "Delay", "add a confuser"):
        assert name in reached, f"{name} cannot be reached by Tab; reached {sorted(reached)}"


def test_every_control_has_a_name_for_those_who_do_not_see_it(page: Page, studio: RunningStudio) -> None:
    for address in ("", "/data"):
        page.goto(studio.url + address)
        page.wait_for_timeout(1500)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('button, input, a, [role=slider], [role=img]')]
            .filter(of => of.offsetParent !== null)
            .filter(of => !(of.getAttribute('aria-label') || of.innerText || of.getAttribute('alt') ||
                            (of.labels && of.labels.length) || of.closest('label')))
            .map(of => of.outerHTML.slice(0, 200))"""
        )
        assert nameless == []


def test_an_episode_of_a_data_set_is_played_with_all_cameras_and_what_inspect_finds(
    page: Page, studio: RunningStudio
) -> None:
    page.goto(studio.url + "/data")
    expect(page.get_by_text(re.compile("^episode 0: "))).to_be_visible(timeout=LONG)
    expect(page.locator("figure.recorded img")).to_have_count(2)
    expect(page.locator(".panels figure")).to_have_count(6)
    page.get_by_role("button", name="one frame on").click()
    expect(page.get_by_text(re.compile("frame 1, 0.10 s"))).to_be_visible()
    expect(page.locator("figure.recorded img").first).to_have_attribute("src", re.compile(r"/0/1\?camera=overhead$"))
    expect(page.locator("figure.recorded img").nth(1)).to_have_attribute("src", re.compile(r"/0/1\?camera=wrist$"))
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.get_by_role("button", name="Play")).to_be_visible(timeout=LONG)
    choose(page, "Episode", "1")
    expect(page.get_by_text(re.compile("^episode 1: "))).to_be_visible(timeout=LONG)
    choose(page, "Episode", "0")
    expect(page.get_by_text(re.compile("^episode 0: "))).to_be_visible(timeout=LONG)
    task = page.get_by_text(re.compile("^episode 0: ")).inner_text()
    page.get_by_role("button", name="Inspect").click()
    expect(page.get_by_text(re.compile(r"\d+ faults?, \d+ warnings?"))).to_be_visible(timeout=LONG)
    page.get_by_role("combobox", name="Data set").click()
    page.get_by_role("option").filter(has_text="spots").click()
    expect(page.get_by_text(re.compile("6 episodes"))).to_be_visible(timeout=LONG)
    # Its first episode has the same number as the one that was open: it is opened nevertheless.
    expect(page.locator(".panels figure")).not_to_have_count(6, timeout=LONG)
    expect(page.get_by_text(re.compile("^episode 0: "))).not_to_have_text(task, timeout=LONG)
    expect(page.get_by_text("Reads the whole data set", exact=False)).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_nothing_is_asked_of_other_hosts_and_no_page_is_wider_than_the_screen(
    browser: Browser, studio: RunningStudio, width: int, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2] if "//" in request.url else "inline"))
    for address in ("", "/data"):
        page.goto(studio.url + address)
        page.wait_for_timeout(2500)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
    assert hosts <= {studio.url.removeprefix("http://"), "inline"}


def test_a_visitor_too_many_is_told_and_comes_in_when_another_has_left(browser: Browser, studio: RunningStudio) -> None:
    contexts = [browser.new_context() for _ in range(3)]
    pages = [context.new_page() for context in contexts]
    for page in pages[:2]:
        open_live(page, studio, policy="any")
    pages[2].goto(studio.url)
    expect(pages[2].get_by_text("The studio is full")).to_be_visible(timeout=LONG)
    contexts[0].close()
    expect(outcome(pages[2])).to_be_visible(timeout=LONG)
    expect(pages[2].get_by_text("The studio is full")).to_be_hidden()
    for context in contexts[1:]:
        context.close()


def test_a_page_says_that_the_server_is_gone_and_goes_on_when_it_is_back(browser: Browser, page: Page) -> None:
    first = RunningStudio("--seed", "3")
    page.goto(first.url)
    expect(outcome(page)).to_be_visible(timeout=LONG)
    expect(page.get_by_text("Connection lost")).to_be_hidden()
    first.kill()
    expect(page.get_by_text("Connection lost")).to_be_visible(timeout=LONG)
    second = RunningStudio("--seed", "3", port=first.port)
    expect(page.get_by_text("Connection lost")).to_be_hidden(timeout=LONG)
    expect(outcome(page)).to_have_text(re.compile("running|success"), timeout=LONG)
    second.stop()


def test_beyond_this_machine_the_studio_asks_for_its_key(browser: Browser, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("open sesame 1234\n")
    running = RunningStudio("--host", "0.0.0.0", "--api-key-file", str(key))
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{running.port}")
    page.get_by_label("This studio asks for its key").fill("open barley")
    page.get_by_role("button", name="Enter").click()
    expect(page.get_by_role("alert")).to_have_text("that is not the key")
    page.get_by_label("This studio asks for its key").fill("open sesame 1234")
    page.get_by_role("button", name="Enter").click()
    expect(outcome(page)).to_be_visible(timeout=LONG)
    context.close()
    running.stop()
