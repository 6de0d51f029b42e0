"""Dropout that does not cost more than the layers around it.

PyTorch's draws a 64-bit number for every element on a CPU, which for a sequence of 600 tokens takes longer than the
attention that it follows. Here one draw serves four elements: 16 bits each.
"""

from __future__ import annotations

from typing import Any

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
    """Return bool, False with probability `p`, drawn from PyTorch's global generator of the CPU."""
    return (_draws(shape.numel()) >= _lowest_kept(p)).view(shape)


def _draws(number: int) -> Tensor:
    """Return int16, all values as likely."""
    return torch.empty(-(-number // 4), dtype=torch.int64).random_(-(1 << 63), None).view(torch.int16)[:number]


def _lowest_kept(p: float) -> int:
    return _n_dropped(p) - _VALUES // 2


def kept_scale(p: float) -> float:
    """Return what kept elements are multiplied by: one over the probability that `keep_mask` really has."""
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
        for block in x.view(-1).split(_BLOCK):
            keep = torch.empty_like(block)
            torch.ge(_draws(len(block)), _lowest_kept(p), out=keep)
            block.clamp_min_(0).mul_(keep).mul_(ctx.scale)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (result,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(grad, result, 0).mul_(ctx.scale), None
