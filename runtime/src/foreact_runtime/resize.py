"""Pictures in another size, as in training: bilinear with antialiasing, in the arithmetic of torchvision's uint8.

Along each axis a pixel of the result is a weighted mean of those it covers; the weights fall off linearly. Colours are
whole numbers: the weights are rounded to so many bits that the largest fits in 16, and the result is rounded after
each axis, columns first. `foreact.data.images` does the same inside an exported network.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

ArrayT = TypeVar("ArrayT", bound=Any)
"""NumPy arrays or tensors."""

_MOST_BITS = 22
"""PyTorch's and Pillow's bound, so that sums fit in 32 bits."""


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a picture uint8 (H, W, 3), or a depth map float32 (H, W), in another height and width."""
    if picture.shape[:2] == size:
        return picture
    down, across = (weights(*of) for of in zip(picture.shape, size, strict=False))
    if picture.dtype != np.uint8:
        return (down @ picture.astype(np.float64) @ across.T).astype(np.float32)
    columns = rounded_sums(np.einsum("hwc,vw->hvc", picture.astype(np.float32), whole(across), optimize=True), across)
    return rounded_sums(np.einsum("hvc,uh->uvc", columns, whole(down), optimize=True), down).astype(np.uint8)


@lru_cache(maxsize=16)  # a camera has two; a client of a server may try any number
def weights(before: int, after: int) -> np.ndarray:
    """Return how much each pixel of an axis counts for each of the result, float64 (after, before); rows sum to 1."""
    scale = before / after
    reach = max(scale, 1.0)
    middle = (np.arange(after) + 0.5) * scale
    distance = np.abs(np.arange(before) + 0.5 - middle[:, None]) / reach
    share = np.maximum(0, 1 - distance)
    return share / share.sum(axis=1, keepdims=True)


def bits(of: np.ndarray) -> int:
    """Return by how many bits weights are shifted to be whole numbers: the largest must stay below 2^15."""
    largest = of.max()
    return next((n for n in range(_MOST_BITS) if 0.5 + largest * (1 << (n + 1)) >= 1 << 15), _MOST_BITS)


def whole(of: np.ndarray) -> np.ndarray:
    """Return weights as whole numbers, float32: so many `bits` larger."""
    return np.floor(of * (1 << bits(of)) + 0.5).astype(np.float32)


def rounded_sums(sums: ArrayT, of: np.ndarray) -> ArrayT:
    """Return sums made with whole weights, an array or a tensor, as whole numbers 0..255."""
    n = bits(of)
    return ((sums + float(1 << (n - 1))) // float(1 << n)).clip(0, 255)
