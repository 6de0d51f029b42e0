"""The studio as a visitor has it: in a real browser."""

import math
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from studio.running import RunningStudio
from studio.visiting import (
    LONG,
    choose,
    corner_and_size,
    drag_block,
    eventually,
    open_live,
    outcome,
    place_of_block,
    wait_for_picture,
)

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
    # The arm goes on from where it is, so the block stays in the bowl, where the other one, number 1 now, should be.
    bowl = place_of_block(page, 1)
    page.get_by_role("switch", name="A click lets the arm go on").click()
    page.get_by_role("button", name="Pick 2").click()
    expect(outcome(page)).to_have_text("wrong block in the bowl", timeout=LONG)
    eventually(page, lambda: place_of_block(page, 2), lambda at: math.dist(at, bowl) < 15)


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
    goal = drag_block(page, 2, (0.55, 0.78))
    near = 0.08 * corner_and_size(page)["width"]
    eventually(page, lambda: place_of_block(page, 2), lambda moved: math.dist(moved, goal) < near)
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
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || '').trim()"
            )
        )
    names = [
        "Pause",
        "Step",
        "Again",
        "Next seed",
        "Seed",
        "Level",
        "Pick 1",
        "Policy",
        "Beside it",
        "Execution",
        "Latent",
    ]
    names += ["Light", "Cue noise", "Delay", "add a confuser", "click picks", "A click lets the arm go on"]
    names += ["Chunk per joint", "save scene-1 as PNG", "save chunk-per-joint as SVG"]
    names += ["the arm, the blocks and the predicted path in three dimensions"]
    for name in names:
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


def test_beyond_this_machine_a_key_is_asked_for_and_a_page_goes_on_when_its_server_is_back(
    page: Page, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("open sesame 1234\n")
    arguments = ("--host", "0.0.0.0", "--api-key-file", str(key), "--seed", "3")
    first = RunningStudio(*arguments)
    page.goto(f"http://127.0.0.1:{first.port}")
    page.get_by_label("This studio asks for its key").fill("open barley")
    page.get_by_role("button", name="Enter").click()
    expect(page.get_by_role("alert")).to_have_text("that is not the key")
    page.get_by_label("This studio asks for its key").fill("open sesame 1234")
    page.get_by_role("button", name="Enter").click()
    expect(outcome(page)).to_be_visible(timeout=LONG)
    expect(page.get_by_text("Connection lost")).to_be_hidden()
    first.kill()
    expect(page.get_by_text("Connection lost")).to_be_visible(timeout=LONG)
    second = RunningStudio(*arguments, port=first.port)
    expect(page.get_by_text("Connection lost")).to_be_hidden(timeout=LONG)
    expect(outcome(page)).to_have_text(re.compile("running|success"), timeout=LONG)
    second.stop()
