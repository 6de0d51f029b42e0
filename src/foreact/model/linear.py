"""Products of tokens with weights, on the library that is fast on this processor.

PyTorch's CPU builds multiply matrices with Intel's MKL, which on AMD's processors leaves AVX-512 unused: half of what
they can do (docs/speed.md). oneDNN, which PyTorch has for its convolutions, does not, and offers the same product.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foreact.processor import is_amd

_FEW_ROWS = 16
"""Products with fewer rows take no time anyway, and oneDNN's preparations are longer than MKL's."""


class Linear(nn.Linear):
    """`nn.Linear` by way of `linear`, with the same weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., O) for (..., I)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return what `torch.nn.functional.linear` does, up to rounding.

    Args:
        x: (..., I).
        weight: (O, I).
        bias: (O,).
    """
    if not (ONEDNN_IS_FASTER and is_plain(x, weight) and x.numel() >= _FEW_ROWS * x.shape[-1]):
        return F.linear(x, weight, bias)
    if x.ndim != 2:
        return linear(x.flatten(0, -2), weight, bias).unflatten(0, x.shape[:-1])
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _OneDNNLinear.apply(x, weight, bias)
    return product(x, weight, bias)


class _OneDNNLinear(torch.autograd.Function):
    """Two dimensions each; the gradients are products too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        grad_x = product(grad, weight.mT) if needs_x else None
        grad_weight = product(grad.mT, x.mT) if needs_weight else None
        return grad_x, grad_weight, grad.sum(0) if needs_bias else None


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x weight^T + bias (N, O) for plain x (N, I) and weight (O, I); no gradient."""
    if not ONEDNN_IS_FASTER:
        return F.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(_dense(x), _dense(weight), bias, "none", [], "")


def _dense(matrix: Tensor) -> Tensor:
    """Return it with rows or columns next to each other: other strides make oneDNN a thousand times slower."""
    return matrix if matrix.is_contiguous() or matrix.mT.is_contiguous() else matrix.contiguous()


def is_plain(x: Tensor, weight: Tensor) -> bool:
    """Whether these are ordinary float32 tensors of the CPU, and nobody is looking who wants standard operators."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )


def _onednn_is_faster() -> bool:
    """Whether this is an AMD processor with AVX-512 and PyTorch offers oneDNN's product."""
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and is_amd()
    )


ONEDNN_IS_FASTER = _onednn_is_faster()
"""Decided once, by the processor and not by a stopwatch: a run's numbers must not depend on what else was running."""
