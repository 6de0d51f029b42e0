"""Depth as integers in a video and back to metres: LeRobot's quantiser, which is BEHAVIOR's (FORMATS.md 1.6, 4.8)."""

from __future__ import annotations

from functools import cache

import numpy as np

from foreact.data.lerobot_info import DepthCode


def decode_depth(codes: np.ndarray, code: DepthCode) -> np.ndarray:
    """Return depth in metres, float32, of the codes' shape.

    Args:
        codes: Integers; above `code.max_code`, where a lossy video may overshoot, they count as that.
        code: The map that was used; depth = near at 0, far at the largest, evenly spaced in ln(depth + shift) or in
            depth.
    """
    return np.take(depth_levels(code), codes, mode="clip")


def encode_depth(metres: np.ndarray, code: DepthCode) -> np.ndarray:
    """Return depth as codes, uint16, the inverse of `decode_depth` to within half a code.

    What is nearer than `code.near`, as 0 and NaN for "not measured" are, or farther than `code.far` becomes the nearest
    code.
    """
    depth = np.clip(np.nan_to_num(metres.astype(np.float64)), code.near, code.far)
    if code.use_log:
        low, high = np.log(code.near + code.shift), np.log(code.far + code.shift)
        share = (np.log(depth + code.shift) - low) / (high - low)
    else:
        share = (depth - code.near) / (code.far - code.near)
    return np.rint(share * code.max_code).astype(np.uint16)


def resize_depth(metres: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a depth map (H, W) in another size by the nearest pixel: a mean across an edge is a depth of nothing."""
    rows, columns = (
        ((np.arange(size) + 0.5) * of / size).astype(int)
        for size, of in ((height, metres.shape[0]), (width, metres.shape[1]))
    )
    return metres[rows[:, None], columns]


@cache
def depth_levels(code: DepthCode) -> np.ndarray:
    """Return the depth [m] of each code, float32: one logarithm a code instead of one a pixel."""
    share = np.arange(code.max_code + 1) / code.max_code
    if not code.use_log:
        return (code.near + share * (code.far - code.near)).astype(np.float32)
    low, high = np.log(code.near + code.shift), np.log(code.far + code.shift)
    return (np.exp(low + share * (high - low)) - code.shift).astype(np.float32)
