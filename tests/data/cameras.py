"""A pinhole camera by hand, and pictures of a checkerboard by rays through every pixel: no OpenCV."""

from __future__ import annotations

import numpy as np

from foreact.data.calibration import quaternion_of
from foreact.records import Calibration

SIZE = (240, 320)


def turn_of(calibration: Calibration) -> np.ndarray:
    """Camera to base, from the quaternion by its definition: v' = v + 2 w (q x v) + 2 q x (q x v)."""
    w, q = calibration.quaternion[0], np.array(calibration.quaternion[1:])
    return np.stack([v + 2 * w * np.cross(q, v) + 2 * np.cross(q, np.cross(q, v)) for v in np.eye(3)], axis=1)


def bend(flat: np.ndarray, coefficients: tuple[float, ...]) -> np.ndarray:
    """Brown's distortion of points (N, 2) at distance 1."""
    if not coefficients:
        return flat
    k1, k2, p1, p2, k3 = coefficients
    x, y = flat.T
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    bent = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack(bent, axis=1)


def project(calibration: Calibration, points: np.ndarray) -> np.ndarray:
    """Pixels (N, 2) of points (N, 3) in the base."""
    in_camera = (points - calibration.position) @ turn_of(calibration)
    flat = bend(in_camera[:, :2] / in_camera[:, 2:], calibration.distortion)
    return flat * calibration.focal + calibration.center


def looking(
    position: tuple[float, float, float],
    target: tuple[float, float, float],
    *,
    roll: float = 0.0,
    focal: float = 330.0,
    center: tuple[float, float] = (160.0, 120.0),
    distortion: tuple[float, ...] = (),
) -> Calibration:
    """A camera that looks at a point, turned about its own axis [rad]."""
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross(forward, (-1.0, 0.1, 0.2))
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    right, down = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    return Calibration(
        size=SIZE,
        focal=(focal, focal),
        center=center,
        position=position,
        quaternion=quaternion_of(np.stack([right, down, forward], axis=1)),
        distortion=distortion,
    )


def picture_of_board(
    calibration: Calibration,
    origin: np.ndarray,
    along: np.ndarray,
    down: np.ndarray,
    *,
    columns: int = 9,
    rows: int = 6,
    square: float = 0.025,
    samples: int = 4,
) -> np.ndarray:
    """Grey picture uint8 (H, W) of a board: inner corners at origin + square * (column * along + row * down)."""
    height, width = calibration.size
    offsets = (np.arange(samples) + 0.5) / samples
    y, x = np.meshgrid(
        (np.arange(height)[:, None] + offsets).ravel(), (np.arange(width)[:, None] + offsets).ravel(), indexing="ij"
    )
    bent = (np.stack([x, y], axis=-1).reshape(-1, 2) - calibration.center) / calibration.focal
    flat = bent
    for _ in range(20):
        flat = flat + bent - bend(flat, calibration.distortion)
    rays = np.concatenate([flat, np.ones((len(flat), 1))], axis=1) @ turn_of(calibration).T
    normal = np.cross(along, down)
    distance = ((origin - calibration.position) @ normal) / (rays @ normal)
    on_board = calibration.position + distance[:, None] * rays - origin
    u, v = on_board @ along / square, on_board @ down / square
    dark = (np.floor(u) + np.floor(v)) % 2 == 0  # the square up and left of the first corner, (-1, -1), is dark
    squares = (u > -1) & (u < columns) & (v > -1) & (v < rows)
    paper = (u > -1.6) & (u < columns + 0.6) & (v > -1.6) & (v < rows + 0.6)
    grey = np.where(squares, np.where(dark, 30.0, 230.0), np.where(paper, 230.0, 140.0))
    return grey.reshape(height, samples, width, samples).mean(axis=(1, 3)).round().astype(np.uint8)
