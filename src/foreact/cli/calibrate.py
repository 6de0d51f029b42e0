"""`foreact calibrate checkerboard|points`: where a real camera stands and how it projects, into a calibration file."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro
from PIL import Image, UnidentifiedImageError
from rich.table import Table

from foreact.cli.options import parse
from foreact.console import out, warn
from foreact.errors import ConfigError, DataError, unknown_name

if TYPE_CHECKING:
    from foreact.data.camera_fit import Residuals
    from foreact.records import Calibration

_LARGE_PIXELS = 0.01
"""Of the picture's width: a point that is farther off is warned about."""
_LARGE_METRES = 0.01
"""At the point's height: as much is warned about."""
_UNSURE_FOCAL = 0.25
"""Share of a fitted focal length that a click's error of one pixel changes; more is warned about."""
_FEW = 6
"""Points in a plane, with a fitted focal length, that leave a wrong one no way to show itself."""


@dataclass(frozen=True, kw_only=True)
class CheckerboardOptions:
    """Calibrate a camera from pictures of a checkerboard: how it projects and, with --board-pose, where it stands.

    Take ten or more pictures of the board, tilted and in every corner of the view. For the pose lay it flat on the
    table and look at it from above with its two dark corner squares at the left (or top): the origin is the inner
    corner at the upper left, the columns count from there to the right. docs/conditioning.md draws it.
    """

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures of the board, all of one size."""
    camera: str
    """The camera's name in the data, for example overhead."""
    out: Path
    """Calibration file (YAML); cameras that it has already stay."""
    square: float
    """Edge of a square [m], for example 0.025."""
    columns: int = 9
    """Inner corners along the board."""
    rows: int = 6
    """Inner corners across it; one of both must be odd and one even for --board-pose."""
    board_image: Path | None = None
    """The picture in which the board lies on the table; counts for the rest too."""
    board_pose: tuple[float, float, float] | None = None
    """Where it lies there: x and y [m] of the origin corner in the arm's base, and yaw [degrees] from the base's x
    axis to the direction in which the columns count, anticlockwise seen from above."""
    board_height: float = 0.0
    """Height [m] of the board's face above the base's origin."""
    distortion: bool = True
    """Fit the lens's distortion."""


@dataclass(frozen=True, kw_only=True)
class PointsOptions:
    """Calibrate a camera from a few points whose place is known: where it stands and its focal length.

    The file has a line a point: column,row,x,y,z. Column and row in pixels (the picture's upper left corner is 0,0,
    its first pixel's middle 0.5,0.5), x, y and z in metres in the arm's base. At least 4 in a plane or 6 in general;
    8 spread over the table show a mistake in one of them.
    """

    points: Annotated[Path, tyro.conf.Positional]
    """CSV file: column,row,x,y,z."""
    camera: str
    """The camera's name in the data, for example overhead."""
    out: Path
    """Calibration file (YAML); cameras that it has already stay."""
    image: Path | None = None
    """A picture of the camera, for its size; or --size."""
    size: tuple[int, int] | None = None
    """Height and width of the pictures [pixels]."""
    focal: float | None = None
    """Focal length [pixels] if it is known; otherwise it is fitted."""
    keep_intrinsics: bool = False
    """Take focal length, principal point and distortion that --out has for the camera, from foreact calibrate
    checkerboard."""


def run(arguments: list[str]) -> int:
    """Parse, calibrate, write, and return 0."""
    kind, *rest = arguments or ["--help"]
    if kind in ("--help", "-h"):
        print(_USAGE, end="")
        return 0
    if kind not in _KINDS:
        raise ConfigError(unknown_name("kind of calibration", kind, _KINDS))
    return _KINDS[kind](rest)


