"""Which vision backbone a configuration means, and with which weights: colour, RGB-D, with or without a cue map."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision import models

from foreact.config import PolicyConfig
from foreact.errors import ConfigError
from foreact.model.backbone_base import Backbone, widened_weight
from foreact.model.convolutional import ResNetBackbone, SmallCNN
from foreact.model.vit import ViTBackbone, download
from foreact.records import Camera

_log = logging.getLogger(__name__)

IMAGENET_WEIGHTS: Mapping[str, models.WeightsEnum] = {
    "resnet18": models.ResNet18_Weights.IMAGENET1K_V1,
    "resnet34": models.ResNet34_Weights.IMAGENET1K_V1,
    "resnet50": models.ResNet50_Weights.IMAGENET1K_V1,
}
_KINDS: Mapping[str, type[Backbone]] = {"cnn": SmallCNN, "vit_base": ViTBackbone, "dinov2_small": ViTBackbone}
"""The others are ResNets."""


def make_backbone(config: PolicyConfig, in_channels: int) -> Backbone:
    """Return a backbone for pictures of so many channels with the weights that the configuration asks for.

    Args:
        config: Says which backbone and which weights.
        in_channels: 3 for colour, one more for depth and one more for a map of the cue (`Camera.channels`).

    Raises:
        ConfigError: If a file of weights cannot be read or does not fit; the message names the first key.
    """
    return _build(config, in_channels, pretrained_weights(config))


def make_backbones(config: PolicyConfig, cameras: tuple[Camera, ...]) -> nn.ModuleList:
    """Return one backbone for all cameras, or one a camera in their order.

    Raises:
        ConfigError: If cameras of different channels would share one, or like `make_backbone`.
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

    "imagenet" takes torchvision's for a ResNet and the authors' for a vision transformer (`vit.py`), downloaded once
    into PyTorch's cache; where they cannot be had, one warning is logged and training starts from random weights.

    Raises:
        ConfigError: If a file cannot be read.
    """
    source, name = config.pretrained_backbone_weights, config.vision_backbone
    if source is None:
        return None
    if source != "imagenet":
        return _read_weights(Path(source))
    try:
        if _KINDS.get(name) is ViTBackbone:
            return download(name)
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
    backbone = _KINDS.get(config.vision_backbone, ResNetBackbone)(config, in_channels)
    if weights is not None:
        load_backbone(backbone, weights, source=str(config.pretrained_backbone_weights))
    return backbone


def load_backbone(backbone: Backbone, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Load weights with torchvision's names (timm's for a vision transformer) into a backbone.

    The classifier is left out. A stem for 3 channels fits a backbone for more. Group norm takes the batch norm's
    factors and offsets and has no use for its running statistics.

    Raises:
        ConfigError: If a weight is missing, superfluous or of another shape; the message names the first.
    """
    expected = backbone.state_dict()
    try:
        renamed = backbone.renamed(weights)
    except (KeyError, RuntimeError, ValueError) as error:  # positions that fit no grid, or half of another format
        raise ConfigError(f"backbone weights '{source}' are not a vision transformer's: {_one_line(error)}") from error
    given = {name: tensor for name, tensor in renamed.items() if name in expected or not _may_be_left_out(name)}
    for name in [*expected, *given]:
        if name not in expected:
            raise ConfigError(f"backbone weights '{source}': '{name}' is not a weight of this backbone")
        if name not in given:
            if name.endswith("num_batches_tracked"):  # counts steps; older files lack it
                given[name] = expected[name]
                continue
            raise ConfigError(f"backbone weights '{source}': '{name}' is missing")
        if name == backbone.stem_name and given[name].shape[1:2] == (3,):
            given[name] = widened_weight(given[name], expected[name].shape[1])
        if given[name].shape != expected[name].shape:
            found, wanted = tuple(given[name].shape), tuple(expected[name].shape)
            raise ConfigError(f"backbone weights '{source}': '{name}' has shape {found}, expected {wanted}")
    backbone.load_state_dict(given)


def _may_be_left_out(name: str) -> bool:
    """Say whether a weight is a classifier's, or a statistic that group norm has no use for."""
    classifier, statistics = ("fc.", "vit.head."), ("running_mean", "running_var", "num_batches_tracked")
    return name.startswith(classifier) or name.endswith(statistics)


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read a state dict without running any code that a file may hold."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the readers raise almost anything
        raise ConfigError(f"cannot read the backbone weights '{path}': {_one_line(error)}") from error
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ConfigError(f"the backbone weights '{path}' are not a state dict (names to tensors)")
    return content


def _one_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
