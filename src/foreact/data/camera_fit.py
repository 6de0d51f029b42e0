"""From points whose place is known, and the pixels that show them, to a camera's intrinsics and pose (OpenCV).

Pixels are this package's: (0, 0) covers [0, 1) x [0, 1). OpenCV's have their middle at whole numbers, half a pixel
less. Where it only computes with pixels and a principal point, both may be of either kind; corners that it finds in
a picture are of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from foreact.data.calibration import Intrinsics
from foreact.errors import DataError
from foreact.records import Calibration
from foreact_runtime.kinematics import quaternion_matrix

_NARROWEST, _WIDEST = 10.0, 0.2
"""Focal lengths, in widths of the picture, between which a fit looks: 6 and 136 degrees across."""
_SCAN = 60
_LEAST_TILT = np.radians(10.0)
"""Between board and picture in at least one picture: a board that is never tilted looks alike near a short lens and
far from a long one."""


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """How far a calibration is from what it was fitted to."""

    pixels: np.ndarray
    """(N,) distance in the picture."""
    metres: np.ndarray
    """(N,) distance at the point's height, where the ray through its pixel comes; nan where it does not."""

    @property
    def rms(self) -> float:
        """Root of the mean square [pixels]."""
        return float(np.sqrt(np.mean(self.pixels**2)))

    @property
    def worst(self) -> int:
        """Number of the point that is farthest off in the picture."""
        return int(np.argmax(self.pixels))


def fit_pose(points: np.ndarray, pixels: np.ndarray, intrinsics: Intrinsics) -> Calibration:
    """Find where a camera stands that projects as is known.

    Args:
        points: In the base (N, 3) [m], at least 4 in a plane or 6 in general.
        pixels: Columns and rows (N, 2) that show them.
        intrinsics: The camera's.

    Raises:
        DataError: If the points are too few or in a line, or no camera sees them there.
    """
    _check(points)
    found = _pose(points, pixels, intrinsics)
    if found is None:
        raise DataError("no camera sees these points at these pixels; check that column and row are not exchanged")
    position, turn, _ = found
    return intrinsics.at(position, turn)


def fit_pose_and_focal(points: np.ndarray, pixels: np.ndarray, size: tuple[int, int]) -> Calibration:
    """Find where a camera stands, and its focal length; the principal point is taken to be the middle.

    The best pose is found for each of many focal lengths, then the focal length between the best ones, so that no
    first guess can lead astray.

    Args:
        points: In the base (N, 3) [m], at least 4 in a plane or 6 in general.
        pixels: Columns and rows (N, 2) that show them.
        size: Height and width of the picture [pixels].

    Raises:
        DataError: Like `fit_pose`, and if the best focal length is at an end of those that are tried.
    """
    _check(points)

    def error(log_focal: float) -> float:
        found = _pose(points, pixels, simple_intrinsics(float(np.exp(log_focal)), size))
        return np.inf if found is None else found[2]

    scan = np.log(size[1]) + np.linspace(np.log(_WIDEST), np.log(_NARROWEST), _SCAN)
    errors = [error(log_focal) for log_focal in scan]
    best = int(np.argmin(errors))
    if np.isfinite(errors[best]) and best in (0, _SCAN - 1):
        raise DataError(
            f"these points and pixels fit a focal length of {np.exp(scan[best]):.0f} pixels best, the "
            f"{'shortest' if best == 0 else 'longest'} that is tried, which no common camera has: check the points, "
            "add some higher above the table, tilt the camera, or give --focal"
        )
    low, high = scan[max(best - 1, 0)], scan[min(best + 1, _SCAN - 1)]
    for _ in range(60):  # ternary search; 60 steps leave (2/3)**60 = 3e-11 of the interval
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if error(left) < error(right) else (left, high)
    return fit_pose(points, pixels, simple_intrinsics(float(np.exp((low + high) / 2)), size))


def simple_intrinsics(focal: float, size: tuple[int, int]) -> Intrinsics:
    """Return the intrinsics of a camera without distortion and with its axis in the picture's middle."""
    return Intrinsics(size=size, focal=(focal, focal), center=(size[1] / 2, size[0] / 2))


