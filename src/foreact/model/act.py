"""ACT: a conditional variational auto-encoder whose decoder is a transformer that predicts a chunk of actions.

Reference: Zhao et al. 2023 (arXiv:2304.13705), Sec. IV; ACT.md 3 to 5 says where the published codes differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from foreact.config import PolicyConfig
from foreact.errors import ConfigError
from foreact.model.backbone import Backbone, make_backbones
from foreact.model.latent import VAEEncoder, sample_latent
from foreact.model.position import sinusoid_2d
from foreact.model.transformer import Decoder, Encoder
from foreact.records import Batch, Camera, Features


@dataclass(frozen=True, kw_only=True, eq=False)
class ACTOutput:
    """A predicted chunk and, where it was computed, the posterior of the latent."""

    action_hat: Tensor
    """(B, T, A), normalised."""
    mu: Tensor | None = None
    """(B, Z)."""
    log_var: Tensor | None = None
    """log sigma^2, (B, Z)."""


class ACT(nn.Module):
    """Normalised batches in, normalised chunks out.

    The encoder's tokens are [latent, state, coordinates, first camera's cells, second camera's, ..]; state,
    coordinates and cameras are there as far as the features hold them. The vectors' tokens have learned positions,
    the cells 2-D sinusoids and, with `camera_embedding`, a learned vector that says which camera they are from.
    """

    image_position: Tensor
    camera_of_cell: Tensor

    def __init__(self, config: PolicyConfig, features: Features) -> None:
        """Build with random weights, the backbones' apart.

        Args:
            config: Sizes and options.
            features: What goes in and out, selected as the configuration says; cameras in the order of their tokens.

        Raises:
            ConfigError: If there is no input, the features hold one that the configuration leaves out, or the
                backbones cannot be made.
        """
        super().__init__()
        _check_inputs(config, features)
        self.config = config
        self.features = features
        dim = config.dim_model
        state_dim, environment_dim, action_dim = features.state_dim, features.environment_dim, features.action_dim

        self.vae_encoder = VAEEncoder(config, state_dim, action_dim) if config.use_vae else None
        self.latent_proj = nn.Linear(config.latent_dim, dim)
        self.state_proj = nn.Linear(state_dim, dim) if state_dim else None
        self.environment_proj = nn.Linear(environment_dim, dim) if environment_dim else None
        self.vector_position = nn.Parameter(torch.randn(1 + bool(state_dim) + bool(environment_dim), dim))

        cameras = features.cameras
        self.backbones = make_backbones(config, cameras)
        self.image_proj = nn.Conv2d(self._backbone(0).out_channels, dim, 1) if cameras else None
        sizes = [self._feature_size(i) for i in range(len(cameras))]
        grids = [sinusoid_2d(height, width, dim) for height, width in sizes]
        cells = [torch.full((height * width,), i) for i, (height, width) in enumerate(sizes)]
        self.register_buffer("image_position", torch.cat([torch.zeros(0, dim), *grids]), persistent=False)
        self.register_buffer("camera_of_cell", torch.cat([torch.zeros(0, dtype=torch.int64), *cells]), persistent=False)
        embedded = config.camera_embedding and len(cameras) > 0
        self.camera_embedding = nn.Parameter(torch.randn(len(cameras), dim)) if embedded else None

        self.encoder = Encoder(config, config.n_encoder_layers)
        self.decoder = Decoder(config)
        self.queries = nn.Parameter(torch.randn(config.chunk_size, dim))
        self.action_head = nn.Linear(dim, action_dim)

    @property
    def n_tokens(self) -> int:
        """Length of the encoder's sequence."""
        return len(self.vector_position) + len(self.image_position)

    def forward(
        self,
        batch: Batch,
        *,
        z: Literal["posterior", "zero"] | Tensor = "zero",
        generator: torch.Generator | None = None,
    ) -> ACTOutput:
        """Predict chunks.

        Args:
            batch: Normalised; pictures are looked up by their cameras' names.
            z: "posterior" draws from q(z | state, action) as training does; "zero" is the prior's mode; a tensor
                (B, Z) is taken as it is. Without `use_vae` only "zero" makes sense.
            generator: Source of the posterior's noise, on the batch's device; None takes PyTorch's global one.

        Raises:
            ValueError: If the batch lacks an input or one has another shape, or `z` cannot be had.
            RuntimeError: If the posterior is asked for after `drop_vae_encoder`.
        """
        mu = log_var = None
        if isinstance(z, Tensor):
            latent = z
        elif z == "posterior":
            mu, log_var = self.posterior(batch)
            latent = sample_latent(mu, log_var, generator)
        elif z == "zero":
            latent = self.queries.new_zeros(batch.size, self.config.latent_dim)
        else:
            raise ValueError(f"z is '{z}'; expected 'posterior', 'zero' or a tensor (B, {self.config.latent_dim})")
        _checked("z", latent, (batch.size, self.config.latent_dim))

        tokens, position = self.tokens(batch, latent), self.position()
        memory = self.encoder(tokens, position)
        action_hat = self.action_head(self.decoder(self.queries, memory, position))
        return ACTOutput(action_hat=action_hat, mu=mu, log_var=log_var)

    def posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma^2 (B, Z) of the latent, given the batch's state and actions.

        Raises:
            ValueError: If the network has no CVAE (`use_vae` False), or the batch no actions.
            RuntimeError: If the CVAE encoder was dropped.
        """
        if not self.config.use_vae:
            raise ValueError("there is no posterior: policy.use_vae is False")
        if self.vae_encoder is None:
            raise RuntimeError("the CVAE encoder was dropped for inference, so there is no posterior; use z='zero'")
        steps = (batch.size, self.config.chunk_size)
        action = _checked("action", batch.action, (*steps, self.features.action_dim))
        action_is_pad = _checked("action_is_pad", batch.action_is_pad, steps)
        state = _checked("state", batch.state, (batch.size, self.features.state_dim)) if self.state_proj else None
        return self.vae_encoder(state, action, action_is_pad)

    def tokens(self, batch: Batch, latent: Tensor) -> Tensor:
        """Return the encoder's input (B, L, D) without positions."""
        tokens = [self.latent_proj(latent)[:, None]]
        if self.state_proj is not None:
            state = _checked("state", batch.state, (batch.size, self.features.state_dim))
            tokens.append(self.state_proj(state)[:, None])
        if self.environment_proj is not None:
            where = _checked("environment_state", batch.environment_state, (batch.size, self.features.environment_dim))
            tokens.append(self.environment_proj(where)[:, None])
        if self.image_proj is not None:
            for i, camera in enumerate(self.features.cameras):
                shape = (batch.size, camera.channels, *self._image_size(camera))
                image = _checked(f"images['{camera.name}']", batch.images.get(camera.name), shape)
                cells = self.image_proj(self._backbone(i)(image))  # (B, D, h, w)
                tokens.append(cells.flatten(2).transpose(1, 2))
        return torch.cat(tokens, dim=1)

    def position(self) -> Tensor:
        """Return the positions (L, D) of the encoder's tokens."""
        image = self.image_position
        if self.camera_embedding is not None:
            image = image + self.camera_embedding[self.camera_of_cell]
        return torch.cat([self.vector_position, image])

    def drop_vae_encoder(self) -> None:
        """Remove the CVAE encoder, which only training uses, from memory and state dict."""
        self.vae_encoder = None

    def _backbone(self, camera: int) -> Backbone:
        return cast(Backbone, self.backbones[0 if self.config.shared_backbone else camera])

    def _image_size(self, camera: Camera) -> tuple[int, int]:
        return self.config.crop_size or (camera.height, camera.width)

    def _feature_size(self, camera: int) -> tuple[int, int]:
        return self._backbone(camera).feature_size(*self._image_size(self.features.cameras[camera]))


def _check_inputs(config: PolicyConfig, features: Features) -> None:
    """Refuse features that contradict the configuration: an uncued control must not see the cue after all."""
    left_out = {
        "policy.use_state": not config.use_state and features.state_dim > 0,
        "policy.use_environment_state": not config.use_environment_state and features.environment_dim > 0,
        "policy.use_depth": not config.use_depth and any(camera.channels == 4 for camera in features.cameras),
    }
    for option, contradicts in left_out.items():
        if contradicts:
            raise ConfigError(f"{option} is False, but the features hold it; select the features by the configuration")
    names = tuple(camera.name for camera in features.cameras)
    if config.cameras is not None and config.cameras != names:
        raise ConfigError(f"policy.cameras is {config.cameras}, but the features' cameras are {names}")
    if not (features.state_dim or features.environment_dim or features.cameras):
        raise ConfigError("the policy has no input: it needs at least one of state, coordinates and cameras")


def _checked(name: str, value: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    if value is None:
        raise ValueError(f"the batch lacks {name}, shape {shape}")
    if value.shape != shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {shape}")
    return value
