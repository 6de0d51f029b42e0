"""SVG for the studio's pages: what lies over a picture, curves, maps. Colours are the page's, by class."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from foreact.geometry.projection import plane_points, project
from foreact.records import Calibration
from foreact.sim.layout import WORKSPACE
from foreact.sim.scene import BLOCK_SIZE, BOWL_RADIUS
from foreact.studio.click_map import ClickMap
from foreact.studio.setup import Snapshot
from foreact_runtime.limits import KINDS

_PANEL = (300, 96)
"""Width and height of a curve's panel, in units of its view box."""
_MAP = (-0.24, 0.22, 0.07, 0.29)
"""What the map of the table shows: least and largest y, least and largest x [m]."""
_PAST = 40
"""Ticks of the past that curves show."""
_FLATTEST = 0.2
"""Height [rad] that a panel spans at least: noise must not look like motion."""
_MOST_POINTS = 600
"""Of a curve; there are not more pixels."""
_MOST_CHUNKS = 12
"""Of those predicted, a panel shows the latest and others between; an ensemble of 100 would be a megabyte a picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """One line of a panel."""

    kind: str
    """Its class: `state`, `sent`, `plan`, `chunk`, `cursor`."""
    x: np.ndarray
    y: np.ndarray


def to_pixels(calibration: Calibration, points: np.ndarray) -> np.ndarray:
    """Return the pixels (N, 2), column and row, of points of the world (N, 3) [m]; nan for those behind the camera."""
    pixels, in_front = project(calibration, torch.as_tensor(points, dtype=torch.float64)[None], calibration.size)
    return np.where(in_front[0, :, None].numpy(), pixels[0].numpy(), np.nan)


def stretches(pixels: np.ndarray) -> list[np.ndarray]:
    """Return the parts (n, 2) of a path (N, 2) that lie in front of the camera, each at least a line long."""
    behind = np.flatnonzero(np.isnan(pixels).any(axis=1))
    parts = np.split(pixels, np.unique([*behind, *(behind + 1)]))
    return [part for part in parts if len(part) > 1]


def to_table(calibration: Calibration, pixel: tuple[float, float]) -> np.ndarray | None:
    """Return the point (2,) [m] at the height of a block's centre that a pixel shows; None above the horizon."""
    pixels = torch.tensor([pixel], dtype=torch.float64)
    point = plane_points(calibration, pixels, calibration.size, BLOCK_SIZE / 2)[0, 0].numpy()
    return point if np.isfinite(point).all() else None


def overhead_marks(snapshot: Snapshot, heat: np.ndarray | None = None) -> str:
    """Return what lies over the overhead picture: the chunk's path, the cue, the click, the blocks' numbers."""
    camera = snapshot.overhead
    parts = [] if heat is None else [heat_cells(heat, tiles(heat, camera.size))]
    if snapshot.predictions and (path := snapshot.predictions[-1].path) is not None:
        pixels = to_pixels(camera, path)
        for kind in ("halo", "path"):
            parts += [f'<polyline class="{kind}" points="{_points(of)}"/>' for of in stretches(pixels)]
        if np.isfinite(pixels[-1]).all():
            parts.append(_circle("path-end", pixels[-1], 4))
    for number, block in enumerate(snapshot.blocks, start=1):
        x, y = to_pixels(camera, block.now[None])[0]
        parts.append(f'<text class="number" x="{x + 15:.1f}" y="{y - 11:.1f}">{number}</text>')
    cue, *clicked = to_pixels(
        camera,
        np.array([[*of, BLOCK_SIZE / 2] for of in (snapshot.cue, snapshot.clicked) if of is not None]),
    )
    for pixel in clicked:
        parts.append(_circle("clicked", pixel, 12))
    x, y = cue
    arms = "".join(f"M{x + 4 * dx:.1f} {y + 4 * dy:.1f}L{x + 11 * dx:.1f} {y + 11 * dy:.1f}" for dx, dy in _ARMS)
    parts.append(f'<path class="halo" d="{arms}"/><path class="cue" d="{arms}"/>')
    return "".join(parts)