def _checkerboard(arguments: list[str]) -> int:
    options = parse(CheckerboardOptions, arguments, command="calibrate checkerboard")
    if min(options.columns, options.rows) < 3 or options.square <= 0:
        raise ConfigError("--columns and --rows must be at least 3, --square [m] above 0")
    if not options.images:
        raise ConfigError("no pictures: type foreact calibrate checkerboard PICTURES ...")
    if (options.board_pose is None) != (options.board_image is None):
        raise ConfigError("--board-pose and --board-image belong together, one is missing")
    if options.board_pose is not None and options.columns % 2 == options.rows % 2:
        raise ConfigError(
            f"a board of {options.columns} x {options.rows} inner corners looks the same upside down; "
            "for --board-pose one must be odd and one even"
        )

    from foreact.data.calibration import write_camera
    from foreact.data.camera_fit import Board, fit_intrinsics, fit_pose, residuals

    board = Board(columns=options.columns, rows=options.rows, square=options.square)
    extra = () if options.board_image is None else (options.board_image,)
    paths = list(dict.fromkeys((*options.images, *extra)))
    pictures = {path: _grey(path) for path in paths}
    size = _one_size(pictures)
    corners = {path: pixels for path in paths if (pixels := board.find(pictures[path])) is not None}
    what = f"{board.columns} x {board.rows} inner corners"
    for path in paths:
        if path not in corners:
            warn(f"no board of {what} in '{path}'")
    if len(corners) < 3:
        raise DataError(f"{len(corners)} of {len(paths)} pictures show a board of {what}, at least 3 are needed")
    if options.board_image is not None and options.board_image not in corners:
        raise DataError(f"'{options.board_image}' shows no board of {what}; take it again, the whole board in view")
    intrinsics, errors = fit_intrinsics(board, list(corners.values()), size, distortion=options.distortion)
    print(
        f"{len(corners)} of {len(paths)} pictures: focal length {intrinsics.focal[0]:.1f}, {intrinsics.focal[1]:.1f}, "
        f"centre {intrinsics.center[0]:.1f}, {intrinsics.center[1]:.1f}, error {_rms(errors):.2f} pixels"
    )
    worst = list(corners)[int(np.argmax(errors))]
    if errors.max() > max(1.0, 3 * float(np.median(errors))):
        warn(f"'{worst}' is {errors.max():.1f} pixels off; leave it out if the board is bent or blurred in it")
    if options.board_pose is None or options.board_image is None:
        if write_camera(options.out, options.camera, intrinsics):
            print(f"written to {options.out}; the pose on the hand that stands there is kept")
        else:
            print(
                f"written to {options.out}, without a pose: foreact calibrate points --keep-intrinsics adds it; that "
                "of a camera on the hand is yours to write into the file (docs/conditioning.md)"
            )
        return 0
    x, y, yaw = options.board_pose
    points = board.points_on_table(x, y, math.radians(yaw), options.board_height)
    pixels = corners[options.board_image]
    calibration = fit_pose(points, pixels, intrinsics)
    off = residuals(calibration, points, pixels)
    _print_pose(options.camera, calibration, off)
    _warn_if_doubtful(
        options.camera,
        calibration,
        "--board-pose is not how the board lay: another corner is the first, or yaw is off by half a turn; "
        "docs/conditioning.md shows both",
    )
    _warn_if_large(off, size, lambda worst: f"corner {worst + 1}")
    write_camera(options.out, options.camera, calibration)
    print(f"written to {options.out}")
    return 0


def _points(arguments: list[str]) -> int:
    options = parse(PointsOptions, arguments, command="calibrate points")
    if sum((options.image is not None, options.size is not None, options.keep_intrinsics)) != 1:
        raise ConfigError("give one of --image, --size and --keep-intrinsics")
    if options.focal is not None and (options.keep_intrinsics or options.focal <= 0):
        raise ConfigError("--focal must be above 0 and goes without --keep-intrinsics")
    if options.size is not None and min(options.size) <= 0:
        raise ConfigError(f"--size {options.size[0]} {options.size[1]} is not a height and a width")

    from foreact.data.calibration import read_intrinsics, write_camera
    from foreact.data.camera_fit import fit_pose, fit_pose_and_focal, focal_uncertainty, residuals, simple_intrinsics

    known = read_intrinsics(options.out, options.camera) if options.keep_intrinsics else None
    if known is not None:
        size = known.size
    else:
        size = options.size or _grey(options.image or Path()).shape[:2]
        known = None if options.focal is None else simple_intrinsics(options.focal, size)
    lines, pixels, points = _read_points(options.points, size)
    calibration = fit_pose_and_focal(points, pixels, size) if known is None else fit_pose(points, pixels, known)
    off = residuals(calibration, points, pixels)
    table = Table("line", "column", "row", *(f"{axis} in m" for axis in "xyz"), "off by pixels", "off by mm")
    for number, pixel, point, error, metres in zip(lines, pixels, points, off.pixels, off.metres, strict=True):
        places = [f"{value:.3f}" for value in point]
        table.add_row(str(number), *(f"{v:.1f}" for v in pixel), *places, f"{error:.2f}", f"{1000 * metres:.1f}")
    out.print(table)
    _print_pose(options.camera, calibration, off)
    _warn_if_doubtful(
        options.camera,
        calibration,
        f"x, y or z in '{options.points}' are exchanged or have the wrong sign: x is forward of the base, y to its "
        "left, z up",
    )
    _warn_if_large(off, size, lambda worst: f"the point of line {lines[worst]}")
    if known is None:
        unsure = focal_uncertainty(calibration, points)
        if unsure > _UNSURE_FOCAL:
            warn(
                f"a click that is 1 pixel off changes the focal length by {100 * min(unsure, 9.99):.0f} %, so that "
                "places above the table may be wrong: tilt the camera, add points higher up, or give --focal"
            )
        if len(points) < _FEW:
            warn(f"with {len(points)} points and a fitted focal length a wrong point does not show; give 8 or more")
    write_camera(options.out, options.camera, calibration)
    print(f"written to {options.out}")
    return 0


