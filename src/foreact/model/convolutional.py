"""Convolutional backbones: torchvision's ResNets, and a small network for training on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import FrozenBatchNorm2d

from foreact.config import BackboneNorm, PolicyConfig
from foreact.model.backbone_base import Backbone, widened
from foreact.model.film import Modulation, modulate
from foreact.model.pooling import max_pool_relu

_CNN_WIDTHS = (32, 64, 96, 128)
_FEW_CELLS = 36
"""Larger maps are convolved with their channels last, which oneDNN does faster than the usual order, up to 4 times for
the first convolution and 17 times for the pooling after it (docs/speed.md); smaller ones, such as those of the last
stage for pictures of 96x96, are not."""

FIRST_MIDDLE = 0.5
"""A kernel of odd size whose padding is half of it stands on the pixels 0, stride, 2 stride, ..: half a cell before the
middles of equal tiles."""


def convolve(x: Tensor, conv: nn.Conv2d, norm: nn.Module) -> Tensor:
    """Return norm(conv(x)); a frozen norm is made part of the convolution before.

    The weights are thousands of times fewer than the numbers of a feature map, which so is written once, not three
    times.
    """
    if not isinstance(norm, FrozenBatchNorm2d):
        return cast(Tensor, norm(conv(x)))
    scale, shift = _scale_and_shift(norm)
    is_mixed = torch.is_autocast_enabled(x.device.type)  # whose casts autograd has to see
    if type(conv) is nn.Conv2d and torch.is_grad_enabled() and conv.weight.requires_grad and not is_mixed:
        return cast(Tensor, _ScaledConvolution.apply(x, conv.weight, scale, shift, conv))
    return conv._conv_forward(x, _scaled(conv.weight, scale), shift)


def _scale_and_shift(norm: FrozenBatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return what a frozen norm does to each channel."""
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale


def _scaled(weight: Tensor, scale: Tensor) -> Tensor:
    return weight * scale[:, None, None, None]


class _ScaledConvolution(torch.autograd.Function):
    """A convolution with scaled weights that makes them again on the way back instead of keeping them: 42 MB."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, conv: nn.Conv2d) -> Tensor:
        ctx.save_for_backward(x, weight, scale)
        ctx.conv = conv
        return conv._conv_forward(x, _scaled(weight, scale), shift)

    @staticmethod
    def backward(ctx: Any, *of_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        conv: nn.Conv2d = ctx.conv
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        of_x, of_scaled, _ = torch.ops.aten.convolution_backward(
            of_outputs[0], x, _scaled(weight, scale), None, conv.stride, conv.padding, conv.dilation, False, [0],
            conv.groups, wanted,
        )  # fmt: skip
        return of_x, None if of_scaled is None else of_scaled.mul_(scale[:, None, None, None]), None, None, None


class _BasicBlock(BasicBlock):
    """torchvision's, by way of `convolve`."""

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else convolve(x, *self.downsample)
        x = F.relu(convolve(x, self.conv1, self.bn1), inplace=True)
        return F.relu(convolve(x, self.conv2, self.bn2) + shortcut, inplace=True)


class _Bottleneck(Bottleneck):
    """torchvision's, by way of `convolve`."""

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else convolve(x, *self.downsample)
        x = F.relu(convolve(x, self.conv1, self.bn1), inplace=True)
        x = F.relu(convolve(x, self.conv2, self.bn2), inplace=True)
        return F.relu(convolve(x, self.conv3, self.bn3) + shortcut, inplace=True)


_RESNETS: Mapping[str, tuple[type[BasicBlock] | type[Bottleneck], list[int]]] = {
    "resnet18": (_BasicBlock, [2, 2, 2, 2]),
    "resnet34": (_BasicBlock, [3, 4, 6, 3]),
    "resnet50": (_Bottleneck, [3, 4, 6, 3]),
}


