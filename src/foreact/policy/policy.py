"""A trained policy: raw observation in, raw action out (reference: ACT.md 7)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
import torch

from foreact.config import PolicyConfig
from foreact.model.act import ACT
from foreact.policy.inputs import Inputs
from foreact.policy.observation import read_observations
from foreact.policy.predictor import Predictor
from foreact.policy.settings import executor_settings
from foreact.records import Batch, Features, Statistics
from foreact_runtime.observation import Observation
from foreact_runtime.robot_policy import RobotPolicy


class Policy(RobotPolicy):
    """What `load_policy` returns. One object serves one robot; `predict_chunks` serves many at once."""

    def __init__(
        self,
        *,
        config: PolicyConfig,
        features: Features,
        statistics: Statistics,
        model: ACT | None = None,
        device: str | torch.device = "cpu",
        resize_images: bool = False,
        seed: int = 0,
    ) -> None:
        """Put the parts together.

        Args:
            config: As trained.
            features: What goes in and out on the robot, as trained.
            statistics: Of what the network saw of the training split.
            model: The network, from which the CVAE encoder is dropped; None builds an untrained one.
            device: Where to compute.
            resize_images: Accept pictures of another size than the recorded one.
            seed: Of the latent's samples where `config.latent` is "prior".

        Raises:
            ConfigError: If configuration, features and statistics do not fit each other.
        """
        self.config = config
        self.statistics = statistics
        self.device = torch.device(device)
        self.inputs = Inputs(config, features, statistics).to(self.device)
        self.model = (ACT(config, self.inputs.network_features) if model is None else model).to(self.device).eval()
        self.model.drop_vae_encoder()
        self.predictor = Predictor(self.inputs, self.model)
        self._seed = seed
        self._generator = torch.Generator(self.device).manual_seed(seed)
        super().__init__(features, executor_settings(config, features, statistics), resize_images=resize_images)

    def reseeded(self, seed: int) -> Policy:
        """Return the same policy for one more scene: it shares the network, and samples of the latent are its own."""
        other = copy(self)
        other._seed = seed
        other._generator = torch.Generator(self.device).manual_seed(seed)
        other._controller = other.make_controller()
        return other

    def reset(self) -> None:
        """Begin an episode: forget chunks, begin the latent's samples anew."""
        super().reset()
        self._generator.manual_seed(self._seed)

    def predict_chunk(self, observation: Observation) -> np.ndarray:
        """Return the chunk that begins now, float32: actions (T, A) in the robot's units.

        With the conditioning `frame` it holds hand poses instead, (T, C), which the executor turns into actions
        (`HandPoses`). Changes no state of the executor, which thresholds `binary_actions` only when it hands them out.
        """
        return self.predict_chunks([observation])[0]

    @torch.inference_mode()
    def predict_chunks(self, observations: Sequence[Observation]) -> np.ndarray:
        """Return chunks (B, T, C) for B observations at once; see `predict_chunk`."""
        raw = read_observations(observations, self.features, resize_images=self._resize_images).to(self.device)
        return self.predict(raw).cpu().numpy()

    @torch.inference_mode()
    def predict(self, raw: Batch) -> torch.Tensor:
        """Return chunks (B, T, C) for a raw batch on the policy's device; see `predict_chunk`."""
        return self.predictor(raw, self._latent(raw.size))

    def _latent(self, batch_size: int) -> torch.Tensor | None:
        if self.config.latent == "zero" or not self.config.use_vae:
            return None
        shape = (batch_size, self.config.latent_dim)
        return torch.randn(shape, generator=self._generator, device=self.device)

    def split_action(self, action: np.ndarray) -> dict[str, np.ndarray]:
        """Return an action (..., A) cut into its named groups (`left_arm`: (..., 7)), or whole as `action`."""
        if not self.features.action_groups:
            return {"action": action}
        stops = np.cumsum([group.dim for group in self.features.action_groups])[:-1]
        parts = np.split(action, stops, axis=-1)
        return {group.key: part for group, part in zip(self.features.action_groups, parts, strict=True)}
