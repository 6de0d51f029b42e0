"""Vision transformers of timm as backbones: their patch tokens laid out as a feature map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from foreact.config import PolicyConfig
from foreact.errors import ConfigError, MissingExtraError
from foreact.model.backbone_base import Backbone, widened
from foreact.model.film import Modulation

_ARCHITECTURES: Mapping[str, str] = {
    "vit_base": "vit_base_patch16_224.dino",
    "dinov2_small": "vit_small_patch14_dinov2.lvd142m",
}
"""timm's names; after the point, which of its weights "imagenet" means: both were trained without labels (DINO on
ImageNet, arXiv:2104.14294; DINOv2 on LVD-142M, arXiv:2304.07193) and expect ImageNet's channel statistics, as ours."""
_N_STAGES = 4
_LAYER_SCALE = 0.1
_PREFIX = "vit."


class ViTBackbone(Backbone):
    """A plain vision transformer; class and register tokens take part and are dropped at the end.

    Pictures of any size: its learned positions are interpolated to the grid of patches, and a picture that is not
    a multiple of the patch gets zeros (the mean colour) at the right and below. FiLM acts after each quarter of the
    blocks. DINOv2's scales on the residual branches start at 0.1 instead of its 1e-5, with which random weights of
    12 blocks would hardly learn (Touvron et al. 2021, arXiv:2103.17239, Sec. 2); a loaded file replaces them.

    Sources: Dosovitskiy et al. 2020 (arXiv:2010.11929); Oquab et al. 2023 (arXiv:2304.07193).
    """

    stem_name = f"{_PREFIX}patch_embed.proj.weight"

    def __init__(self, config: PolicyConfig, in_channels: int) -> None:
        """Build with random weights.

        Raises:
            ConfigError: If a norm for convolutions is asked for.
            MissingExtraError: If timm is not installed.
        """
        super().__init__()
        if config.backbone_norm != "frozen":
            raise ConfigError(
                f"policy.backbone_norm '{config.backbone_norm}' is for convolutions; '{config.vision_backbone}' has "
                "layer norms of its own: leave policy.backbone_norm at 'frozen'"
            )
        options = {"init_values": _LAYER_SCALE} if config.vision_backbone == "dinov2_small" else {}
        name = _ARCHITECTURES[config.vision_backbone]
        self.vit = _timm().create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True, **options)
        self.vit.patch_embed.proj = widened(self.vit.patch_embed.proj, in_channels)
        self.out_channels = self.vit.embed_dim
        self.stage_channels = (self.vit.embed_dim,) * _N_STAGES
        self.stride = self.vit.patch_embed.patch_size[0]
        self.first_middle = self.stride / 2

    def forward(self, image: Tensor, modulations: Sequence[Modulation] | None = None) -> Tensor:
        """Return (B, 768, H/16, W/16) for vit_base and (B, 384, H/14, W/14) for dinov2_small."""
        height, width = self.feature_size(*image.shape[-2:])
        right, below = width * self.stride - image.shape[-1], height * self.stride - image.shape[-2]
        x = self.vit._pos_embed(self.vit.patch_embed(F.pad(image, (0, right, 0, below))))
        x = self.vit.norm_pre(x)
        blocks_a_stage = len(self.vit.blocks) // _N_STAGES
        for i, block in enumerate(self.vit.blocks):
            x = block(x)
            if modulations is not None and (i + 1) % blocks_a_stage == 0:
                gamma, beta = modulations[i // blocks_a_stage]
                x = x * gamma[:, None] + beta[:, None]
        patches = self.vit.norm(x)[:, self.vit.num_prefix_tokens :]
        return patches.transpose(1, 2).unflatten(2, (height, width))

    def renamed(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return weights named as by timm, as by DINO's and DINOv2's authors, or as in our own state dict.

        Positions for another grid of patches are interpolated.
        """
        if any(name.startswith(_PREFIX) for name in weights):
            return weights
        fitted: Mapping[str, Tensor] = _timm().models.vision_transformer.checkpoint_filter_fn(dict(weights), self.vit)
        return {_PREFIX + name: tensor for name, tensor in fitted.items()}


def download(name: str) -> Mapping[str, Tensor]:
    """Return the authors' weights of an architecture, downloaded once into PyTorch's cache.

    Raises:
        OSError: If they cannot be had.
        MissingExtraError: If timm is not installed.
    """
    url = _timm().get_pretrained_cfg(_ARCHITECTURES[name]).url
    return torch.hub.load_state_dict_from_url(url, map_location="cpu", progress=True, weights_only=True)


def _timm() -> ModuleType:
    """Import timm where it is needed: it takes seconds, and few policies want it."""
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("vit", "timm") from error
    return timm