class ResNetBackbone(Backbone):
    """A torchvision ResNet up to its last stage, with torchvision's names for the weights (He et al. 2015)."""

    stem_name = "conv1.weight"
    first_middle = FIRST_MIDDLE

    def __init__(self, config: PolicyConfig, in_channels: int) -> None:
        """Build with random weights."""
        super().__init__()
        norm = _norm_layer(config.backbone_norm)
        block, n_blocks = _RESNETS[config.vision_backbone]
        dilated = config.backbone_dilation
        net = ResNet(block, n_blocks, norm_layer=norm, replace_stride_with_dilation=[False, False, dilated])
        self.stride = 16 if dilated else 32
        self.out_channels = net.fc.in_features
        self.stage_channels = tuple(self.out_channels // 2**i for i in (3, 2, 1, 0))
        self.conv1 = net.conv1
        self.bn1 = net.bn1
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        if config.backbone_norm == "frozen":
            _init_without_statistics(self)
        self.conv1 = widened(self.conv1, in_channels)

    def folded(self) -> ResNetBackbone:
        """Return a copy whose frozen norms are part of the convolutions once and for all."""
        copy = deepcopy(self)
        for block in (copy, *(block for block in copy.modules() if isinstance(block, BasicBlock | Bottleneck))):
            pairs = [(block, f"conv{i}", f"bn{i}") for i in (1, 2, 3) if hasattr(block, f"conv{i}")]
            if getattr(block, "downsample", None) is not None:
                pairs.append((block.downsample, "0", "1"))
            for owner, conv_name, norm_name in pairs:
                conv, norm = getattr(owner, conv_name), getattr(owner, norm_name)
                if isinstance(norm, FrozenBatchNorm2d):
                    scale, shift = _scale_and_shift(norm)
                    conv.weight, conv.bias = nn.Parameter(_scaled(conv.weight, scale)), nn.Parameter(shift)
                    setattr(owner, norm_name, nn.Identity())
        return copy.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor, modulations: Sequence[Modulation] | None = None) -> Tensor:
        """Return (B, 512, H/32, W/32); 2048 channels for resnet50, and (H/16, W/16) with dilation."""
        image = image.contiguous(memory_format=torch.channels_last)
        x = max_pool_relu(convolve(image, self.conv1, self.bn1))
        return _through((self.layer1, self.layer2, self.layer3, self.layer4), x, modulations)


class SmallCNN(Backbone):
    """Four strided convolutions for pictures of about 96x96, made to train on a CPU: 96x96 gives 6x6 cells."""

    stride = 16
    out_channels = _CNN_WIDTHS[-1]
    stage_channels = _CNN_WIDTHS
    stem_name = "stages.0.0.weight"
    first_middle = FIRST_MIDDLE

    def __init__(self, config: PolicyConfig, in_channels: int) -> None:
        """Build with random weights."""
        super().__init__()
        norm = _norm_layer(config.backbone_norm)
        convs = [
            nn.Conv2d(before, after, size, stride=2, padding=size // 2, bias=False)
            for before, after, size in zip((3, *_CNN_WIDTHS), _CNN_WIDTHS, (5, 3, 3, 3), strict=False)
        ]
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        convs[0] = widened(convs[0], in_channels)
        self.stages = nn.Sequential(
            *(nn.Sequential(conv, norm(conv.out_channels), nn.ReLU(inplace=True)) for conv in convs)
        )

    def forward(self, image: Tensor, modulations: Sequence[Modulation] | None = None) -> Tensor:
        """Return (B, 128, H/16, W/16)."""
        return _through(self.stages, image, modulations)


def _through(stages: Iterable[nn.Module], x: Tensor, modulations: Sequence[Modulation] | None) -> Tensor:
    for i, stage in enumerate(stages):
        if x.shape[-2:].numel() <= _FEW_CELLS:
            x = x.contiguous()
        x = stage(x)
        if modulations is not None:
            x = modulate(x, modulations[i])
    return x


def _norm_layer(norm: BackboneNorm) -> Callable[[int], nn.Module]:
    return {"frozen": FrozenBatchNorm2d, "batch": nn.BatchNorm2d, "group": _group_norm}[norm]


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(channels // 16, channels)


def _init_without_statistics(net: ResNetBackbone) -> None:
    """Make random weights usable with frozen batch norm, before a loaded state dict replaces them.

    Frozen statistics of a random network (mean 0, variance 1) normalise nothing: each residual sum would double the
    variance, 16 times the scale after ResNet-18 and 256 times after ResNet-50. So convolutions keep the scale of
    what comes in (He et al. 2015, arXiv:1502.01852, fan-in), and the n residual branches are scaled by 1/sqrt(n),
    which bounds the growth of the whole by sqrt(e). Zeroing the branches, usual where the norm trains, would
    switch them off for good.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    blocks = [module for module in net.modules() if isinstance(module, BasicBlock | Bottleneck)]
    for block in blocks:
        last = block.bn3 if isinstance(block, Bottleneck) else block.bn2
        last.weight.fill_(len(blocks) ** -0.5)
