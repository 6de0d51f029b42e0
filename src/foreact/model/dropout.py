"""Dropout that does not cost more than the layers around it.

PyTorch's draws a 64-bit number for every element on a CPU, which for a sequence of 600 tokens takes longer than the
attention that it follows. Here one draw serves four elements, 16 bits each, and comes from NumPy's SFC64, twice as fast
as PyTorch's Mersenne Twister. What is kept is a 1 among integers: PyTorch multiplies by those three times as fast as by
booleans.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_VALUES = 1 << 16
"""Of a 16-bit draw: a probability is met to 1/65536, and the scale is exact for what is met."""


_BLOCK = 1 << 18
"""Elements that are dropped at a time, so that what is drawn for them stays in the processor's cache. Divisible by
four: then the draws are those of the whole."""


class Dropout(nn.Module):
    """`nn.Dropout`, with the draws of `keep_mask` on a CPU."""

    def __init__(self, p: float) -> None:
        """Drop with probability `p`, in [0, 1)."""
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return x; in training some of its elements are 0 and the others larger, so that the mean stays."""
        if not self.training or self.p == 0:
            return x
        return _Dropout.apply(x, self.p) if _draws_here(x) else F.dropout(x, self.p)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"p={self.p}"


class ReluDropout(Dropout):
    """A rectifier and dropout after it. An element of the result is positive only where both let it through.

    So the gradient needs the result alone, which the next layer keeps anyway. What comes in is overwritten.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return dropout(relu(x))."""
        if self.training and self.p > 0 and _draws_here(x) and x.is_contiguous():
            return _ReluDropout.apply(x, self.p)
        return super().forward(F.relu(x, inplace=True))


def keep_mask(shape: torch.Size, p: float) -> Tensor:
    """Return int8, 0 with probability `p` and else 1; PyTorch's global generator of the CPU decides which."""
    keep = torch.empty(shape, dtype=torch.int8)
    source = _source()
    for block in keep.view(-1).split(_BLOCK):
        block.copy_(_kept(source, len(block), p))
    return keep


def _source() -> np.random.SFC64:
    """Return what is drawn from, at a place that PyTorch's generator says."""
    return np.random.SFC64(int(torch.randint(1 << 62, ())))


def _kept(source: np.random.SFC64, number: int, p: float) -> Tensor:
    """Return int16, 0 with probability `p` and else 1."""
    draws = torch.from_numpy(source.random_raw(-(-number // 4)).view(np.int16))[:number]
    return draws.ge_(_n_dropped(p) - _VALUES // 2)


def kept_scale(p: float) -> float:
    """Return what kept elements are multiplied by: one over the probability that `keep_mask` really keeps with."""
    return _VALUES / (_VALUES - _n_dropped(p))


def _n_dropped(p: float) -> int:
    return min(round(p * _VALUES), _VALUES - 1)


def _draws_here(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        ctx.scale = kept_scale(p)
        keep = keep_mask(x.shape, p)
        ctx.save_for_backward(keep)
        return (x * keep).mul_(ctx.scale)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return (grad * keep).mul_(ctx.scale), None


class _ReluDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        ctx.scale = kept_scale(p)
        ctx.mark_dirty(x)
        source = _source()
        for block in x.view(-1).split(_BLOCK):
            block.clamp_min_(0).mul_(_kept(source, len(block), p)).mul_(ctx.scale)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (result,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(grad, result, 0).mul_(ctx.scale), None
