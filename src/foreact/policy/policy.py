"""A trained policy: raw observation in, raw action out (reference: ACT.md 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from foreact.config import PolicyConfig
from foreact.data.images import center_crop
from foreact.model.act import ACT
from foreact.normalizer import Normalizer, binary_dimensions
from foreact.policy.executor import Executor, make_executor
from foreact.policy.observation import read_observations
from foreact.records import Batch, Features, Statistics

Observation = Mapping[str, Any]


class Policy:
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
            features: What goes in and out, as trained.
            statistics: Of the training split.
            model: The network, from which the CVAE encoder is dropped; None builds an untrained one.
            device: Where to compute.
            resize_images: Accept pictures of another size than the recorded one.
            seed: Of the latent's samples where `config.latent` is "prior".

        Raises:
            ConfigError: If configuration, features and statistics do not fit each other.
        """
        self.config = config
        self.features = features
        self.statistics = statistics
        self.device = torch.device(device)
        self.normalizer = Normalizer(config, features, statistics).to(self.device)
        self.model = (ACT(config, features) if model is None else model).to(self.device).eval()
        self.model.drop_vae_encoder()
        self._resize_images = resize_images
        self._seed = seed
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self._executor = self.make_executor()

    def reset(self) -> None:
        """Begin an episode: forget chunks, begin the latent's samples anew."""
        self._executor.reset()
        self._generator.manual_seed(self._seed)

    def act(self, observation: Observation) -> np.ndarray:
        """Return the action (A,), float32 in the robot's units, for this control tick.

        Call it once a tick, `features.fps` times a second; the network runs only where the executor asks for it.

        Args:
            observation: See `foreact.policy.observation.read_observations`.

        Raises:
            ObservationError: If the observation is not what the policy was trained on.
        """
        if self._executor.needs_chunk:
            self._executor.add(self.predict_chunk(observation))
        return self._executor.next_action()

    def predict_chunk(self, observation: Observation) -> np.ndarray:
        """Return the chunk (T, A), float32 in the robot's units, that begins now.

        Changes no state of the executor, which thresholds `binary_actions` only when it hands them out.
        """
        return self.predict_chunks([observation])[0]

    @torch.inference_mode()
    def predict_chunks(self, observations: Sequence[Observation]) -> np.ndarray:
        """Return chunks (B, T, A) for B observations at once; see `predict_chunk`."""
        raw = read_observations(observations, self.features, resize_images=self._resize_images).to(self.device)
        return self.predict(raw).cpu().numpy()

    @torch.inference_mode()
    def predict(self, raw: Batch) -> torch.Tensor:
        """Return chunks (B, T, A) in the robot's units for a raw batch on the policy's device."""
        batch = self.normalizer.normalize(center_crop(raw, self.config.crop_size))
        output = self.model(batch, z=self._latent(batch.size))
        return self.normalizer.unnormalize_action(output.action_hat)

    def _latent(self, batch_size: int) -> torch.Tensor | str:
        if self.config.latent == "zero" or not self.config.use_vae:
            return "zero"
        shape = (batch_size, self.config.latent_dim)
        return torch.randn(shape, generator=self._generator, device=self.device)

    def make_executor(self) -> Executor:
        """Return a new executor with the policy's settings, for callers that serve several robots."""
        return make_executor(self.config, binary_dimensions(self.config, self.features))

    def split_action(self, action: np.ndarray) -> dict[str, np.ndarray]:
        """Return an action (..., A) cut into its named groups (`left_arm`: (..., 7)), or whole as `action`."""
        if not self.features.action_groups:
            return {"action": action}
        stops = np.cumsum([group.dim for group in self.features.action_groups])[:-1]
        parts = np.split(action, stops, axis=-1)
        return {group.key: part for group, part in zip(self.features.action_groups, parts, strict=True)}
