"""`foreact locate robot.yaml --camera overhead --pixel 320 240`: where on the table a pixel is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from foreact.cli.options import parse


@dataclass(frozen=True, kw_only=True)
class LocateOptions:
    """Print the coordinate, x and y in metres in the arm's base, of the point that a pixel of a camera shows.

    The point is taken to be at the calibration's environment_height: half a block for a pixel of its middle.
    """

    calibration: Annotated[Path, tyro.conf.Positional]
    """Calibration file (YAML), see foreact calibrate; or a data set that has one."""
    camera: str
    """The camera's name; it must stand still."""
    pixel: tuple[float, float]
    """Column and row, from the picture's upper left corner."""
    size: tuple[int, int] | None = None
    """Height and width of the picture [pixels] if it is not of the calibrated size."""


def run(arguments: list[str]) -> int:
    """Parse, locate, print, and return 0."""
    options = parse(LocateOptions, arguments, command="locate")

    from foreact.console import warn
    from foreact.data.calibration import read_calibration
    from foreact.data.locate import locate, reach
    from foreact.data.sidecar import read_sidecar

    column, row = options.pixel
    path = options.calibration
    calibration = read_sidecar(path) if path.is_dir() else read_calibration(path)
    x, y = locate(calibration, options.camera, column, row, options.size)
    if calibration.arm is not None and (away := math.hypot(x, y)) > (most := reach(calibration.arm)):
        warn(f"that is {away:.2f} m from the base, and the arm reaches {most:.2f} m at most")
    print(f"{x:.4f} {y:.4f}")
    return 0