_ARMS = ((1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Where the cells of a grid lie in a picture [pixels]."""

    corner: tuple[float, float] = (0.0, 0.0)
    """Column and row of the first one's upper left corner."""
    size: tuple[float, float]
    """Height and width of each."""


def tiles(values: np.ndarray, size: tuple[int, int]) -> Cells:
    """Return the cells of values (r, c) that share a picture of a height and width equally."""
    return Cells(size=(size[0] / values.shape[0], size[1] / values.shape[1]))


def heat_cells(values: np.ndarray, cells: Cells) -> str:
    """Return values (r, c) as cells over a picture; the largest is the least transparent."""
    rows, columns = values.shape
    height, width = cells.size
    left, top = cells.corner
    shares = values / max(float(values.max()), 1e-12)
    return "".join(
        f'<rect class="heat" x="{left + c * width:.1f}" y="{top + r * height:.1f}" '
        f'width="{width:.1f}" height="{height:.1f}" fill-opacity="{0.75 * shares[r, c]:.3f}"/>'
        for r in range(rows)
        for c in range(columns)
        if shares[r, c] > 0.02
    )


def panel(
    curves: Sequence[Curve],
    label: str,
    *,
    span: tuple[float, float],
    now: float | None = None,
    bands: Sequence[tuple[float, float, str]] = (),
    flattest: float = _FLATTEST,
) -> str:
    """Return curves in one small picture.

    Args:
        curves: In the order in which they are drawn.
        label: What it shows, for those who do not see it.
        span: Of x.
        now: Where a vertical line is.
        bands: Stretches of x with their class, behind the curves.
        flattest: Least height of y.
    """
    width, height = _PANEL
    values = np.concatenate([np.ravel(curve.y) for curve in curves] or [np.zeros(1)])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    middle, half = (low + high) / 2, max(high - low, flattest) / 2 * 1.1
    low, high = middle - half, middle + half
    left, right = span
    scale = width / max(right - left, 1e-9)

    def place(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.stack([(x - left) * scale, (high - y) / (high - low) * height], axis=1)

    parts = [
        f'<rect class="band {kind}" data-at="{start:g}" x="{(start - left) * scale:.1f}" y="0" '
        f'width="{max((stop - start) * scale, 2):.1f}" height="{height}"/>'
        for start, stop, kind in bands
    ]
    if low < 0 < high:
        y = high / (high - low) * height
        parts.append(f'<line class="zero" x1="0" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>')
    for curve in curves:
        every = max(1, len(curve.x) // _MOST_POINTS)
        shown = place(np.asarray(curve.x)[::every], np.asarray(curve.y)[::every])
        shown = shown[np.isfinite(shown).all(axis=1)]
        if len(shown):
            parts.append(f'<polyline class="{curve.kind}" points="{_points(shown)}"/>')
    if now is not None:
        x = (now - left) * scale
        parts.append(f'<line class="now" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}"/>')
    return (
        f'<svg class="panel" role="img" aria-label="{html.escape(label)}" viewBox="0 0 {width} {height}" '
        f'preserveAspectRatio="none">{"".join(parts)}</svg>'
    )


def legend(*keys: tuple[str, str]) -> str:
    """Return what curves of a class are, (class, words) each."""
    return " &nbsp; ".join(
        f'<span class="key {kind}"></span><span class="said">{html.escape(words)}</span>' for kind, words in keys
    )


def joint_panels(snapshot: Snapshot) -> str:
    """Return the joints' past, the chunks predicted for them, and what the executor makes of those."""
    t = snapshot.tick
    first = max(0, t - _PAST)
    longest = max((of.tick + len(of.actions) for of in snapshot.predictions), default=t + 1)
    span = (first, max(longest, t + 10))
    every = -(-len(snapshot.predictions) // _MOST_CHUNKS) or 1
    shown = snapshot.predictions[::-1][::every][::-1]
    figures = []
    for joint, name in enumerate(snapshot.names):
        past = np.arange(first, t + 1)
        curves = [Curve(kind="state", x=past, y=snapshot.states[first : t + 1, joint])]
        for of in shown:
            if len(of.actions):
                curves.append(Curve(kind="chunk", x=of.tick + 1 + np.arange(len(of.actions)), y=of.actions[:, joint]))
        sent = snapshot.sent[first:t, joint]
        curves.append(Curve(kind="sent", x=first + 1 + np.arange(len(sent)), y=sent))
        said = ""
        if snapshot.plan is not None and len(snapshot.plan.actions):
            plan = snapshot.plan.actions[:, joint]
            curves.append(Curve(kind="plan", x=snapshot.plan.tick + 1 + np.arange(len(plan)), y=plan))
            said = f", planned {plan[-1]:.2f}"
        limited = _limited(snapshot, joint)
        label = f"{name}: {snapshot.states[-1, joint]:.2f} rad{said}{', limited ' + limited if limited else ''}"
        note = f'<span class="limited">limited: {limited}</span>' if limited else ""
        figures.append(
            f"<figure><figcaption>{html.escape(name.removesuffix('.pos'))} "
            f"<b>{snapshot.states[-1, joint]:+.2f}</b> rad {note}</figcaption>"
            f"{panel(curves, label, span=span, now=t)}</figure>"
        )
    return "".join(figures)


def _limited(snapshot: Snapshot, joint: int) -> str:
    if snapshot.limited is None:
        return ""
    counts = snapshot.limited.counts[:, joint]
    return ", ".join(f"{kind} {count}x" for kind, count in zip(KINDS, counts, strict=True) if count)


def click_arrows(of: ClickMap, snapshot: Snapshot) -> str:
    """Return the table from above, the base at the top as in the picture: from each click a line to where it leads."""
    (low_x, low_y), (high_x, high_y) = (np.array(corner) for corner in WORKSPACE)
    left, right, top, bottom = _MAP

    def place(point: np.ndarray) -> tuple[float, float]:
        # The overhead camera looks from the front: forward is down, the arm's left is right.
        return 1000 * (float(point[1]) - left), 1000 * (float(point[0]) - top)

    x, y = place(np.array([low_x, low_y]))
    parts = [
        f'<rect class="workspace" x="{x:.0f}" y="{y:.0f}" width="{1000 * (high_y - low_y):.0f}" '
        f'height="{1000 * (high_x - low_x):.0f}"/>'
    ]
    half = 500 * BLOCK_SIZE
    for block in snapshot.blocks:
        x, y = place(block.now)
        parts.append(
            f'<rect class="block" x="{x - half:.1f}" y="{y - half:.1f}" width="{2 * half:g}" height="{2 * half:g}"/>'
        )
    bowl = snapshot.poses["bowl"][:2]
    parts.append(_circle("bowl", np.array(place(bowl)), 1000 * BOWL_RADIUS))
    for point, end in zip(of.points, of.ends, strict=True):
        (x0, y0), (x1, y1) = place(point), place(end)
        parts.append(f'<line class="leads" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>')
        parts.append(_circle("click", np.array([x0, y0]), 2.2))
        parts.append(_circle("end", np.array([x1, y1]), 3))
    label = f"where a click leads: the arm follows {of.follows:.0%} of it"
    return (
        f'<svg class="map" role="img" aria-label="{label}" '
        f'viewBox="0 0 {1000 * (right - left):.0f} {1000 * (bottom - top):.0f}">{"".join(parts)}</svg>'
    )


def _circle(kind: str, centre: np.ndarray, radius: float) -> str:
    return f'<circle class="{kind}" cx="{centre[0]:.1f}" cy="{centre[1]:.1f}" r="{radius:g}"/>'


def _points(pixels: np.ndarray) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
