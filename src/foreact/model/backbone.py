"""Vision backbones: pictures (B, C, H, W) to feature maps (B, C', h, w), colour or RGB-D."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import FrozenBatchNorm2d

from foreact.config import BackboneNorm, PolicyConfig
from foreact.errors import ConfigError
from foreact.records import Camera

_log = logging.getLogger(__name__)

IMAGENET_WEIGHTS: Mapping[str, models.WeightsEnum] = {
    "resnet18": models.ResNet18_Weights.IMAGENET1K_V1,
    "resnet34": models.ResNet34_Weights.IMAGENET1K_V1,
    "resnet50": models.ResNet50_Weights.IMAGENET1K_V1,
}
_CNN_WIDTHS = (32, 64, 96, 128)


class Backbone(nn.Module):
    """What every backbone offers: `forward`, `out_channels` (C') and `stride`."""

    out_channels: int
    stride: int
    """Pixels between two cells of the feature map, in both directions."""

    def feature_size(self, height: int, width: int) -> tuple[int, int]:
        """Return h and w for a picture's size; a last cell that is not full counts."""
        return -(-height // self.stride), -(-width // self.stride)

    def forward(self, image: Tensor) -> Tensor:
        """Return the feature map (B, C', h, w) of normalised pictures (B, C, H, W)."""
        raise NotImplementedError


class ResNetBackbone(Backbone):
    """A torchvision ResNet up to its last stage, with torchvision's names for the weights (He et al. 2015)."""

    stride = 32

    def __init__(self, config: PolicyConfig, in_channels: int) -> None:
        """Build with random weights."""
        super().__init__()
        norm = _norm_layer(config.backbone_norm)
        net: ResNet = getattr(models, config.vision_backbone)(weights=None, norm_layer=norm)
        self.out_channels = net.fc.in_features
        self.conv1 = net.conv1
        self.bn1 = net.bn1
        self.maxpool = net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        if config.backbone_norm == "frozen":
            _init_without_statistics(self)
        self.conv1.weight, self.conv1.in_channels = _stem_weight(self.conv1.weight, in_channels), in_channels

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, 512, H/32, W/32), 2048 channels for resnet50."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(image)), inplace=True))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class SmallCNN(Backbone):
    """Four strided convolutions for pictures of about 96x96, made to train on a CPU: 96x96 gives 6x6 cells."""

    stride = 16
    out_channels = _CNN_WIDTHS[-1]

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
        convs[0].weight, convs[0].in_channels = _stem_weight(convs[0].weight, in_channels), in_channels
        self.stages = nn.Sequential(
            *(nn.Sequential(conv, norm(conv.out_channels), nn.ReLU(inplace=True)) for conv in convs)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, 128, H/16, W/16)."""
        return self.stages(image)


def make_backbone(config: PolicyConfig, in_channels: int) -> Backbone:
    """Return a backbone for pictures of 3 (colour) or 4 (RGB-D) channels with the weights that the configuration asks.

    Raises:
        ConfigError: If a file of weights cannot be read or does not fit; the message names the first key.
    """
    return _build(config, in_channels, pretrained_weights(config))


def make_backbones(config: PolicyConfig, cameras: tuple[Camera, ...]) -> nn.ModuleList:
    """Return one backbone for all cameras, or one a camera in their order.

    Raises:
        ConfigError: If colour and RGB-D cameras would share one, or like `make_backbone`.
    """
    if not cameras:
        return nn.ModuleList()
    channels = [camera.channels for camera in cameras]
    if config.shared_backbone and len(set(channels)) > 1:
        listed = ", ".join(f"'{camera.name}' has {camera.channels}" for camera in cameras)
        raise ConfigError(
            f"cameras with different channels cannot share a backbone: {listed}; "
            "set policy.shared_backbone or policy.use_depth to False"
        )
    weights = pretrained_weights(config)
    return nn.ModuleList([_build(config, n, weights) for n in channels[: 1 if config.shared_backbone else None]])


def pretrained_weights(config: PolicyConfig) -> Mapping[str, Tensor] | None:
    """Return the weights that the configuration asks for, or None for random ones.

    ImageNet weights come from torchvision, downloaded once into PyTorch's cache; where they cannot be had, one
    warning is logged and training starts from random weights.

    Raises:
        ConfigError: If a file cannot be read.
    """
    source, name = config.pretrained_backbone_weights, config.vision_backbone
    if source is None:
        return None
    if source != "imagenet":
        return _read_weights(Path(source))
    try:
        if name not in IMAGENET_WEIGHTS:
            raise LookupError(f"there are none for '{name}'")
        return IMAGENET_WEIGHTS[name].get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (LookupError, OSError, RuntimeError, EOFError, UnpicklingError) as error:
        _log.warning(
            "ImageNet weights of '%s' cannot be had (%s); training starts from random weights, which needs more data. "
            "Give a file with --policy.pretrained-backbone-weights, or None to say that random is meant",
            name,
            error,
        )
        return None


def _build(config: PolicyConfig, in_channels: int, weights: Mapping[str, Tensor] | None) -> Backbone:
    kind = SmallCNN if config.vision_backbone == "cnn" else ResNetBackbone
    backbone = kind(config, in_channels)
    if weights is not None:
        load_backbone(backbone, weights, source=str(config.pretrained_backbone_weights))
    return backbone


def load_backbone(backbone: Backbone, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Load weights with torchvision's names into a backbone.

    The classifier (`fc`) is left out. A stem for 3 channels fits a backbone for 4. Group norm takes the batch norm's
    factors and offsets and has no use for its running statistics.

    Raises:
        ConfigError: If a weight is missing, superfluous or of another shape; the message names the first.
    """
    expected = backbone.state_dict()
    stem = next(iter(expected))
    given = {name: tensor for name, tensor in weights.items() if name in expected or not _may_be_left_out(name)}
    for name in [*expected, *given]:
        if name not in expected:
            raise ConfigError(f"backbone weights '{source}': '{name}' is not a weight of this backbone")
        if name not in given:
            if name.endswith("num_batches_tracked"):  # counts steps; older files lack it
                given[name] = expected[name]
                continue
            raise ConfigError(f"backbone weights '{source}': '{name}' is missing")
        if name == stem and given[name].shape[1:2] == (3,):
            given[name] = _stem_weight(given[name], expected[name].shape[1])
        if given[name].shape != expected[name].shape:
            found, wanted = tuple(given[name].shape), tuple(expected[name].shape)
            raise ConfigError(f"backbone weights '{source}': '{name}' has shape {found}, expected {wanted}")
    backbone.load_state_dict(given)


def _may_be_left_out(name: str) -> bool:
    return name.startswith("fc.") or name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read a state dict without running any code that a file may hold."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the readers raise almost anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"cannot read the backbone weights '{path}': {reason}") from error
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ConfigError(f"the backbone weights '{path}' are not a state dict (names to tensors)")
    return content


def _stem_weight(weight: Tensor, in_channels: int) -> nn.Parameter:
    """Return the first convolution's weight with depth planes of zeros after its three colours.

    An RGB-D network therefore equals its RGB network until the first step.
    """
    depth = weight.new_zeros(weight.shape[0], in_channels - weight.shape[1], *weight.shape[2:])
    return nn.Parameter(torch.cat([weight.detach(), depth], dim=1))


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
