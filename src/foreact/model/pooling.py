"""The ResNet's first pooling with its ReLU: the least work and memory for the same numbers."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

_KERNEL, _STRIDE, _PADDING, _DILATION = [3, 3], [2, 2], [1, 1], [1, 1]


def max_pool_relu(x: Tensor) -> Tensor:
    """Return relu(x) pooled over 3x3 with stride 2, (B, C, H, W) to (B, C, H/2, W/2).

    torchvision takes the ReLU first, of four times as many numbers. The largest is the same before and after, and
    so is the gradient, which reaches the largest of each window if that is above 0. Of the way there only the places of
    the largest are kept, not the picture before, the largest tensor of the whole network: 314 MB for two cameras of
    480x640 and a batch of 8.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return cast(Tensor, _MaxPoolReLU.apply(x))
    return F.relu(F.max_pool2d(x, _KERNEL, _STRIDE, _PADDING), inplace=True)


class _MaxPoolReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        largest, places = torch.ops.aten.max_pool2d_with_indices(x, _KERNEL, _STRIDE, _PADDING)
        largest = F.relu(largest, inplace=True)
        ctx.save_for_backward(largest, places.int())
        ctx.shape = x.shape
        ctx.channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return largest

    @staticmethod
    def backward(ctx: Any, *of_outputs: Tensor) -> Tensor:
        largest, places = ctx.saved_tensors
        of_largest = torch.ops.aten.threshold_backward(of_outputs[0], largest, 0)
        order = torch.channels_last if ctx.channels_last else torch.contiguous_format
        like_x = torch.empty(ctx.shape, dtype=largest.dtype, device=largest.device, memory_format=order)  # never read
        return cast(
            Tensor,
            torch.ops.aten.max_pool2d_with_indices_backward(
                of_largest, like_x, _KERNEL, _STRIDE, _PADDING, _DILATION, False, places.long()
            ),
        )
