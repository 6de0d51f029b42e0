"""The auxiliary head: the coordinates have to be recoverable from what the network computes."""

from __future__ import annotations

from torch import Tensor, nn

from foreact.config import PolicyConfig

_HAND_OVER = {
    "strong": "'strong' adds them to every image token before each layer",
    "film": "'film' adds what it makes of them to every cell of the pictures",
    "heatmap": "'heatmap' draws them into the pictures",
}
"""Ways of conditioning by which the coordinates reach the image tokens without attention."""


class CueHead(nn.Module):
    """Recovers the normalised coordinates from tokens, pooled by attention with one learned query.

    From image tokens or decoder outputs this asks that the coordinates have reached them. From the coordinate
    token's own output it asks nothing: the residual path hands it its answer (ACT.md 9), as it does with `strong`,
    `film` and `heatmap` to the image tokens. To the decoder's queries, which begin empty, nothing comes but by
    attention.
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


def satisfied_for_free(config: PolicyConfig) -> str | None:
    """Return why recovering the coordinates asks nothing of the network, and what to choose; None where it does."""
    if "auxiliary" not in config.conditioning or not config.use_environment_state:
        return None
    if config.auxiliary_from == "cue_token":
        reason = "the coordinate's own token holds them whatever the policy does"
    elif config.auxiliary_from == "image" and (ways := [way for way in _HAND_OVER if way in config.conditioning]):
        reason = " and ".join(_HAND_OVER[way] for way in ways)
    else:
        return None
    better = "decoder" if _HAND_OVER.keys() & set(config.conditioning) else "image or decoder"
    return (
        f"policy.auxiliary_from {config.auxiliary_from} is satisfied for free: {reason}, so the loss falls and the "
        f"chunk gains nothing; choose {better}"
    )
