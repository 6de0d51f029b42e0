"""ACT: a conditional variational auto-encoder whose decoder is a transformer that predicts a chunk of actions.

Reference: Zhao et al. 2023 (arXiv:2304.13705), Sec. IV; ACT.md 3 to 5 says where the published codes differ.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from foreact.config import PolicyConfig
from foreact.errors import ConfigError
from foreact.model.auxiliary import CueHead
from foreact.model.backbone import make_backbones
from foreact.model.backbone_base import Backbone
from foreact.model.cue import StrongCue, WorldPosition
from foreact.model.film import FiLM
from foreact.model.latent import VAEEncoder, sample_latent
from foreact.model.linear import Linear, linear
from foreact.model.position import sinusoid_2d
from foreact.model.transformer import Decoder, Encoder
from foreact.records import Batch, Camera, Features


@dataclass(frozen=True, kw_only=True, eq=False)
class ACTOutput:
    """A predicted chunk and, where they were computed, the posterior of the latent and the recovered coordinates."""

    action_hat: Tensor
    """(B, T, A), normalised."""
    z: Tensor | None = None
    """The latent that was used (B, Z): a counterfactual is predicted with the same."""
    mu: Tensor | None = None
    """(B, Z)."""
    log_var: Tensor | None = None
    """log sigma^2, (B, Z)."""
    cue_hat: Tensor | None = None
    """(B, E), normalised; the conditioning `auxiliary` only."""


class ACT(nn.Module):
    """Normalised batches in, normalised chunks out.

    The encoder's tokens are [latent, state, coordinates, first camera's cells, second camera's, ..]; state and cameras
    are there as far as the features hold them, the coordinates as `conditioning` says: one token, several strong ones,
    both or none. The vectors' tokens have learned positions, the cells 2-D sinusoids and, with `camera_embedding`, a
    learned vector that says which camera they are from.

    `conditioning` says how the coordinates reach the network. Whatever it adds to the plain coordinate token is built
    last, so that the rest starts with the weights that it has without: `film` (film.py), `strong` and `world` (cue.py),
    `auxiliary` (auxiliary.py). `heatmap` and `crop` are cameras' matters (`Camera.cue_map`, `Camera.view_of`), `frame`
    changes what the numbers mean, and `contrastive` is a loss (losses.py).
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
        ways = _ways_in_the_network(config, features)
        self.config = config
        self.features = features
        dim = config.dim_model
        state_dim, environment_dim, action_dim = features.state_dim, features.environment_dim, features.action_dim

        self.vae_encoder = VAEEncoder(config, state_dim, action_dim) if config.use_vae else None
        self.latent_proj = Linear(config.latent_dim, dim)
        self.state_proj = Linear(state_dim, dim) if state_dim else None
        self.environment_proj = Linear(environment_dim, dim) if "token" in ways else None
        self.vector_position = nn.Parameter(torch.randn(1 + bool(state_dim) + ("token" in ways), dim))

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
        self.action_head = Linear(dim, action_dim)

        stages = [cast(Backbone, backbone).stage_channels for backbone in self.backbones]
        self.films = nn.ModuleList([FiLM(environment_dim, channels) for channels in stages if "film" in ways])
        self.strong = StrongCue(config, environment_dim) if "strong" in ways else None
        self.world = WorldPosition(dim) if "world" in ways else None
        self.cue_head = CueHead(dim, environment_dim) if "auxiliary" in ways else None

    @property
    def cue_tokens(self) -> slice:
        """Which of the encoder's tokens are made of the coordinates alone; empty without `token` and `strong`."""
        first = 1 + (self.state_proj is not None)
        return slice(first, self.image_tokens.start)

    @property
    def image_tokens(self) -> slice:
        """Which of the encoder's tokens are cells of pictures: all that follow the vectors'."""
        n_strong = 0 if self.strong is None else self.strong.n_tokens
        return slice(len(self.vector_position) + n_strong, self.n_tokens)

    @property
    def feature_sizes(self) -> dict[str, tuple[int, int]]:
        """Height and width of each camera's feature map, by the camera's name."""
        return {camera.name: self._feature_size(i) for i, camera in enumerate(self.features.cameras)}

    @property
    def strides(self) -> dict[str, int]:
        """Pixels between two cells of each camera's feature map, by the camera's name."""
        return {camera.name: self._backbone(i).stride for i, camera in enumerate(self.features.cameras)}

    def cell_middles(self) -> dict[str, Tensor]:
        """Where in its picture each cell of a feature map looks (h w, 2) [pixel], by the camera's name."""
        cameras = enumerate(self.features.cameras)
        return {camera.name: self._backbone(i).cell_middles(*self._image_size(camera)) for i, camera in cameras}

    @property
    def n_tokens(self) -> int:
        """Length of the encoder's sequence."""
        n_strong = 0 if self.strong is None else self.strong.n_tokens
        return len(self.vector_position) + n_strong + len(self.image_position)

    def forward(
        self,
        batch: Batch,
        *,
        z: Literal["posterior", "zero"] | Tensor = "zero",
        generator: torch.Generator | None = None,
        recover_cue: bool | None = None,
    ) -> ACTOutput:
        """Predict chunks.

        Args:
            batch: Normalised; pictures are looked up by their cameras' names.
            z: "posterior" draws from q(z | state, action) as training does; "zero" is the prior's mode; a tensor
                (B, Z) is taken as it is. Without `use_vae` only "zero" makes sense.
            generator: Source of the posterior's noise, on the batch's device; None takes PyTorch's global one.
            recover_cue: Whether `auxiliary` predicts the coordinates; None: in training mode only.

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

        strong = None if self.strong is None else self.strong(self._coordinates(batch))
        tokens = self.tokens(batch, latent, None if strong is None else strong.tokens)
        position = self.position(batch)
        memory = self.encoder(tokens, position, additions=None if strong is None else strong.additions)
        hidden = self.decoder(self.queries, memory, position)
        cue_hat = None
        if self.cue_head is not None and (self.training if recover_cue is None else recover_cue):
            cue_hat = self.cue_head(self._recovered_from(memory, hidden))
        return ACTOutput(action_hat=self.action_head(hidden), z=latent, mu=mu, log_var=log_var, cue_hat=cue_hat)

    def posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma^2 (B, Z) of the latent, given the batch's state and actions.

        No gradient goes to these: the answer is told here, so what arrived at the state would say nothing of its use.

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
        return self.vae_encoder(None if state is None else state.detach(), action.detach(), action_is_pad)

    def tokens(self, batch: Batch, latent: Tensor, strong: Tensor | None = None) -> Tensor:
        """Return the encoder's input (B, L, D) without positions.

        Args:
            batch: Normalised.
            latent: (B, Z).
            strong: The strong embedding's tokens (B, n, D), with the conditioning `strong`.
        """
        tokens = [self.latent_proj(latent)[:, None]]
        if self.state_proj is not None:
            state = _checked("state", batch.state, (batch.size, self.features.state_dim))
            tokens.append(self.state_proj(state)[:, None])
        if self.environment_proj is not None:
            tokens.append(self.environment_proj(self._coordinates(batch))[:, None])
        if strong is not None:
            tokens.append(strong)
        if self.image_proj is not None:
            tokens += self._cells(batch, self.image_proj)
        return torch.cat(tokens, dim=1)

    def position(self, batch: Batch) -> Tensor:
        """Return the positions of the encoder's tokens: (L, D), or (B, L, D) where `world` has points."""
        image = self.image_position
        if self.camera_embedding is not None:
            image = image + self.camera_embedding[self.camera_of_cell]
        vectors = [self.vector_position] if self.strong is None else [self.vector_position, self.strong.position]
        position = torch.cat([*vectors, image])
        if self.world is None or not batch.cell_points:
            return position
        codes = [position.new_zeros(batch.size, self.image_tokens.start, position.shape[-1])]
        for i, camera in enumerate(self.features.cameras):
            height, width = self._feature_size(i)
            points = batch.cell_points.get(camera.name)
            if points is None:
                codes.append(position.new_zeros(batch.size, height * width, position.shape[-1]))
            else:
                name = f"cell_points['{camera.name}']"
                codes.append(self.world(_checked(name, points, (batch.size, height * width, 2))))
        return position + torch.cat(codes, dim=1)

    def drop_vae_encoder(self) -> None:
        """Remove the CVAE encoder, which only training uses, from memory and state dict."""
        self.vae_encoder = None

    def _cells(self, batch: Batch, proj: nn.Conv2d) -> list[Tensor]:
        """Return a token a cell (B, h w, D) for each camera; pictures of one size go through a backbone together."""
        together: dict[tuple[int, tuple[int, int]], list[Camera]] = {}
        for i, camera in enumerate(self.features.cameras):
            together.setdefault((self._backbone_index(i), self._image_size(camera)), []).append(camera)
        modulations = [film(self._coordinates(batch)) for film in self.films]
        cells: dict[str, Tensor] = {}
        for (index, size), cameras in together.items():
            images = [
                _checked(f"images['{of.name}']", batch.images.get(of.name), (batch.size, of.channels, *size))
                for of in cameras
            ]
            told = [stage.repeated(len(cameras)) for stage in modulations[index]] if modulations else None
            features = cast(Backbone, self.backbones[index])(images[0] if len(images) == 1 else torch.cat(images), told)
            tokens = linear(features.flatten(2).mT, proj.weight.flatten(1), proj.bias)
            cells |= zip([of.name for of in cameras], tokens.chunk(len(cameras)), strict=True)
        return [cells[camera.name] for camera in self.features.cameras]

    def folded(self) -> ACT:
        """Return the same function for inference: all weights are shared but the backbones', which are folded."""
        other = copy(self)
        other._modules = dict(self._modules)
        other.backbones = nn.ModuleList([cast(Backbone, backbone).folded() for backbone in self.backbones])
        return other

    def _coordinates(self, batch: Batch) -> Tensor:
        return _checked("environment_state", batch.environment_state, (batch.size, self.features.environment_dim))

    def _recovered_from(self, memory: Tensor, hidden: Tensor) -> Tensor:
        """Return the tokens (B, L, D) that the coordinates are to be recovered from."""
        if self.config.auxiliary_from == "decoder":
            return hidden
        return memory[:, self.image_tokens if self.config.auxiliary_from == "image" else self.cue_tokens]

    def _backbone_index(self, camera: int) -> int:
        return 0 if self.config.shared_backbone else camera

    def _backbone(self, camera: int) -> Backbone:
        return cast(Backbone, self.backbones[self._backbone_index(camera)])

    def _image_size(self, camera: Camera) -> tuple[int, int]:
        own = camera.height, camera.width
        return own if camera.view_of is not None else self.config.crop_size or own

    def _feature_size(self, camera: int) -> tuple[int, int]:
        return self._backbone(camera).feature_size(*self._image_size(self.features.cameras[camera]))


