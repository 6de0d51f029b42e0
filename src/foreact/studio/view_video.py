"""An episode as MP4: its cameras side by side, the curves below with the present tick marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from foreact.data.video import encode_video
from foreact.diagnose.drawing import page_style
from foreact.records import Calibration
from foreact.studio.drawing import stretches, to_pixels
from foreact.studio.setup import Prediction
from foreact.studio.view import View
from foreact.studio.view_figures import COLOURS, CUE, curve_panels

_LEAST, _MOST = 192, 480
"""Height [pixels] that pictures are enlarged to at least, and made smaller to where they are higher."""
_WIDEST = 1600
_NARROWEST = 640
"""Pixels: curves need room."""
_CAPTION = 24
_PANEL = (210, 120)
"""About the width, and the height, of a curve's panel [pixels]."""
_DPI = 100
_GROUND = (24, 24, 24)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a camera's picture is in the video [pixels]."""

    left: int
    top: int
    width: int
    height: int


def write_view_video(view: View, path: Path) -> None:
    """Write an episode as a video of as many frames as it has ticks.

    Where it is known where a camera is, the cue and the present chunk are drawn into its picture.

    Args:
        view: The episode.
        path: The MP4 file.

    Raises:
        DataError: If pictures are damaged, or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    encode_video(path, _frames(view), max(1, round(view.fps)))


def picture_places(sizes: Mapping[str, tuple[int, int]]) -> dict[str, Place]:
    """Return where each camera's picture goes: side by side below the caption, all of one height.

    Small pictures are enlarged by a whole number, so that each of their pixels can be told from its neighbours.
    """
    if not sizes:
        return {}
    highest = max(height for height, _ in sizes.values())
    height = min(highest * max(1, -(-_LEAST // highest)), _MOST)
    widths = [round(height * of[1] / of[0]) for of in sizes.values()]
    if sum(widths) > _WIDEST:
        height = int(height * _WIDEST / sum(widths))
        widths = [round(height * of[1] / of[0]) for of in sizes.values()]
    lefts = np.cumsum([0, *widths]).tolist()
    return {
        camera: Place(left=left, top=_CAPTION, width=width, height=height)
        for camera, left, width in zip(sizes, lefts, widths, strict=False)
    }


def _frames(view: View) -> Iterator[np.ndarray]:
    places = picture_places(view.sizes)
    width = max([_NARROWEST, *(place.left + place.width for place in places.values())])
    pictures_end = max([_CAPTION, *(place.top + place.height for place in places.values())])
    curves, cursors = _curves(view, width)
    # H.264 stores colours for pairs of pixels.
    canvas = Image.new("RGB", (width + width % 2, -(-(pictures_end + curves.height) // 2) * 2), _GROUND)
    canvas.paste(curves, (0, pictures_end))
    font = ImageFont.load_default(13)
    streams = {camera: view.frames(camera) for camera in places}
    for tick in range(view.length):
        frame = canvas.copy()
        draw = ImageDraw.Draw(frame)
        limited = view.limited_at(tick)
        said = f"limited: {', '.join(limited)}   " if limited else ""
        draw.text((6, 4), f"{tick / view.fps:5.1f} s   {said}{view.title}", fill=(255, 255, 255), font=font)
        for camera, place in places.items():
            picture = _fitted(next(streams[camera]), place)
            if camera in view.calibrations:
                _mark(picture, view.calibrations[camera][tick], _present(view.predictions, tick), view, tick)
            frame.paste(picture, (place.left, place.top))
        for x, top, bottom in cursors[tick]:
            draw.line((x, pictures_end + top, x, pictures_end + bottom), fill="#c0392b", width=1)
        yield np.asarray(frame)


def _fitted(picture: np.ndarray, place: Place) -> Image.Image:
    image = Image.fromarray(picture)
    how = Image.Resampling.NEAREST if place.height >= image.height else Image.Resampling.BOX
    return image.resize((place.width, place.height), how)


def _present(predictions: Sequence[Prediction], tick: int) -> Prediction | None:
    """Return the latest chunk of a tick or before."""
    return max((of for of in predictions if of.tick <= tick), key=lambda of: of.tick, default=None)


def _mark(picture: Image.Image, calibration: Calibration, chunk: Prediction | None, view: View, tick: int) -> None:
    """Draw the chunk's path and a ring around the cue, so that the block under it stays in sight."""
    draw = ImageDraw.Draw(picture)
    scale = np.array([picture.width / calibration.size[1], picture.height / calibration.size[0]])
    if chunk is not None and chunk.path is not None:
        seen = stretches(to_pixels(calibration, chunk.path) * scale)
        for colour, width in ((_GROUND, 4), (COLOURS["chunk"], 2)):  # the arm may be of the same colour
            for part in seen:
                draw.line([(float(x), float(y)) for x, y in part], fill=colour, width=width)
    if view.cue is None:
        return
    x, y = (to_pixels(calibration, view.cue[tick : tick + 1]) * scale)[0].tolist()
    if np.isfinite(x):
        draw.ellipse((x - 7, y - 7, x + 7, y + 7), outline=CUE, width=2)


def _curves(view: View, width: int) -> tuple[Image.Image, list[list[tuple[float, float, float]]]]:
    """Return the curves of the action's dimensions, and for each tick where its marks are: column, top and bottom."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    columns = min(len(view.names), max(1, width // _PANEL[0]))
    with page_style(dark=True):
        figure, panels = curve_panels(view, view.names, columns, (width / _DPI, _PANEL[1] / _DPI))
        figure.set_dpi(_DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        boxes = [(axes, axes.get_window_extent()) for axes in panels]
        cursors = [
            [
                (axes.transData.transform((tick, 0.0))[0], image.height - box.y1, image.height - box.y0)
                for axes, box in boxes
            ]
            for tick in range(view.length)
        ]
    return image, cursors
