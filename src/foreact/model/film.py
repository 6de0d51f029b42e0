"""FiLM: the coordinates scale and shift a backbone's feature maps, so that it looks for what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn

_HIDDEN = 128


class Modulation(NamedTuple):
    """How one stage's channels are scaled and shifted, sample by sample."""

    gamma: Tensor
    """(B, C)."""
    beta: Tensor
    """(B, C)."""

    def repeated(self, times: int) -> Modulation:
        """Return it for a batch that follows on itself so many times, (times B, C)."""
        return Modulation(self.gamma.repeat(times, 1), self.beta.repeat(times, 1))


class FiLM(nn.Module):
    """One small network a stage of a backbone, from the normalised coordinates to gamma and beta.

    The last layers start at zero, so gamma is 1 and beta 0: the backbone starts as it is without.

    Source: Perez et al. 2018 (arXiv:1709.07871), Sec. 2. They modulate inside the residual blocks, before the last
    ReLU; here the output of a whole stage is modulated, which leaves the backbone's own code and weights alone.
    """

    def __init__(self, environment_dim: int, stage_channels: Sequence[int]) -> None:
        """Build for coordinates (B, E) and stages of so many channels."""
        super().__init__()
        self.generators = nn.ModuleList([_generator(environment_dim, channels) for channels in stage_channels])

    def forward(self, cue: Tensor) -> list[Modulation]:
        """Return a modulation a stage for normalised coordinates (B, E)."""
        modulations = []
        for generator in self.generators:
            scale, shift = generator(cue).chunk(2, dim=-1)
            modulations.append(Modulation(gamma=1 + scale, beta=shift))
        return modulations


def modulate(x: Tensor, modulation: Modulation) -> Tensor:
    """Return gamma x + beta, channel by channel.

    Args:
        x: Feature map (B, C, h, w).
        modulation: gamma and beta, each (B, C).
    """
    gamma, beta = modulation
    return x * gamma[..., None, None] + beta[..., None, None]


def _generator(environment_dim: int, channels: int) -> nn.Module:
    generator = nn.Sequential(nn.Linear(environment_dim, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 2 * channels))
    last = cast(nn.Linear, generator[-1])
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return generator