def _ways_in_the_network(config: PolicyConfig, features: Features) -> frozenset[str]:
    """Return the ways of conditioning that the network is built with.

    In the uncued control (`use_environment_state` False) all that need the coordinates are off; where the data has
    none, the plain token is. With `frame` the token is built without being named: what the hand is relative to is an
    input.

    Raises:
        ConfigError: If a way needs coordinates, pictures or a coordinate token that are not there.
    """
    needing_the_cue = {"token", "strong", "film", "auxiliary"}
    ways = frozenset(config.conditioning)
    if not config.use_environment_state:
        return ways - needing_the_cue
    if "frame" in ways:
        ways |= {"token"}
    if not features.environment_dim:
        ways -= {"token"}
        if without := sorted(ways & needing_the_cue):
            raise ConfigError(f"policy.conditioning '{without[0]}' needs coordinates, but the features hold none")
    if "auxiliary" in ways and config.auxiliary_from == "image" and not features.cameras:
        raise ConfigError("policy.auxiliary_from is 'image', but there are no cameras; choose 'decoder'")
    if "auxiliary" in ways and config.auxiliary_from == "cue_token" and not ways & {"token", "strong"}:
        raise ConfigError("policy.auxiliary_from is 'cue_token', but policy.conditioning has neither token nor strong")
    return ways


