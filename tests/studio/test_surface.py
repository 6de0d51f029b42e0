"""What else a page of the studio has: findings on the timeline, three dimensions, dark, keys, modes, files."""

import io
import re
import xml.etree.ElementTree as ET
from contextlib import closing
from functools import partial
from operator import ne
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from foreact.sim.scene import ACTION_NAMES
from studio.conftest import JUMP
from studio.running import RunningStudio
from studio.visiting import (
    LONG,
    choose,
    eventually,
    open_data,
    open_live,
    outcome,
    pause_at_the_start,
    place_of_block,
    put_beside,
    wait_for_picture,
)

pytestmark = pytest.mark.slow

SVG = "{http://www.w3.org/2000/svg}"
YELLOW, BLUE = (255, 235, 0), (124, 231, 255)
"""Of the paths in three dimensions."""
DISTANCE = """of => {
  const {camera, controls} = getElement(+of.id.slice(1));
  return camera.position.distanceTo(controls.target);
}"""
TURNED = """of => {
  const {camera, controls} = getElement(+of.id.slice(1)), from = camera.position.clone().sub(controls.target);
  return [Math.atan2(from.y, from.x), from.z / from.length()];
}"""
"""Around the upright, and the sine of the height."""


def shown_frame(page: Page) -> int:
    said = page.get_by_text(re.compile(r"^frame \d+, ")).inner_text()
    return int(said.split()[1].rstrip(","))


def test_a_finding_is_marked_over_the_slider_and_behind_the_curves_and_a_click_on_it_goes_there(
    page: Page, studio: RunningStudio
) -> None:
    episode, frame = JUMP
    open_data(page, studio, "jumping", episode)  # another visitor may have asked before: a report is for all
    page.get_by_role("button", name="Inspect").click()
    mark = page.locator(".marks rect").first
    expect(mark).to_be_attached(timeout=LONG)
    expect(mark).to_have_class("warning")
    slider = page.get_by_role("slider", name="frame")
    for wrong in (mark, page.locator("svg.panel rect.band").first):
        slider.press("Home")
        expect(page.get_by_text("frame 0, 0.00 s")).to_be_visible()
        wrong.click(force=True)
        expect(page.get_by_text("frame 0, 0.00 s")).to_be_hidden()
        assert abs(shown_frame(page) - frame) <= 1
        assert slider.input_value() == str(shown_frame(page))
    # The mark lies over the slider's thumb when that is there.
    middle = mark.bounding_box()
    box = slider.bounding_box()
    assert middle is not None
    assert box is not None
    thumb = box["x"] + 8 + (box["width"] - 16) * shown_frame(page) / 59
    assert abs(middle["x"] + middle["width"] / 2 - thumb) < 12


def test_a_slider_pressed_faster_than_the_server_answers_counts_every_press(page: Page, studio: RunningStudio) -> None:
    open_data(page, studio, "jumping", 0)
    slider = page.get_by_role("slider", name="frame")
    slider.focus()
    for _ in range(50):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_text(re.compile("^frame 50, "))).to_be_visible()
    expect(slider).to_have_value("50")
    # What the server says afterwards still moves it, back to where it said before too.
    page.get_by_role("button", name="one frame on").click()
    expect(slider).to_have_value("51")
    slider.press("ArrowLeft")
    page.get_by_role("button", name="one frame on").click()
    expect(slider).to_have_value("51")


def test_every_control_of_a_data_set_is_reached_by_tab_in_the_order_of_the_page(
    page: Page, studio: RunningStudio
) -> None:
    open_data(page, studio, "jumping", 0)
    page.get_by_role("link", name="Live").focus()
    reached: list[str] = []
    for _ in range(24):
        reached.append(
            page.evaluate(
                "(document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || '').trim()"
            )
        )
        page.keyboard.press("Tab")
    names = ["Live", "Data sets", "Play", "one frame back", "one frame on", "frame", "save curves as SVG", "Data set"]
    names += ["Episode", "Inspect"]
    places = [reached.index(name) for name in names]
    assert places == sorted(places), reached


def test_pages_of_data_sets_are_bounded_too(browser: Browser, studio: RunningStudio) -> None:
    with closing(browser.new_context()) as context:
        pages = [context.new_page() for _ in range(3)]
        for of in pages[:2]:
            of.goto(studio.url + "/data")
            expect(of.get_by_role("button", name="Inspect")).to_be_visible(timeout=LONG)
        pages[2].goto(studio.url + "/data")
        expect(pages[2].get_by_text("The studio is full")).to_be_visible(timeout=LONG)
        pages[0].close()
        expect(pages[2].get_by_role("button", name="Inspect")).to_be_visible(timeout=LONG)


