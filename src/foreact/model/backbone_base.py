"""What every vision backbone offers, and the first convolution that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from foreact.model.film import Modulation

_COLOURS = 3


class Backbone(nn.Module):
    """What every backbone offers: `forward`, `out_channels` (C'), where its cells are and its stages' channels."""

    out_channels: int
    stride: int
    """Pixels between two cells of the feature map, in both directions."""
    first_middle: float
    """Pixels from the picture's edge to the middle of what the first cell sees."""
    stage_channels: tuple[int, ...]
    """Channels after each stage: where FiLM acts."""
    stem_name: str
    """Name of the first convolution's weight, the only one that depends on the pictures' channels."""

    def feature_size(self, height: int, width: int) -> tuple[int, int]:
        """Return h and w for a picture's size; a last cell that is not full counts."""
        return -(-height // self.stride), -(-width // self.stride)

    def cell_middles(self, height: int, width: int) -> Tensor:
        """Return where each cell of a picture's feature map looks, row by row (h w, 2): column and row [pixel].

        The middle of its receptive field, from the picture's upper left corner; 0.5 is the first pixel's middle.
        """
        rows, columns = (self.first_middle + self.stride * torch.arange(n) for n in self.feature_size(height, width))
        return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).flatten(0, 1)

    def forward(self, image: Tensor, modulations: Sequence[Modulation] | None = None) -> Tensor:
        """Return the feature map (B, C', h, w) of normalised pictures (B, C, H, W).

        Args:
            image: Normalised pictures.
            modulations: FiLM's, one a stage; None leaves the feature maps as they are.
        """
        raise NotImplementedError

    def folded(self) -> Backbone:
        """Return the same function with what inference can compute once already computed: itself, unless there is any.

        The weights of the result are no longer those of training.
        """
        return self

    def renamed(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return a file's weights under this backbone's names: as they are, unless a class says otherwise."""
        return weights


class Stem(nn.Conv2d):
    """A convolution that sums the colours' products first and then each further channel's.

    A single sum over 4 channels would round differently from one over 3. So, as long as the further channels'
    weights are zero, the result is that of the colours alone, bit for bit.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        total = F.conv2d(input[:, :_COLOURS], weight[:, :_COLOURS], bias, self.stride, self.padding)
        for i in range(_COLOURS, self.in_channels):  # slices: of a split, ONNX leaves weights that NNCF cannot find
            further = F.conv2d(input[:, i : i + 1], weight[:, i : i + 1], None, self.stride, self.padding)
            total = total + further
        return total


def widened(conv: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    """Return a convolution over colours as one over more channels, whose weights start at zero."""
    if in_channels == _COLOURS:
        return conv
    stem = skip_init(  # draws no random numbers, which would change the rest of the network
        Stem,
        in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        bias=conv.bias is not None,
    )
    stem.weight, stem.bias = nn.Parameter(widened_weight(conv.weight.detach(), in_channels)), conv.bias
    return cast(nn.Conv2d, stem)


def widened_weight(weight: Tensor, in_channels: int) -> Tensor:
    """Return a convolution's weight (C', 3, k, k) as (C', in_channels, k, k): depth and map planes of zeros follow."""
    further = weight.new_zeros(weight.shape[0], in_channels - weight.shape[1], *weight.shape[2:])
    return torch.cat([weight, further], dim=1)
