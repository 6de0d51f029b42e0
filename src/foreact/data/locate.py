"""From a pixel of a calibrated camera to a coordinate: what a click, a detector or a pointing model is turned into."""

from __future__ import annotations

import math

import torch

from foreact.data.sidecar import Sidecar, check_shape
from foreact.errors import DataError, unknown_name
from foreact.geometry.projection import plane_points
from foreact.records import Arm


def locate(
    calibration: Sidecar, camera: str, column: float, row: float, size: tuple[int, int] | None = None
) -> tuple[float, float]:
    """Return x and y [m] in the arm's base of the point that a pixel shows, at the height that coordinates mean.

    Args:
        calibration: Of a file (`read_calibration`) or of a data set (`read_sidecar`).
        camera: The camera's name.
        column: Of the pixel, from the picture's left edge.
        row: Of the pixel, from its upper edge.
        size: Height and width of the picture [pixels]; that of the calibration where it is not given.

    Raises:
        DataError: If there is no such camera, it is on the hand, the pixel is outside the picture or shows nothing of
            the plane, or the picture has another shape than the calibration's.
    """
    if camera not in calibration.cameras:
        raise DataError(unknown_name("calibrated camera", camera, calibration.cameras))
    of = calibration.cameras[camera]
    if of.mounted_on == "hand":
        raise DataError(f"camera '{camera}' moves with the hand, so its pixels have no fixed place; take another")
    height, width = size or of.size
    check_shape(camera, of, (height, width), "the calibration")
    if not (0 <= column <= width and 0 <= row <= height):
        raise DataError(
            f"column {column:g}, row {row:g} is outside the picture of camera '{camera}', {height} high and "
            f"{width} wide"
        )
    pixel = torch.tensor([[column, row]], dtype=torch.float64)
    x, y = plane_points(of, pixel, (height, width), calibration.environment_height or 0.0)[0, 0].tolist()
    if math.isnan(x):
        raise DataError(f"column {column:g}, row {row:g} of camera '{camera}' looks past the table")
    return x, y


def reach(arm: Arm) -> float:
    """Return how far from its base's origin an arm's hand can be at most [m]: all of it stretched out in a line."""
    return sum(math.hypot(*offset) for offset in (*arm.positions, arm.hand_position))
