"""The network's parts as people name them: which parameter belongs to which, in the order of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from foreact.model.act import ACT


@dataclass(frozen=True)
class Part:
    """A part of the network; parts of one box are drawn together."""

    box: str
    """`backbone`, `CVAE encoder`, `encoder`, ..."""
    layer: str = ""
    """`layer 1`, `stage 1`; empty where the box is one part."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.box}, {self.layer}" if self.layer else self.box


VAE, BACKBONE, ENCODER, DECODER = "CVAE encoder", "backbone", "encoder", "decoder"
LATENT_HEAD = "latent head"
"""The CVAE encoder's last layer, where the KL term begins."""
KL = "KL"
"""The weighted KL term among the loss's."""
_WHOLE = {
    "latent_proj": "latent projection",
    "state_proj": "state projection",
    "environment_proj": "coordinate projection",
    "image_proj": "picture projection",
    "vector_position": "positions of the vectors",
    "camera_embedding": "camera embedding",
    "queries": "queries",
    "action_head": "action head",
    "films": "FiLM",
    "strong": "strong coordinate",
    "world": "world positions",
    "cue_head": "coordinate head",
}
"""By the first word of a parameter's name."""


def parts_of(model: ACT) -> dict[Part, dict[str, nn.Parameter]]:
    """Return the parameters by part and name; every parameter is in one part."""
    parts: dict[Part, dict[str, nn.Parameter]] = {}
    depth = _vit_depth(model)
    for name, parameter in model.named_parameters():
        parts.setdefault(_part(model, name, depth), {})[name] = parameter
    return parts


def _part(model: ACT, name: str, vit_depth: int) -> Part:
    first, *rest = name.split(".")
    if first == "backbones":
        cameras = model.features.cameras
        box = BACKBONE if model.config.shared_backbone else f"{BACKBONE} of {cameras[int(rest[0])].name}"
        return Part(box, _stage(rest[1:], vit_depth))
    if first == "vae_encoder":
        if rest[:2] == ["encoder", "layers"]:
            return Part(VAE, f"layer {int(rest[2]) + 1}")
        return Part(VAE, LATENT_HEAD if rest[0] == "latent_head" else "inputs")
    if first in (ENCODER, DECODER):
        return Part(first, f"layer {int(rest[1]) + 1}" if rest[0] == "layers" else "norm")
    return Part(_WHOLE[first])


def _stage(names: list[str], vit_depth: int) -> str:
    """A ResNet's or the small network's stage, or a quarter of a vision transformer's blocks."""
    if names[0].startswith("layer"):
        return f"stage {names[0].removeprefix('layer')}"
    if names[0] == "stages":
        return f"stage {int(names[1]) + 1}"
    if "blocks" in names:
        return f"stage {4 * int(names[names.index('blocks') + 1]) // vit_depth + 1}"
    return "last norm" if "norm" in names else "stem"


def _vit_depth(model: ACT) -> int:
    blocks = {name.split(".blocks.")[1].split(".")[0] for name, _ in model.named_parameters() if ".blocks." in name}
    return max(1, len(blocks))


def explained(model: ACT) -> Mapping[str, str]:
    """Return the parameters that cannot have a gradient, each with the reason."""
    config = model.config
    empty = (
        "the first decoder layer's self-attention has only empty contents to attend to, in the paper, its code and here"
    )
    first = "norm1.weight" if config.pre_norm else "self_attention.in_proj_weight"
    reasons = {f"decoder.layers.0.{first}": empty}
    attention = model.decoder.layers[0].get_submodule("self_attention")
    if not attention.get_parameter("in_proj_bias").any():
        untrained = "before the first step the first decoder layer's contents are exactly 0"
        names = ("self_attention.in_proj_weight", "self_attention.out_proj.weight", "norm1.weight")
        reasons = {f"decoder.layers.0.{name}": untrained for name in names} | reasons
    if not config.use_vae:
        reasons["latent_proj.weight"] = "without a CVAE the latent is always 0"
    if config.auxiliary_from == "cue_token":
        reasons["cue_head.score.weight"] = "among one token there is nothing to choose"
    return reasons