_KINDS: dict[str, Callable[[list[str]], int]] = {"checkerboard": _checkerboard, "points": _points}

_USAGE = """\
usage: foreact calibrate KIND [OPTIONS]

Find where a real camera stands and how it projects, and write it into a calibration file for foreact train.

kinds:
  checkerboard  from pictures of a checkerboard, one of them with the board at a known place on the table
  points        from a few points whose place is known, clicked in a picture

options:
  --help      this text; `foreact calibrate KIND --help` for a kind's options
"""


def _print_pose(camera: str, calibration: Calibration, off: Residuals) -> None:
    from foreact.data.camera_words import place_in_words

    x, y, z = calibration.position
    print(
        f"camera '{camera}' stands at {x:.4f}, {y:.4f}, {z:.4f} m, focal length {calibration.focal[0]:.1f} pixels; "
        f"error {off.rms:.2f} pixels, {1000 * _rms(off.metres):.1f} mm"
    )
    print(place_in_words(calibration))


def _warn_if_doubtful(camera: str, calibration: Calibration, cause: str) -> None:
    """Say that the camera hardly stands there, and what was then wrong: a false place may fit as well as the true."""
    from foreact.data.camera_words import doubtful_place

    if (place := doubtful_place(calibration)) is not None:
        warn(f"camera '{camera}' would stand {place}; if it does not, {cause}")


def _warn_if_large(off: Residuals, size: tuple[int, int], name: Callable[[int], str]) -> None:
    """Name the worst point where it is far off, in the picture or on the table."""
    worst = off.worst
    pixels, metres = float(off.pixels[worst]), float(off.metres[worst])
    if pixels > _LARGE_PIXELS * size[1] or not metres < _LARGE_METRES:
        warn(f"{name(worst)} is {pixels:.1f} pixels, {1000 * metres:.0f} mm off; check it, then the others")


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _grey(path: Path) -> np.ndarray:
    """Read a picture as grey, uint8 (H, W)."""
    try:
        with Image.open(path) as image:
            return np.array(image.convert("L"))
    except FileNotFoundError as error:
        raise DataError(f"there is no picture at '{path}'") from error
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"'{path}' is not a picture") from error


def _one_size(pictures: dict[Path, np.ndarray]) -> tuple[int, int]:
    first = next(iter(pictures))
    height, width = pictures[first].shape
    for path, picture in pictures.items():
        if picture.shape != (height, width):
            raise DataError(
                f"'{path}' is {picture.shape[0]}x{picture.shape[1]}, '{first}' {height}x{width}; "
                "all pictures must be of one camera at one size"
            )
    return height, width


def _read_points(path: Path, size: tuple[int, int]) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Numbers of the lines, pixels (N, 2) and points (N, 3) of a CSV file; a heading and empty lines are skipped."""
    try:
        text = path.read_text()
    except FileNotFoundError as error:
        raise DataError(f"there is no file '{path}'") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{path}' cannot be read as text") from error
    numbers: list[int] = []
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.split(",")]
        if not any(cells) or (not rows and [cell.lower() for cell in cells] == ["column", "row", "x", "y", "z"]):
            continue
        try:
            row = [float(cell) for cell in cells]
        except ValueError:
            row = []
        if len(row) != 5 or not all(math.isfinite(value) for value in row):
            raise DataError(f"'{path}', line {number}: '{line.strip()}' is not five numbers column,row,x,y,z")
        if not (0 <= row[0] <= size[1] and 0 <= row[1] <= size[0]):
            raise DataError(
                f"'{path}', line {number}: column {row[0]:g}, row {row[1]:g} is outside the picture, {size[0]} high "
                f"and {size[1]} wide"
            )
        numbers.append(number)
        rows.append(row)
    values = np.array(rows).reshape(-1, 5)
    return numbers, values[:, :2].copy(), values[:, 2:].copy()