def residuals(calibration: Calibration, points: np.ndarray, pixels: np.ndarray) -> Residuals:
    """Return how far a camera's projection is from the pixels (N, 2) of points (N, 3), and the rays from the points."""
    turn = quaternion_matrix(calibration.quaternion)
    position = np.array(calibration.position)
    matrix, distortion = _opencv(calibration)
    projected, _ = cv2.projectPoints(points, cv2.Rodrigues(turn.T)[0], -turn.T @ position, matrix, distortion)
    flat = cv2.undistortPoints(pixels[:, None], matrix, distortion)[:, 0]
    rays = np.concatenate([flat, np.ones((len(flat), 1))], axis=1) @ turn.T
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = (points[:, 2] - position[2]) / rays[:, 2]
        met = position + distance[:, None] * rays
    metres = np.linalg.norm(met - points, axis=1)
    return Residuals(
        pixels=np.linalg.norm(projected[:, 0] - pixels, axis=1),
        metres=np.where((distance > 0) & np.isfinite(metres), metres, np.nan),
    )


def focal_uncertainty(calibration: Calibration, points: np.ndarray) -> float:
    """Return the relative standard deviation of a fitted focal length when each pixel is off by 1 in both directions.

    Infinite where the points do not tell it, as when a camera looks straight down on points of the table: then
    a longer lens higher up gives the same picture.
    """
    turn = quaternion_matrix(calibration.quaternion)
    matrix, distortion = _opencv(calibration)
    translation = -turn.T @ np.array(calibration.position)
    jacobian = cv2.projectPoints(points, cv2.Rodrigues(turn.T)[0], translation, matrix, distortion)[1]
    by_pose, by_focal = jacobian[:, :6], jacobian[:, 6] + jacobian[:, 7]
    by_pose = by_pose / np.linalg.norm(by_pose, axis=0)
    unexplained = by_focal - by_pose @ np.linalg.lstsq(by_pose, by_focal, rcond=None)[0]
    # What moves the pixels when the focal length changes and the pose follows as well as it can.
    sensitivity = float(np.linalg.norm(unexplained)) * calibration.focal[0]
    return 1.0 / sensitivity if sensitivity > 1e-9 else float("inf")


@dataclass(frozen=True, kw_only=True)
class Board:
    """A checkerboard by its inner corners."""

    columns: int
    rows: int
    square: float
    """Edge of a square [m]."""

    def points(self) -> np.ndarray:
        """Return the corners (columns * rows, 3) [m] in the board's frame: x along columns, y down the rows, z = 0."""
        row, column = np.mgrid[: self.rows, : self.columns]
        return self.square * np.stack([column, row, np.zeros_like(row)], axis=-1).reshape(-1, 3).astype(np.float64)

    def points_on_table(self, x: float, y: float, yaw: float, height: float) -> np.ndarray:
        """Return the corners (columns * rows, 3) [m] in the base when the board lies on the table, face up.

        Args:
            x: Of the origin corner [m].
            y: Of the origin corner [m].
            yaw: Angle [rad] about the vertical from the base's x axis to the direction of the columns.
            height: Of the board's face [m].
        """
        board = self.points()
        # Seen from above, rows go down when columns go to the right: a quarter turn clockwise.
        along, down = np.array([np.cos(yaw), np.sin(yaw)]), np.array([np.sin(yaw), -np.cos(yaw)])
        plane = np.array([x, y]) + board[:, :1] * along + board[:, 1:2] * down
        return np.concatenate([plane, np.full((len(plane), 1), height)], axis=1)

    def find(self, picture: np.ndarray) -> np.ndarray | None:
        """Return the corners' pixels (columns * rows, 2) in the order of `points`; None where no board is seen.

        The first corner is the one whose outer neighbour square is dark, with the next corners to its right and
        below it; with an odd and an even number of corners there is only one, otherwise there are two.

        Args:
            picture: Grey, uint8 (H, W).
        """
        flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY
        found, corners = cv2.findChessboardCornersSB(picture, (self.columns, self.rows), flags=flags)
        if not found:
            return None
        grid = corners.reshape(self.rows, self.columns, 2).astype(np.float64)
        along, down = (grid[:, -1] - grid[:, 0]).mean(axis=0), (grid[-1] - grid[0]).mean(axis=0)
        if along[0] * down[1] - along[1] * down[0] < 0:
            grid = grid[:, ::-1]  # a mirrored board
        middles = (grid[1:, 1:] + grid[1:, :-1] + grid[:-1, 1:] + grid[:-1, :-1]) / 4
        column, row = middles.round().astype(int).reshape(-1, 2).T
        shade = picture[row, column].astype(np.float64).reshape(self.rows - 1, self.columns - 1)
        sign = 1 - 2 * (np.indices(shade.shape).sum(axis=0) % 2)
        if (sign * shade).sum() > 0:  # the inner square at the first corner is as dark as the outer one
            grid = grid[::-1, ::-1]
        return grid.reshape(-1, 2) + 0.5


