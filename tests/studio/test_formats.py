"""The studio shows data of every readable format: the pictures, distances and curves that others read in them."""

import re
import shutil
from io import BytesIO
from pathlib import Path

import h5py
import matplotlib
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from foreact.data.source import open_source
from foreact.studio.depth_picture import UNMEASURED, depth_picture, shown_range
from foreact.studio.recordings import Recording
from foreact.studio.view import view_episode
from foreact.studio.view_figures import draw_strip
from foreact.studio.view_video import write_view_video
from studio.others_files import FORMATS, Found
from studio.running import RunningStudio
from studio.visiting import LONG, open_data

NEAR, FAR = 0.1, 10.0
"""Metres: what the legend says of the cameras here."""
COLOURS = 255 * matplotlib.colormaps["turbo_r"](np.linspace(0, 1, 256))[:, :3]
FRAME = 3
_PIXELS = """
(of) => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [of.naturalWidth, of.naturalHeight];
  const context = canvas.getContext('2d');
  context.drawImage(of, 0, 0);
  return [of.naturalHeight, of.naturalWidth, [...context.getImageData(0, 0, of.naturalWidth, of.naturalHeight).data]];
}"""
_PANELS = """
() => Object.fromEntries([...document.querySelectorAll('.panels figure')].map(of => [
  of.querySelector('figcaption').firstChild.textContent.trim(),
  {
    now: of.querySelector('b').textContent,
    ...Object.fromEntries([...of.querySelectorAll('polyline')].map(line =>
      [line.getAttribute('class'), [...line.points].map(point => point.y)])),
  },
]))"""


def assert_is(shown: np.ndarray, camera: str, frame: int, found: Found) -> None:
    """The picture is this frame of this camera, and no other; a JPEG is not exact."""
    distances = {
        (name, step): float(np.abs(shown - picture).mean())
        for name, pictures in found.pictures.items()
        if pictures.shape[1:] == shown.shape
        for step, picture in enumerate(pictures.astype(np.float64))
    }
    assert min(distances, key=lambda key: distances[key]) == (camera, frame)
    # Other episodes' pictures are much like this one's, but of another mean colour.
    np.testing.assert_allclose(shown.mean(axis=(0, 1)), found.pictures[camera][frame].mean(axis=(0, 1)), atol=2)


def metres_of(shown: np.ndarray) -> np.ndarray:
    """Read distances [m] off a picture (H, W, 3) by the legend; nan where it is grey."""
    colours = np.concatenate([COLOURS, [UNMEASURED]])
    nearest = np.linalg.norm(shown[:, :, None] - colours, axis=-1).argmin(axis=-1)
    metres = NEAR * (FAR / NEAR) ** (np.arange(256) / 255)
    return np.append(metres, np.nan)[nearest]


def assert_is_depth(shown: np.ndarray, camera: str, frame: int, found: Found) -> None:
    """The picture tells the distances of this frame, and is grey where nothing was measured."""
    seen = metres_of(shown)
    off = []
    for metres in found.depth[camera]:
        inside = (metres > 1.05 * NEAR) & (metres < FAR)
        off.append(np.nanmedian(np.abs(np.log(seen[inside] / metres[inside]))))
    assert int(np.argmin(off)) == frame
    assert off[frame] < 0.04  # two of the 256 colours: chroma is kept at half the resolution
    hole = found.depth[camera][frame] == 0
    if hole.sum() > 16:
        assert np.isnan(seen[hole]).mean() > 0.7  # but for its edge
        assert np.isnan(seen[~hole]).mean() < 0.1


@pytest.fixture(scope="module", params=list(FORMATS))
def found_in(request: pytest.FixtureRequest, others_data: dict[str, Path]) -> tuple[Path, Found]:
    """A data set, and what other libraries find in it."""
    root = others_data[request.param]
    return root, FORMATS[request.param][1](root)


def test_a_clip_has_what_other_libraries_find_in_the_files(found_in: tuple[Path, Found]) -> None:
    root, found = found_in
    clip = Recording(root).clip(found.index)
    assert clip.damaged == {}
    assert clip.episode.state is not None
    np.testing.assert_array_equal(clip.episode.state, found.state.astype(np.float32))
    np.testing.assert_array_equal(clip.episode.action, found.action.astype(np.float32))
    assert {camera for camera, is_depth in clip.tracks if is_depth} == set(found.depth)
    for camera, pictures in found.pictures.items():
        assert len(clip.tracks[camera, False].pictures) == len(pictures)
        for frame in range(len(pictures)):
            assert_is(opened(clip.picture(camera, frame)), camera, frame, found)
    for camera, maps in found.depth.items():
        assert clip.tracks[camera, True].size == maps.shape[1:]
        for frame in range(len(maps)):
            assert_is_depth(opened(clip.picture(camera, frame, depth=True)), camera, frame, found)


