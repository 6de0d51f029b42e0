"""The coordinates in the transformer: a strong embedding of the cue, and where on the table an image token looks."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from foreact.config import PolicyConfig
from foreact.model.linear import Linear

_CUE_WAVELENGTH = 8.0
"""Longest wave over normalised coordinates: no two within 4 standard deviations of the mean are alike."""
_REACH = 1.0
"""Metres. Table points further away than any arm here reaches are all alike: at the edge."""
_WORLD_WAVELENGTH = 4 * _REACH
_WORLD_BANDS = 7
"""Waves of 4 m down to 6 cm."""


def fourier_features(x: Tensor, bands: int, wavelength: float) -> Tensor:
    """Return sines and cosines (.., 2 bands K) of values (.., K); each band halves the wavelength.

    Args:
        x: Any unit.
        bands: Number of octaves.
        wavelength: Of the first band, in the unit of `x`.

    Source: Tancik et al. 2020 (arXiv:2006.10739), eq. 5, with the axis-aligned octaves of NeRF (arXiv:2003.08934,
    eq. 4); Tancik's random Gaussian frequencies mix the axes and need a scale to be tuned.
    """
    frequency = 2 * math.pi / wavelength * 2.0 ** torch.arange(bands, device=x.device, dtype=x.dtype)
    angle = (x[..., None] * frequency).flatten(-2)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


class StrongSignal(NamedTuple):
    """What the strong embedding gives the encoder."""

    tokens: Tensor
    """(B, n, D): tokens of their own."""
    additions: Tensor
    """(layers, B, 1, D): added to every token, image tokens included, before each layer."""


class StrongCue(nn.Module):
    """A wide embedding of the coordinates that no layer of the encoder can lose sight of.

    Raw values and Fourier features go through one hidden layer as wide as the model; from there come
    `strong_tokens` tokens and, for each encoder layer, a vector that is added to every token that enters it.
    """

    def __init__(self, config: PolicyConfig, environment_dim: int) -> None:
        """Build for normalised coordinates (B, E)."""
        super().__init__()
        dim = config.dim_model
        self.bands = config.strong_bands
        self.n_tokens = config.strong_tokens
        self.embedding = nn.Sequential(
            Linear(environment_dim * (1 + 2 * config.strong_bands), dim), nn.ReLU(), nn.LayerNorm(dim)
        )
        self.to_tokens = Linear(dim, config.strong_tokens * dim)
        self.to_layers = Linear(dim, config.n_encoder_layers * dim)
        self.position = nn.Parameter(torch.randn(config.strong_tokens, dim))

    def forward(self, cue: Tensor) -> StrongSignal:
        """Return tokens and additions for normalised coordinates (B, E)."""
        embedded = self.embedding(torch.cat([cue, fourier_features(cue, self.bands, _CUE_WAVELENGTH)], dim=-1))
        width = self.position.shape[-1]
        tokens = self.to_tokens(embedded).unflatten(-1, (-1, width))
        additions = self.to_layers(embedded).unflatten(-1, (-1, 1, width)).transpose(0, 1)
        return StrongSignal(tokens=tokens, additions=additions)


class WorldPosition(nn.Module):
    """Position codes from the table point that a cell looks at; the same code for the same point in every camera.

    The projection does not start at zero: with weights of the usual size the code is about half as large as the
    sinusoid that it is added to, and it matters from the first step on.
    """

    def __init__(self, dim: int) -> None:
        """Build for tokens of width `dim`."""
        super().__init__()
        self.proj = Linear(2 * 2 * _WORLD_BANDS, dim)

    def forward(self, points: Tensor) -> Tensor:
        """Return codes (B, L, D) of points (B, L, 2) [m]; zero where a point is NaN: the cell sees no table."""
        unseen = points.isnan().any(dim=-1, keepdim=True)
        reachable = points.nan_to_num().clamp(-_REACH, _REACH)
        return self.proj(fourier_features(reachable, _WORLD_BANDS, _WORLD_WAVELENGTH)).masked_fill(unseen, 0.0)