def fit_intrinsics(
    board: Board, corners: Sequence[np.ndarray], size: tuple[int, int], *, distortion: bool
) -> tuple[Intrinsics, np.ndarray]:
    """Find how a camera projects from several pictures of a board (Zhang 2000, as in OpenCV).

    Args:
        board: The board.
        corners: Its corners' pixels in each picture, as `Board.find` gives them.
        size: Height and width of the pictures [pixels].
        distortion: Fit k1, k2, p1 and p2 too; k3 stays 0, for it follows noise where no corner is near the edge.

    Returns:
        The intrinsics, and the error (N,) of each picture [pixels, root of mean square].

    Raises:
        DataError: If the pictures do not tell the focal length, as when the board lies flat to the camera in all.
    """
    height, width = size
    guess = np.array([[width, 0.0, width / 2], [0.0, width, height / 2], [0.0, 0.0, 1.0]])
    flags = cv2.CALIB_USE_INTRINSIC_GUESS | cv2.CALIB_FIX_K3
    if not distortion:
        flags |= cv2.CALIB_FIX_K1 | cv2.CALIB_FIX_K2 | cv2.CALIB_ZERO_TANGENT_DIST
    points = [board.points().astype(np.float32)] * len(corners)
    pixels = [of.astype(np.float32) for of in corners]
    _, matrix, coefficients, turns, _, _, _, errors = cv2.calibrateCameraExtended(
        points, pixels, (width, height), guess, np.zeros(5), flags=flags
    )
    (fx, _, cx), (_, fy, cy), _ = matrix.tolist()
    tilt = max(np.arccos(min(abs(cv2.Rodrigues(turn)[0][2, 2]), 1.0)) for turn in turns)
    if not (_WIDEST * width < min(fx, fy) <= max(fx, fy) < _NARROWEST * width and tilt > _LEAST_TILT):
        raise DataError("these pictures do not tell the focal length; add some of the board tilted by 20 to 40 degrees")
    intrinsics = Intrinsics(size=size, focal=(fx, fy), center=(cx, cy))
    if distortion:
        intrinsics = replace(intrinsics, distortion=tuple(float(value) for value in coefficients.ravel()[:5]))
    return intrinsics, errors[:, 0]


def _check(points: np.ndarray) -> None:
    if len(points) < 4:
        raise DataError(f"{len(points)} points are too few; 4 in a plane or 6 in general are needed, better 8 or more")
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if spread[1] < max(0.02 * spread[0], 1e-6):
        raise DataError("the points are in a line; add some beside it")
    if len(points) < 6 and spread[2] > 0.01 * spread[0]:
        raise DataError(f"{len(points)} points that are not in a plane are too few; give 6 or more")


def _pose(
    points: np.ndarray, pixels: np.ndarray, intrinsics: Intrinsics
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Position, matrix to the base and squared error [pixels^2] of the best pose that has all points in front."""
    matrix, distortion = _opencv(intrinsics)
    n, turns, translations, _ = cv2.solvePnPGeneric(points, pixels, matrix, distortion, flags=cv2.SOLVEPNP_SQPNP)
    best: tuple[np.ndarray, np.ndarray, float] | None = None
    for guess_turn, guess_translation in zip(turns[:n], translations[:n], strict=True):
        turn, translation = cv2.solvePnPRefineLM(points, pixels, matrix, distortion, guess_turn, guess_translation)
        to_camera = cv2.Rodrigues(turn)[0]
        if not np.all((points @ to_camera.T + translation.T)[:, 2] > 0):
            continue
        projected, _ = cv2.projectPoints(points, turn, translation, matrix, distortion)
        error = float(np.square(projected[:, 0] - pixels).sum())
        if best is None or error < best[2]:
            best = (-to_camera.T @ translation)[:, 0], to_camera.T, error
    return best


def _opencv(camera: Calibration | Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    (fx, fy), (cx, cy) = camera.focal, camera.center
    matrix = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    return matrix, np.array(camera.distortion or np.zeros(5))
