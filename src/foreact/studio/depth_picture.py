"""Depth for people: a colour for each distance, the same in every frame, and another for what was not measured."""

from __future__ import annotations

from functools import cache

import numpy as np

UNMEASURED = (128, 128, 128)
"""Grey, which is not among the map's colours."""
_NEAREST = 0.1
"""Metres: few cameras measure less, and a logarithm needs a beginning."""
_BLUR = 0.02
"""Metres beyond the nearest depth of the range: the nearest that a format can say stands for "not measured" too; videos
blur it, and BEHAVIOR's of 2026 begin at 1 cm."""
_STEPS = 256


def depth_picture(metres: np.ndarray, depth_range: tuple[float, float]) -> np.ndarray:
    """Return a depth map (H, W) [m] as a picture, uint8 (H, W, 3): red is near, blue far, evenly in ln(depth).

    What lies beyond `shown_range` has the colour of its end; what is not finite, 0, negative or the camera's least
    depth, as which videos keep "not measured", is `UNMEASURED`.

    Args:
        metres: Of one frame.
        depth_range: The camera's (near, far) [m].
    """
    near, far = shown_range(depth_range)
    is_measured = np.isfinite(metres) & (metres > depth_range[0] + _BLUR)
    depth = np.where(is_measured, np.clip(metres, near, far), near)
    share = np.log(depth / near) / np.log(far / near)
    picture = _colours()[np.rint(share * (_STEPS - 1)).astype(np.intp)]
    picture[~is_measured] = UNMEASURED
    return picture


def depth_title(camera: str) -> str:
    """Return what the pictures of a camera's depth are called beside those of its colours."""
    return f"{camera}, depth"


def shown_range(depth_range: tuple[float, float]) -> tuple[float, float]:
    """Return the depths [m] between which colours differ, of a camera with this range."""
    near, far = depth_range
    return max(near, min(_NEAREST, far / 2)), far


def depth_gradient(steps: int = 9) -> str:
    """Return the map's colours from near to far, as CSS has them."""
    stops = _colours()[np.linspace(0, _STEPS - 1, steps).round().astype(int)]
    return f"linear-gradient(to right, {', '.join(_css(of) for of in stops)})"


def unmeasured_colour() -> str:
    """Return `UNMEASURED` as CSS has it."""
    return _css(np.array(UNMEASURED))


def _css(colour: np.ndarray) -> str:
    return f"rgb({', '.join(str(int(of)) for of in colour)})"


@cache
def _colours() -> np.ndarray:
    """Return the map, uint8 (256, 3), near first: turbo, whose neighbours differ more than shades of one hue."""
    from matplotlib import colormaps

    return (255 * colormaps["turbo_r"](np.linspace(0, 1, _STEPS))[:, :3]).round().astype(np.uint8)
