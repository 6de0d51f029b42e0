"""What is exported: one observation's tensors in, its chunk out. All formats are made of this one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foreact.errors import ConfigError
from foreact.policy.observation import raw_batch
from foreact.policy.policy import Policy
from foreact.records import Features
from foreact_runtime import keys


class ObservationToChunk(nn.Module):
    """Resize, crop, hand's frame, normalisation, network and back: the policy's own code, traced."""

    def __init__(self, policy: Policy) -> None:
        """Take a policy on the CPU.

        Raises:
            ConfigError: If it samples its latent, which a graph without random numbers cannot.
        """
        super().__init__()
        if policy.config.latent != "zero" and policy.config.use_vae:
            raise ConfigError("policy.latent 'prior' draws at random, which cannot be exported; choose 'zero'")
        self._features = policy.features
        self.predictor = policy.predictor

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the chunk (T, C) of an observation, whose tensors come in the order of `input_shapes`."""
        named = dict(zip(input_shapes(self._features), tensors, strict=True))
        return self.predictor(raw_batch(named, self._features))[0]


def input_shapes(features: Features) -> dict[str, tuple[int, ...]]:
    """Return the shape of each input by its key: vectors, then pictures and depth of each camera as recorded."""
    shapes: dict[str, tuple[int, ...]] = {}
    if features.state_dim:
        shapes[keys.STATE] = (features.state_dim,)
    if features.environment_dim:
        shapes[keys.ENVIRONMENT_STATE] = (features.environment_dim,)
    for camera in features.cameras:
        size = camera.recorded_size or (camera.height, camera.width)
        shapes[keys.image_key(camera.name)] = (*size, 3)
        if camera.depth_range is not None:
            shapes[keys.depth_key(camera.name)] = size
    return shapes


def example(features: Features) -> tuple[Tensor, ...]:
    """Return tensors of the right shapes and types to trace with."""
    return tuple(
        torch.zeros(shape, dtype=torch.uint8 if keys.camera_of(key) else torch.float32)
        for key, shape in input_shapes(features).items()
    )
