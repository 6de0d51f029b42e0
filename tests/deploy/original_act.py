"""The original ACT, written anew from its paper and its files' names (FORMATS.md 3): it saves what ours reads."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import FrozenBatchNorm2d


class Layer(nn.Module):
    """A transformer layer; with `cross` a decoder's, which also looks at a memory."""

    def __init__(self, dim: int, heads: int, hidden: int, pre_norm: bool, cross: bool) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads)
        if cross:
            self.multihead_attn = nn.MultiheadAttention(dim, heads)
            self.norm3 = nn.LayerNorm(dim)
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.pre_norm, self.cross = pre_norm, cross

    def forward(self, x: Tensor, pos: Tensor, memory: Tensor | None = None, memory_pos: Tensor | None = None) -> Tensor:
        def attend_self(y: Tensor) -> Tensor:
            return self.self_attn(y + pos, y + pos, y, need_weights=False)[0]

        def attend_memory(y: Tensor) -> Tensor:
            assert memory is not None
            assert memory_pos is not None
            return self.multihead_attn(y + pos, memory + memory_pos, memory, need_weights=False)[0]

        def feed_forward(y: Tensor) -> Tensor:
            return self.linear2(F.relu(self.linear1(y)))

        branches = [attend_self, attend_memory, feed_forward] if self.cross else [attend_self, feed_forward]
        for branch, norm in zip(branches, (self.norm1, self.norm2, getattr(self, "norm3", None)), strict=False):
            assert norm is not None
            x = x + branch(norm(x)) if self.pre_norm else norm(x + branch(x))
        return x


class Stack(nn.Module):
    def __init__(self, n: int, *, norm: bool, dim: int, heads: int, hidden: int, pre_norm: bool, cross: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(dim, heads, hidden, pre_norm, cross) for _ in range(n)])
        self.norm = nn.LayerNorm(dim) if norm else None


def grid_code(height: int, width: int, dim: int) -> Tensor:
    """DETR's sinusoids of a feature map, (dim, height, width): y first."""
    half = dim // 2
    period = 10000 ** (2 * (torch.arange(half) // 2) / half)

    def axis(n: int) -> Tensor:
        angle = (torch.arange(1, n + 1) / (n + 1e-6) * 2 * math.pi)[:, None] / period
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1)

    y, x = axis(height)[:, None].expand(-1, width, -1), axis(width)[None].expand(height, -1, -1)
    return torch.cat([y, x], dim=2).permute(2, 0, 1)


class OriginalACT(nn.Module):
    """`shared` sends all cameras through its only backbone, as the original code does; in ACT++ each has its own."""

    transformer: Any
    encoder: Any
    backbones: Any

    def __init__(
        self,
        *,
        cameras: int,
        chunk: int = 6,
        dim: int = 32,
        heads: int = 4,
        hidden: int = 48,
        encoder_layers: int = 2,
        decoder_layers: int = 3,
        latent: int = 8,
        state: int = 14,
        action: int = 14,
        pre_norm: bool = False,
        shared: bool = True,
        bottlenecks: bool = False,
        dilation: bool = False,
    ) -> None:
        super().__init__()
        sizes: dict[str, Any] = {"dim": dim, "heads": heads, "hidden": hidden, "pre_norm": pre_norm}
        self.transformer = nn.Module()
        self.transformer.encoder = Stack(encoder_layers, norm=pre_norm, cross=False, **sizes)
        self.transformer.decoder = Stack(decoder_layers, norm=True, cross=True, **sizes)
        self.encoder = Stack(encoder_layers, norm=pre_norm, cross=False, **sizes)
        self.action_head, self.is_pad_head = nn.Linear(dim, action), nn.Linear(dim, 1)
        self.query_embed = nn.Embedding(chunk, dim)
        self.input_proj = nn.Conv2d(2048 if bottlenecks else 512, dim, 1)
        self.input_proj_robot_state = nn.Linear(state, dim)
        self.cls_embed = nn.Embedding(1, dim)
        self.encoder_action_proj, self.encoder_joint_proj = nn.Linear(action, dim), nn.Linear(state, dim)
        self.latent_proj, self.latent_out_proj = nn.Linear(dim, 2 * latent), nn.Linear(latent, dim)
        self.additional_pos_embed = nn.Embedding(2, dim)
        self.register_buffer("pos_table", torch.zeros(1, 2 + chunk, dim))
        make = resnet50 if bottlenecks else resnet18
        self.backbones = nn.ModuleList()
        for _ in range(1 if shared else cameras):
            joiner: Any = nn.Sequential(nn.Module())
            net = make(norm_layer=FrozenBatchNorm2d, replace_stride_with_dilation=[False, False, dilation])
            joiner[0].body = IntermediateLayerGetter(net, {"layer4": "0"})
            self.backbones.append(joiner)
        self.shared, self.latent = shared, latent

    def forward(self, state: Tensor, images: Tensor) -> Tensor:
        """Chunks (B, T, A) for normalised states (B, S) and pictures (B, cameras, 3, H, W)."""
        sources, positions = [], []
        for camera in range(images.shape[1]):
            body = self.backbones[0 if self.shared else camera][0].body
            features = self.input_proj(body(images[:, camera])["0"])
            sources.append(features)
            _, dim, height, width = features.shape
            positions.append(grid_code(height, width, dim))
        # All cameras side by side, then row by row.
        source, grid = torch.cat(sources, dim=3).flatten(2).permute(2, 0, 1), torch.cat(positions, dim=2).flatten(1).T
        latent = self.latent_out_proj(torch.zeros(len(state), self.latent))
        x = torch.cat([torch.stack([latent, self.input_proj_robot_state(state)]), source])
        pos = torch.cat([self.additional_pos_embed.weight, grid])[:, None]
        for layer in self.transformer.encoder.layers:
            x = layer(x, pos)
        if self.transformer.encoder.norm is not None:
            x = self.transformer.encoder.norm(x)
        query = self.query_embed.weight[:, None]
        empty = torch.zeros(len(query), len(state), query.shape[2])
        first = self.transformer.decoder.layers[0](empty, query, x, pos)  # the others' output is thrown away
        return self.action_head(self.transformer.decoder.norm(first)).transpose(0, 1)
