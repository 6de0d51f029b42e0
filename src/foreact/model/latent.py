"""The CVAE's encoder: what style of movement a demonstrated chunk shows. Used in training only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foreact.config import PolicyConfig
from foreact.model.linear import Linear
from foreact.model.position import sinusoid_1d
from foreact.model.transformer import Encoder


class VAEEncoder(nn.Module):
    """Posterior q(z | state, chunk) over the sequence [CLS, state, a_1 .. a_T], positions fixed sinusoids.

    Padded actions are masked; CLS and state never are. Without a state the sequence is T + 1 long.

    Source: Zhao et al. 2023 (arXiv:2304.13705), Sec. IV-C and appendix C. Their code leaves this encoder's weights
    at PyTorch's default initialisation; here they start like the rest of the transformer.
    """

    position: Tensor

    def __init__(self, config: PolicyConfig, state_dim: int, action_dim: int) -> None:
        """Build for states of `state_dim` (0: none) and actions of `action_dim`."""
        super().__init__()
        self.cls = nn.Parameter(torch.randn(1, config.dim_model))
        self.state_proj = Linear(state_dim, config.dim_model) if state_dim else None
        self.action_proj = Linear(action_dim, config.dim_model)
        self.n_context = 2 if state_dim else 1
        length = self.n_context + config.chunk_size
        self.register_buffer("position", sinusoid_1d(length, config.dim_model), persistent=False)
        self.encoder = Encoder(config, config.n_vae_encoder_layers)
        self.latent_head = Linear(config.dim_model, 2 * config.latent_dim)  # mu, then log variance

    def forward(self, state: Tensor | None, action: Tensor, action_is_pad: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma^2 of the posterior, each (B, Z).

        Args:
            state: (B, S), normalised; None where the network was built without.
            action: (B, T, A), normalised.
            action_is_pad: (B, T) bool, True where the episode had already ended.
        """
        context = [self.cls.expand(len(action), 1, -1)]
        if self.state_proj is not None and state is not None:
            context.append(self.state_proj(state)[:, None])
        tokens = torch.cat([*context, self.action_proj(action)], dim=1)  # (B, n_context + T, D)
        is_pad = torch.cat([action_is_pad.new_zeros(len(action), self.n_context), action_is_pad], dim=1)
        summary = self.encoder(tokens, self.position, is_pad, wanted=1)[:, 0]
        mu, log_var = self.latent_head(summary).chunk(2, dim=-1)
        return mu, log_var


def sample_latent(mu: Tensor, log_var: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return z = mu + sigma eps (B, Z) with eps drawn from N(0, I); differentiable in both arguments.

    Args:
        mu: (B, Z).
        log_var: log sigma^2, (B, Z).
        generator: Where eps is drawn from, on the device of `mu`; None takes PyTorch's global one.
    """
    noise = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
    return mu + (log_var / 2).exp() * noise
