"""Depth as integers in a video and back to metres: LeRobot's quantiser, which is BEHAVIOR's (FORMATS.md 1.6)."""

from __future__ import annotations

import numpy as np

from foreact.data.lerobot_info import DepthCode

MAX_CODE = 4095
"""12 bits."""


def decode_depth(codes: np.ndarray, code: DepthCode) -> np.ndarray:
    """Return depth in metres, float32, of the codes' shape.

    Args:
        codes: Integers 0..4095.
        code: The map that was used; depth = near at 0, far at 4095, evenly spaced in ln(depth + shift) or in depth.
    """
    share = codes.astype(np.float64) / MAX_CODE
    if not code.use_log:
        return (code.near + share * (code.far - code.near)).astype(np.float32)
    low, high = np.log(code.near + code.shift), np.log(code.far + code.shift)
    return (np.exp(low + share * (high - low)) - code.shift).astype(np.float32)