def _check_inputs(config: PolicyConfig, features: Features) -> None:
    """Refuse features that contradict the configuration: an uncued control must not see the cue after all."""
    cameras = features.cameras
    shows_cue = features.environment_dim > 0 or any(camera.cue_map or camera.view_of is not None for camera in cameras)
    left_out = {
        "policy.use_state": not config.use_state and features.state_dim > 0,
        "policy.use_environment_state": not config.use_environment_state
        and (features.environment_dim > 0 or shows_cue),
        "policy.use_depth": not config.use_depth and any(camera.depth_range is not None for camera in cameras),
    }
    for option, contradicts in left_out.items():
        if contradicts:
            raise ConfigError(f"{option} is False, but the features hold it; select the features by the configuration")
    if config.cameras is not None:
        full = [camera.name for camera in cameras if camera.view_of is None]
        shown = {camera.view_of or camera.name for camera in cameras}
        if shown != set(config.cameras) or full != [name for name in config.cameras if name in full]:
            names = tuple(camera.name for camera in cameras)
            raise ConfigError(f"policy.cameras is {config.cameras}, but the features' cameras are {names}")
    if not (features.state_dim or features.environment_dim or cameras):
        raise ConfigError("the policy has no input: it needs at least one of state, coordinates and cameras")


def _checked(name: str, value: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    if value is None:
        raise ValueError(f"the batch lacks {name}, shape {shape}")
    if value.shape != shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {shape}")
    return value
