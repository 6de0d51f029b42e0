"""Convolutional backbones: torchvision's ResNets, and a small network for training on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import FrozenBatchNorm2d

from foreact.config import BackboneNorm, PolicyConfig
from foreact.model.backbone_base import Backbone, widened
from foreact.model.film import Modulation, modulate

_CNN_WIDTHS = (32, 64, 96, 128)


class ResNetBackbone(Backbone):
    """A torchvision ResNet up to its last stage, with torchvision's names for the weights (He et al. 2015)."""

    stride = 32
    stem_name = "conv1.weight"

    def __init__(self, config: PolicyConfig, in_channels: int) -> None:
        """Build with random weights."""
        super().__init__()
        norm = _norm_layer(config.backbone_norm)
        net: ResNet = getattr(models, config.vision_backbone)(weights=None, norm_layer=norm)
        self.out_channels = net.fc.in_features
        self.stage_channels = tuple(self.out_channels // 2**i for i in (3, 2, 1, 0))
        self.conv1 = net.conv1
        self.bn1 = net.bn1
        self.maxpool = net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        if config.backbone_norm == "frozen":
            _init_without_statistics(self)
        self.conv1 = widened(self.conv1, in_channels)

    def forward(self, image: Tensor, modulations: Sequence[Modulation] | None = None) -> Tensor:
        """Return (B, 512, H/32, W/32), 2048 channels for resnet50."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(image)), inplace=True))
        return _through((self.layer1, self.layer2, self.layer3, self.layer4), x, modulations)


class SmallCNN(Backbone):
    """Four strided convolutions for pictures of about 96x96, made to train on a CPU: 96x96 gives 6x6 cells."""

    stride = 16
    out_channels = _CNN_WIDTHS[-1]
    stage_channels = _CNN_WIDTHS
    stem_name = "stages.0.0.weight"

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
