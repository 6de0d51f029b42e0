"""Fixed sinusoidal positions: one axis for the CVAE's sequence, two axes for feature maps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE = 10000.0
_EPS = 1e-6


def sinusoid_1d(length: int, dim: int) -> Tensor:
    """Return positions 0, 1, .. as codes (L, D): sines in even dimensions, cosines in odd ones.

    Source: Vaswani et al. 2017 (arXiv:1706.03762), Sec. 3.5.
    """
    return _waves(torch.arange(length, dtype=torch.float64), dim).float()


def sinusoid_2d(height: int, width: int, dim: int) -> Tensor:
    """Return codes (H*W, D) of a feature map's cells in row-major order; the y half comes before the x half.

    Cell k of n along an axis stands at 2 pi k / n, counted from 1, so that the last one is at 2 pi in a map of any
    size.

    Args:
        height: Rows of the feature map.
        width: Columns of the feature map.
        dim: D, a multiple of 4.

    Source: Carion et al. 2020 (arXiv:2005.12872), DETR's `PositionEmbeddingSine` with `normalize=True`.
    """
    y = _waves(_normalised(height), dim // 2)[:, None].expand(height, width, dim // 2)
    x = _waves(_normalised(width), dim // 2)[None, :].expand(height, width, dim // 2)
    return torch.cat([y, x], dim=-1).reshape(height * width, dim).float()


def _normalised(n: int) -> Tensor:
    return torch.arange(1, n + 1, dtype=torch.float64) / (n + _EPS) * 2 * math.pi


def _waves(position: Tensor, dim: int) -> Tensor:
    """Return (N, dim) for positions (N,): dimensions 2i and 2i + 1 are sine and cosine of p / T^(2i / dim)."""
    frequency = TEMPERATURE ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    angle = position[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
