"""What the decoder attends to, beside what the interventions show: attention is not use (diagnose/attention.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from foreact.diagnose.attention import attention_weights, token_groups
from foreact.errors import ConfigError
from foreact.model.transformer import Attention
from foreact.policy.observation import read_observations
from foreact.policy.policy import Policy
from foreact.studio.drawing import Cells
from foreact.studio.shelf import SharedPolicy


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraAttention:
    """The attention to one picture as the network gets it."""

    camera: str
    picture: np.ndarray
    """uint8 (H, W, 3), spread to the full range."""
    weights: np.ndarray
    """(h, w) by cell of the feature map, mean over heads and the chunk's steps; a share of all attention."""
    cells: Cells
    """Around the middle of what each cell sees: some reach over the picture's edge."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionSeen:
    """Where the last decoder layer's attention goes."""

    cameras: tuple[CameraAttention, ...]
    shares: Mapping[str, float]
    """By input: latent, state, coordinate where it has tokens of its own, and each camera; they add up to 1."""


def attention_seen(shared: SharedPolicy, observation: Mapping[str, np.ndarray]) -> AttentionSeen:
    """Look into the network while it answers to one observation.

    Raises:
        ConfigError: If the policy is a bundle, into which one cannot look.
    """
    policy = shared.policy
    if not isinstance(policy, Policy):
        raise ConfigError("attention cannot be seen in a bundle; give the studio the run")
    network = policy.predictor.network
    layers = list(network.decoder.layers)
    cross = layers[-1].cross_attention
    assert isinstance(cross, Attention)
    kept: list[torch.Tensor] = []

    def look(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        kept.append(attention_weights(cross, arguments[0], arguments[1]).mean(dim=(0, 1, 2)))

    with shared.asking, torch.inference_mode():
        raw = read_observations([observation], policy.features).to(policy.device)
        handle = cross.register_forward_pre_hook(look)
        try:
            policy.predict(raw)
        finally:
            handle.remove()
        pictures = policy.inputs.prepare(raw, cells=network.cell_middles).images
    paid = {group: kept[0].cpu()[tokens].numpy() for group, tokens in token_groups(network).items()}
    cameras, middles = [], network.cell_middles()
    for name, size in network.feature_sizes.items():
        mean, std = policy.inputs.normalizer.colours(name)
        picture = _picture((pictures[name][0, :3].float() * std + mean).cpu().numpy())
        cells = _around(middles[name][0].numpy(), network.strides[name])
        cameras.append(CameraAttention(camera=name, picture=picture, weights=paid[name].reshape(size), cells=cells))
    return AttentionSeen(cameras=tuple(cameras), shares={group: float(of.sum()) for group, of in paid.items()})


def _around(first: np.ndarray, stride: int) -> Cells:
    """Return the cells around their middles, the first of which is given (2,)."""
    column, row = first - stride / 2
    return Cells(corner=(float(column), float(row)), size=(stride, stride))


def _picture(colours: np.ndarray) -> np.ndarray:
    """Colours in 0..1 (3, H, W) as a picture, uint8 (H, W, 3)."""
    return (255 * colours).clip(0, 255).round().astype(np.uint8).transpose(1, 2, 0)
