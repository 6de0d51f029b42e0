"""The auxiliary head: the coordinates have to be recoverable from what the network computes."""

from __future__ import annotations

from torch import Tensor, nn


class CueHead(nn.Module):
    """Recovers the normalised coordinates from tokens, pooled by attention with one learned query.

    From image tokens or decoder outputs this asks that the coordinates have reached them. From the coordinate
    token's own output it asks nothing: the residual path hands it its answer (ACT.md 9).
    """

    def __init__(self, dim: int, environment_dim: int) -> None:
        """Build for tokens of width `dim` and coordinates (B, E)."""
        super().__init__()
        self.score = nn.Linear(dim, 1, bias=False)  # a bias would shift all scores alike
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, environment_dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, E) for tokens (B, L, D)."""
        share = self.score(tokens).softmax(dim=1)  # (B, L, 1)
        return self.mlp((share * tokens).sum(dim=1))
