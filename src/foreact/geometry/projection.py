"""Points of the world to pixels and back, for calibrated cameras; in batches of tensors.

Pixel (0, 0) covers [0, 1) x [0, 1) at the top left. Lens distortion is OpenCV's (Brown 1971).
"""

from __future__ import annotations

import torch
from torch import Tensor

from foreact.records import Calibration
from foreact_runtime.kinematics import quaternion_matrix

Pose = tuple[Tensor, Tensor]
"""Positions (B, 3) [m] and orientations (B, 3, 3) in the base."""

_UNDISTORT_ITERATIONS = 10


def camera_pose(calibration: Calibration, hand: Pose | None, like: Tensor) -> Pose:
    """Return where a camera is in the base, (1, 3) and (1, 3, 3), or (B, ..) for one on the hand.

    Args:
        calibration: The camera's.
        hand: The hand's poses; needed for a camera on the hand only.
        like: Gives device and type.

    Raises:
        ValueError: If the camera is on the hand and no hand is given.
    """
    position = like.new_tensor(calibration.position)[None]
    turn = torch.as_tensor(quaternion_matrix(calibration.quaternion)).to(like)[None]
    if calibration.mounted_on == "base":
        return position, turn
    if hand is None:
        raise ValueError("a camera on the hand is where the hand is: give the hand's pose")
    hand_position, hand_turn = hand
    return hand_position + (hand_turn @ position[..., None])[..., 0], hand_turn @ turn


def project(
    calibration: Calibration, points: Tensor, size: tuple[int, int], hand: Pose | None = None
) -> tuple[Tensor, Tensor]:
    """Return the pixels (B, ..., 2), column and row, where a camera sees points, and whether they are in front of it.

    Args:
        calibration: The camera's.
        points: In the base (B, ..., 3) [m].
        size: Height and width of the picture [pixels]; the intrinsics are scaled to it.
        hand: The hand's poses for a camera on the hand.

    Returns:
        Pixels, which may lie outside the picture, and bool (B, ...); where a point is behind, its pixel means nothing.
    """
    position, turn = camera_pose(calibration, hand, points)
    batch, extra = len(points), points.ndim - 2
    position = position.view(-1, *[1] * extra, 3)
    turn = turn.view(-1, *[1] * extra, 3, 3)
    x, y, z = (turn.mT @ (points - position)[..., None])[..., 0].unbind(-1)
    in_front = z > 1e-6
    depth = z.clamp_min(1e-6)
    x, y = _distort(x / depth, y / depth, calibration.distortion)
    fx, fy, cx, cy = _intrinsics(calibration, size)
    assert len(x) == batch
    return torch.stack([fx * x + cx, fy * y + cy], -1), in_front


def are_in_view(calibration: Calibration, points: Tensor, size: tuple[int, int], hand: Pose | None = None) -> Tensor:
    """Return whether each point lies within the picture, bool (B, ...); arguments as of `project`."""
    pixels, in_front = project(calibration, points, size, hand)
    return in_front & (pixels >= 0).all(-1) & (pixels < pixels.new_tensor(size[::-1])).all(-1)


def plane_points(
    calibration: Calibration, pixels: Tensor, size: tuple[int, int], height: float, hand: Pose | None = None
) -> Tensor:
    """Return where the rays through pixels meet a horizontal plane: x and y [m], (B, N, 2); nan where they do not.

    Args:
        calibration: The camera's.
        pixels: Columns and rows (N, 2).
        size: Height and width of the picture [pixels].
        height: Of the plane in the base [m].
        hand: The hand's poses for a camera on the hand; B is 1 without.
    """
    position, turn = camera_pose(calibration, hand, pixels)
    fx, fy, cx, cy = _intrinsics(calibration, size)
    column, row = pixels.unbind(-1)
    x, y = _undistort((column - cx) / fx, (row - cy) / fy, calibration.distortion)
    rays = torch.stack([x, y, torch.ones_like(x)], -1) @ turn.mT  # (B, N, 3)
    down = rays[..., 2]
    distance = (height - position[:, None, 2]) / torch.where(down.abs() < 1e-9, torch.nan, down)
    points = position[:, None, :2] + distance[..., None] * rays[..., :2]
    return torch.where((distance > 0)[..., None], points, torch.nan)


def _intrinsics(calibration: Calibration, size: tuple[int, int]) -> tuple[float, float, float, float]:
    vertical, horizontal = size[0] / calibration.size[0], size[1] / calibration.size[1]
    return (
        calibration.focal[0] * horizontal,
        calibration.focal[1] * vertical,
        calibration.center[0] * horizontal,
        calibration.center[1] * vertical,
    )


def _distort(x: Tensor, y: Tensor, coefficients: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    if not coefficients:
        return x, y
    k1, k2, p1, p2, k3 = (*coefficients, 0.0, 0.0, 0.0, 0.0, 0.0)[:5]
    square = x * x + y * y
    radial = 1 + square * (k1 + square * (k2 + square * k3))
    return (
        x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x),
        y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
    )


def _undistort(x: Tensor, y: Tensor, coefficients: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Invert `_distort` by fixed-point iteration, as OpenCV does."""
    if not coefficients:
        return x, y
    guess_x, guess_y = x, y
    for _ in range(_UNDISTORT_ITERATIONS):
        bent_x, bent_y = _distort(guess_x, guess_y, coefficients)
        guess_x, guess_y = guess_x + x - bent_x, guess_y + y - bent_y
    return guess_x, guess_y