def picture_of(canvas: Locator) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB"), np.float64)


def test_the_view_in_three_dimensions_shows_the_scene_and_follows_it(page: Page, studio: RunningStudio) -> None:
    open_live(page, studio)
    wait_for_picture(page)
    page.get_by_role("button", name="Again").click()
    page.get_by_role("button", name="Pause").click()
    expect(outcome(page)).to_have_text("paused")
    canvas = page.locator(".scene3d canvas").first
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(1500)  # the arm's meshes
    before = eventually(page, lambda: picture_of(canvas), lambda of: of.std() > 15 and n_colours(of) > 12)
    for _ in range(8):
        page.get_by_role("button", name="Step").click()
    eventually(page, lambda: picture_of(canvas), lambda of: (np.abs(of - before).max(axis=2) > 30).mean() > 0.002)


def n_colours(picture: np.ndarray) -> int:
    return len({tuple(of) for of in (picture[::4, ::4].reshape(-1, 3) // 24).astype(int)})


def n_like(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many pixels have a colour that no light has changed."""
    return int((np.abs(picture - colour).max(axis=2) < 12).sum())


def test_the_predicted_chunk_is_a_path_in_space_and_the_second_scenes_is_blue(
    page: Page, studio: RunningStudio
) -> None:
    open_live(page, studio, policy="untrained")
    wait_for_picture(page)
    pause_at_the_start(page)
    canvas = page.locator(".scene3d canvas").first
    canvas.scroll_into_view_if_needed()

    def paths(scenes: tuple[bool, bool]) -> None:
        eventually(
            page,
            lambda: tuple(n_like(picture_of(canvas), colour) for colour in (YELLOW, BLUE)),
            lambda of: tuple(n > 0 for n in of) == scenes,  # the arm may hide most of one
        )

    paths((True, False))
    put_beside(page, "cured")
    paths((True, True))
    choose(page, "Policy", "expert")  # who predicts nothing
    paths((False, True))
    choose(page, "Beside it", "nobody")
    paths((False, False))


# Mean colour of the overhead picture; 0 while the browser loads the next one.
_BRIGHTNESS = """() => { const of = document.querySelector('.overhead img'), c = document.createElement('canvas');
  c.width = c.height = 32; const d = c.getContext('2d'); d.drawImage(of, 0, 0, 32, 32);
  const v = d.getImageData(0, 0, 32, 32).data.filter((_, i) => i % 4 < 3);
  return v.reduce((a, b) => a + b, 0) / v.length; }"""


def test_what_is_set_by_keys_is_so_in_the_scene(page: Page, studio: RunningStudio) -> None:
    """Light, noise and delay by the sliders' keys, execution and latent by their selects."""
    open_live(page, studio, policy="untrained")
    wait_for_picture(page)
    before = page.wait_for_function(_BRIGHTNESS).json_value()
    page.get_by_role("slider", name="Light").press("Home")
    expect(page.get_by_text("0.2 x")).to_be_visible()
    page.wait_for_function(
        f"before => {{ const now = ({_BRIGHTNESS})(); return now > 0 && now < 0.6 * before; }}", arg=before
    )
    noise = page.get_by_role("slider", name="Cue noise")
    noise.press("Home")
    page.get_by_role("button", name="Next seed").click()
    expect(page.get_by_text(re.compile("cue 0 mm from the block"))).to_be_visible(timeout=LONG)
    noise.press("End")
    page.get_by_role("button", name="Next seed").click()
    expect(page.get_by_text(re.compile("cue [1-9][0-9]* mm from the block"))).to_be_visible(timeout=LONG)
    expect(page.get_by_text(re.compile("stalled"))).to_be_hidden()
    delay = page.get_by_role("slider", name="Delay")
    for set_to in ("50 ms", "100 ms", "150 ms", "200 ms"):
        delay.press("ArrowRight")
        expect(page.get_by_text(set_to, exact=True)).to_be_visible(timeout=LONG)
    expect(page.get_by_text(re.compile(r"stalled \d+ ticks"))).to_be_visible(timeout=LONG)
    choose(page, "Execution", "asynchronous")  # the next chunk is asked for two ticks before it is needed
    expect(page.get_by_text(re.compile(r"^tick (1[2-9]|[2-9]\d|\d{3}), (?!.*stalled)"))).to_be_visible(timeout=LONG)
    delay.press("Home")

    chunks = page.locator(".panels svg.panel").first.locator("polyline.chunk")
    choose(page, "Execution", "ensemble")
    expect(chunks).not_to_have_count(2, timeout=LONG)
    page.wait_for_function(
        "document.querySelector('.panels svg.panel').querySelectorAll('polyline.chunk').length > 2", timeout=LONG
    )
    choose(page, "Execution", "queue")
    page.wait_for_function(
        "document.querySelector('.panels svg.panel').querySelectorAll('polyline.chunk').length <= 2", timeout=LONG
    )

    path = page.locator(".overhead polyline.path").first
    page.get_by_role("button", name="Pause").click()

    def first_path() -> str:
        page.get_by_role("button", name="Again").click()
        expect(page.get_by_text(re.compile("^tick 1, "))).to_be_visible(timeout=LONG)
        page.wait_for_timeout(400)
        return str(path.get_attribute("points"))

    mode = first_path()
    assert first_path() == mode
    choose(page, "Latent", "sampled")
    sampled = first_path()
    assert sampled != mode
    assert first_path() == sampled, "a restart by the same seed draws the same samples"


def test_the_scene_that_is_looked_into_can_be_chosen(page: Page, studio: RunningStudio) -> None:
    open_live(page, studio)
    expect(page.get_by_role("button", name="second scene")).to_be_hidden()
    put_beside(page, "untrained")
    expect(page.get_by_text("the scripted expert predicts no chunks")).to_be_visible(timeout=LONG)
    page.get_by_role("button", name="second scene").click()
    expect(page.locator("svg.panel polyline.plan").first).to_be_attached(timeout=LONG)
    expect(page.get_by_text(re.compile(r"limits changed the action in [1-9]\d* of \d+ ticks"))).to_be_visible(
        timeout=LONG
    )
    page.get_by_role("tab", name="Why it goes there").click()
    page.get_by_role("button", name="Where would a click lead?").click()
    expect(page.get_by_text(re.compile(r"the arm follows -?\d+% of the click"))).to_be_visible(timeout=LONG)
    page.get_by_role("button", name="first scene").click()
    expect(page.locator("svg.map")).to_have_count(0)
    page.get_by_role("button", name="Where would a click lead?").click()
    expect(page.get_by_text("The scripted expert reads the true positions", exact=False)).to_be_visible(timeout=LONG)
    choose(page, "Beside it", "nobody")
    expect(page.get_by_role("button", name="second scene")).to_be_hidden()


def downloaded(page: Page, button: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def saved(page: Page, button: str, folder: Path) -> ET.Element:
    path = downloaded(page, button, folder)
    assert path.suffix == ".svg"
    text = path.read_text()
    assert "var(--" not in text, "the page's colours are not known outside of it"
    return ET.fromstring(text)


def assert_saved_as_seen(
    page: Page, button: str, figure: Locator, folder: Path, *, scale: int = 2, edge: int = 12
) -> None:
    """What is saved looks as the browser shows it, larger and with an edge around it."""
    found = Image.open(downloaded(page, button, folder))
    assert found.format == "PNG"
    box = figure.bounding_box()
    assert box is not None
    assert found.width == pytest.approx(scale * (box["width"] + 2 * edge), abs=2)
    left = scale * edge
    inner = (left, left, left + round(scale * box["width"]), left + round(scale * box["height"]))
    shown = picture_of(figure)
    size = (shown.shape[1], shown.shape[0])
    kept = np.asarray(found.convert("RGB").crop(inner).resize(size, Image.Resampling.BOX), np.float64)
    assert shown.std() > 10
    assert np.abs(kept - shown).mean() < 0.25 * np.abs(kept - kept.mean(axis=(0, 1))).mean()


def test_pictures_curves_answers_and_space_are_saved_as_png_as_they_look(
    page: Page, studio: RunningStudio, tmp_path: Path
) -> None:
    open_live(page, studio, policy="untrained")
    expect(page.locator("svg.panel polyline.plan").first).to_be_attached(timeout=LONG)
    page.get_by_role("button", name="Pause").click()
    expect(outcome(page)).to_have_text("paused")
    wait_for_picture(page)
    assert_saved_as_seen(page, "save scene-1 as PNG", page.locator(".pictures").first, tmp_path)
    in_space = page.locator(".scene3d canvas").first
    assert_saved_as_seen(page, "save three-dimensions as PNG", in_space, tmp_path, scale=1, edge=0)
    page.get_by_role("tab", name="Why it goes there").click()
    page.get_by_role("button", name="Where does it look?").click()
    expect(page.locator(".heat-figure")).to_have_count(2, timeout=LONG)
    assert_saved_as_seen(page, "save answer as PNG", page.get_by_test_id("answer"), tmp_path)


def test_the_view_in_three_dimensions_turns_and_comes_nearer_by_keys(page: Page, studio: RunningStudio) -> None:
    open_live(page, studio)
    wait_for_picture(page)
    view = page.locator(".scene3d")
    page.wait_for_timeout(500)
    far, (angle, height) = view.evaluate(DISTANCE), view.evaluate(TURNED)
    view.press("ArrowRight")
    view.press("ArrowUp")
    view.press("+")
    nearer, (later, higher) = view.evaluate(DISTANCE), view.evaluate(TURNED)
    assert nearer == pytest.approx(far / 1.15, rel=0.01)
    assert later == pytest.approx(angle + 0.12, abs=0.01)
    assert np.arcsin(higher) == pytest.approx(np.arcsin(height) + 0.12, abs=0.01)
    for _ in range(40):
        view.press("ArrowUp")
    assert view.evaluate(TURNED)[1] == pytest.approx(np.cos(0.1), abs=0.01)


def test_figures_are_saved_as_files_that_need_no_page(page: Page, studio: RunningStudio, tmp_path: Path) -> None:
    open_live(page, studio, policy="untrained")
    expect(page.locator("svg.panel polyline.plan").first).to_be_attached(timeout=LONG)
    page.get_by_role("button", name="Pause").click()
    curves = saved(page, "save chunk-per-joint as SVG", tmp_path)
    lines = [of for of in curves.iter(f"{SVG}polyline") if "stroke: rgb(" in str(of.get("style"))]
    assert len(lines) >= 3 * 6
    words = [of.text.split()[0] for of in curves.iter(f"{SVG}text") if of.text]
    assert words == ["measured", "sent", "predicted", "queue", *(name.removesuffix(".pos") for name in ACTION_NAMES)]
    page.get_by_role("tab", name="Why it goes there").click()
    expect(page.get_by_role("button", name="save answer as SVG")).to_be_hidden()
    page.get_by_role("button", name="Where would a click lead?").click()
    expect(page.locator("svg.map line.leads")).to_have_count(55, timeout=LONG)
    clicks = saved(page, "save answer as SVG", tmp_path)
    assert len(list(clicks.iter(f"{SVG}line"))) == 55
    page.get_by_role("button", name="Where does it look?").click()
    expect(page.locator(".heat-figure")).to_have_count(2, timeout=LONG)
    looks = saved(page, "save answer as SVG", tmp_path)
    pictures = [str(of.get("href")) for of in looks.iter(f"{SVG}image")]
    assert len(pictures) == 2
    assert all(of.startswith("data:image/jpeg;base64,") for of in pictures)


def test_a_block_is_moved_by_arrow_keys_the_way_that_the_picture_shows(page: Page, studio: RunningStudio) -> None:
    open_live(page, studio)
    wait_for_picture(page)
    page.get_by_role("button", name="Again").click()
    page.get_by_role("button", name="Pause").click()
    expect(outcome(page)).to_have_text("paused")
    page.wait_for_timeout(500)
    button = page.get_by_role("button", name="Pick 2")
    made_once = button.get_attribute("id")
    for key, axis, sign in (("ArrowUp", 1, -1), ("ArrowRight", 0, 1), ("ArrowDown", 1, 1), ("ArrowLeft", 0, -1)):
        before = place_of_block(page, 2)
        button.press(key)
        after = eventually(page, lambda: place_of_block(page, 2), partial(ne, before))
        assert sign * (after[axis] - before[axis]) > 3, f"{key}: {before} to {after}"
    assert button.get_attribute("id") == made_once, "made anew, it would lose the focus"
    expect(outcome(page)).to_have_text("paused")


def test_an_answer_is_about_now_or_the_start_and_comes_again_where_somebody_keeps_asking(
    page: Page, studio: RunningStudio
) -> None:
    open_live(page, studio, policy="untrained")
    wait_for_picture(page)
    page.get_by_role("tab", name="Why it goes there").click()
    question = page.get_by_role("button", name="Where would a click lead?")

    def ends() -> list[str]:
        lines = page.locator("svg.map line.leads")
        return list(lines.evaluate_all("of => of.map(line => `${line.getAttribute('x2')} ${line.getAttribute('y2')}`)"))

    pause_at_the_start(page)
    question.click()
    first = eventually(page, ends, bool)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text(re.compile(r"^tick (9|\d{2,3}), "))).to_be_visible(timeout=LONG)
    page.get_by_role("button", name="Pause").click()
    question.click()
    later = eventually(page, ends, lambda of: of != first)
    page.get_by_role("button", name="at the start").click()
    question.click()
    eventually(page, ends, lambda of: of == first)
    page.get_by_role("button", name="now", exact=True).click()
    question.click()
    eventually(page, ends, lambda of: of == later)
    page.get_by_role("button", name="Again").click()
    page.wait_for_timeout(2500)  # nobody keeps asking
    assert ends() == later
    page.get_by_role("switch", name="keep asking").click()
    eventually(page, ends, lambda of: of == first)