def test_a_view_shows_depth_beside_the_pictures_and_its_files_have_it(
    found_in: tuple[Path, Found], tmp_path: Path
) -> None:
    root, found = found_in
    view = view_episode(open_source(root), found.index)
    assert {of for of in view.sizes if of.endswith(", depth")} == {f"{camera}, depth" for camera in found.depth}
    for camera in found.depth:
        size = view.sizes[f"{camera}, depth"]
        assert size == view.sizes[camera]
        shown = list(view.frames(f"{camera}, depth"))
        assert len(shown) == view.length
        if found.depth[camera].shape[1:] == size:
            assert_is_depth(shown[FRAME].astype(np.float64), camera, FRAME, found)
        else:
            assert shown[FRAME].shape == (*size, 3)
    write_view_video(view, tmp_path / "episode.mp4")
    strip = draw_strip(view)
    assert {axes.get_ylabel() for axes in strip.axes} - {""} == set(view.sizes)


def test_depth_that_cannot_be_read_is_said_beside_the_pictures_that_can(
    others_data: dict[str, Path], tmp_path: Path
) -> None:
    root = shutil.copytree(others_data["aloha"], tmp_path / "aloha")
    with h5py.File(root / "episode_2.hdf5", "r+") as file:
        name = "observations/images_depth/cam_high"
        metres = file[name][:] / 1000
        del file[name]
        file[name] = metres
    clip = Recording(root).clip(2)
    assert list(clip.damaged) == ["cam_high, depth"]
    assert "expected millimetres (height, width) of uint16" in clip.damaged["cam_high, depth"]
    assert clip.picture("cam_high", 0, depth=True) is None
    assert clip.picture("cam_high", 0) is not None


def opened(file: bytes | None) -> np.ndarray:
    assert file is not None
    return np.asarray(Image.open(BytesIO(file)), np.float64)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aloha", "robomimic", "behavior-2026"])
def test_a_browser_shows_what_other_libraries_find_in_the_files(
    page: Page, others_studio: RunningStudio, others_data: dict[str, Path], name: str
) -> None:
    root = others_data[name]
    found, features = FORMATS[name][1](root), open_source(root).features
    open_data(page, others_studio, name, found.index)
    for _ in range(FRAME):
        page.get_by_role("button", name="one frame on").click()
    expect(page.get_by_text(re.compile(f"^frame {FRAME}, {FRAME / features.fps:.2f} s$"))).to_be_visible()
    expect(page.locator("figure.recorded img")).to_have_count(len(found.pictures) + len(found.depth))
    for camera in found.pictures:
        assert_is(pixels_of(page, camera, rf"/{found.index}/{FRAME}\?camera={camera}$"), camera, FRAME, found)
    for camera in found.depth:
        address = rf"/{found.index}/{FRAME}\?camera={camera}&depth=true$"
        assert_is_depth(pixels_of(page, f"{camera}, depth", address), camera, FRAME, found)
    expect(page.get_by_text("not measured")).to_have_count(len(found.depth))
    assert_curves_are_of(page, found, features.state_names, features.action_names)


def assert_curves_are_of(page: Page, found: Found, state_names: tuple[str, ...], action_names: tuple[str, ...]) -> None:
    panels = page.evaluate(_PANELS)
    assert set(panels) == {*state_names, *action_names}
    for kind, names, values in (("state", state_names, found.state), ("action", action_names, found.action)):
        for dim, name in enumerate(names):
            drawn = np.array(panels[name][kind])
            assert len(drawn) == len(values)
            if np.ptp(drawn) > 20:  # of 96: tenths of a pixel are kept, and small ones are lost beside the other curve
                assert np.corrcoef(-drawn, values[:, dim])[0, 1] > 0.999, name
            if kind == "state" or name not in state_names:
                assert panels[name]["now"] == f"{values[FRAME, dim]:.3g}"


def pixels_of(page: Page, name: str, address: str) -> np.ndarray:
    """What the browser has of a picture, once it is the one of an address."""
    image = page.locator(f'[role=img][aria-label="{name}"] img')
    expect(image).to_have_attribute("src", re.compile(address), timeout=LONG)
    page.wait_for_function("(of) => of.complete && of.naturalWidth > 0", arg=image.element_handle(), timeout=LONG)
    height, width, values = image.evaluate(_PIXELS)
    return np.array(values, np.float64).reshape(height, width, 4)[..., :3]


def test_depth_has_the_map_s_ends_at_the_range_s_ends_and_grey_where_nothing_was_measured() -> None:
    metres = np.array([[0.05, 0.1, 1.0, 10.0, 99.0], [0.0, -1.0, np.nan, np.inf, 0.01]], np.float32)
    picture = depth_picture(metres, (0.01, 10.0)).astype(int)
    np.testing.assert_allclose(picture[0], COLOURS[[0, 0, 128, 255, 255]], atol=3)
    assert (picture[1] == UNMEASURED).all()
    red, blue = picture[0, 0], picture[0, 3]
    assert red.argmax() == 0
    assert blue.argmax() == 2


@pytest.mark.parametrize(
    ("of_camera", "shown"),
    [((0.01, 10.0), (0.1, 10.0)), ((0.0, 10.0), (0.1, 10.0)), ((0.3, 3.0), (0.3, 3.0)), ((0.0, 0.1), (0.05, 0.1))],
)
def test_the_shown_range_is_the_camera_s_from_a_decimetre_on(
    of_camera: tuple[float, float], shown: tuple[float, float]
) -> None:
    assert shown_range(of_camera) == pytest.approx(shown)
