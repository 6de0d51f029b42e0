from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from foreact.config import PolicyConfig
from foreact.model.act import ACT
from foreact.model.losses import Counterfactual, act_loss
from foreact.records import Batch, Camera, Features

TINY = PolicyConfig(
    chunk_size=5,
    n_action_steps=5,
    vision_backbone="cnn",
    pretrained_backbone_weights=None,
    backbone_norm="group",
    dim_model=32,
    n_heads=4,
    dim_feedforward=48,
    n_encoder_layers=2,
    n_decoder_layers=2,
    n_vae_encoder_layers=2,
    latent_dim=6,
    dropout=0.0,
)

MakeConfig = Callable[..., PolicyConfig]
MakeBatch = Callable[..., Batch]
WithoutGradient = Callable[[ACT, Batch], set[str]]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def make_config() -> MakeConfig:
    """A small policy with some options changed."""

    def make(**changes: Any) -> PolicyConfig:
        return replace(TINY, **changes)

    return make


@pytest.fixture
def features() -> Features:
    """Three joints, two coordinates, two cameras of different size, a four-dimensional action."""
    return Features(
        action_names=("a", "b", "c", "d"),
        state_names=("j1", "j2", "j3"),
        environment_names=("x", "y"),
        cameras=(Camera(name="overhead", height=48, width=32), Camera(name="wrist", height=32, width=32)),
    )


@pytest.fixture
def make_batch() -> MakeBatch:
    """Random normalised samples; the last step of the first sample is padded."""

    def make(config: PolicyConfig, features: Features, size: int = 3, seed: int = 1) -> Batch:
        generator = torch.Generator().manual_seed(seed)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(size, *shape, generator=generator)

        is_pad = torch.zeros(size, config.chunk_size, dtype=torch.bool)
        if config.chunk_size > 1:
            is_pad[0, -1] = True
        pixels = {
            c.name: (c.height, c.width) if c.view_of else config.crop_size or (c.height, c.width)
            for c in features.cameras
        }
        return Batch(
            images={camera.name: random(camera.channels, *pixels[camera.name]) for camera in features.cameras},
            state=random(features.state_dim) if features.state_dim else None,
            environment_state=random(features.environment_dim) if features.environment_dim else None,
            action=random(config.chunk_size, features.action_dim),
            action_is_pad=is_pad,
        )

    return make


@pytest.fixture
def without_gradient() -> WithoutGradient:
    """Return the parameters that get none, after first steps have moved what starts at 0."""

    def names(model: ACT, batch: Batch) -> set[str]:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            output = model(batch, z="posterior" if model.config.use_vae else "zero")
            counterfactual = None
            if "contrastive" in model.config.conditioning:
                assert batch.environment_state is not None
                other = replace(batch, environment_state=batch.environment_state.roll(1, 0))
                counterfactual = Counterfactual(
                    action_hat=model(other, z=output.z).action_hat, distance=torch.ones(batch.size)
                )
            act_loss(output, batch, model.config, counterfactual=counterfactual).loss.backward()
            gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
            optimizer.step()
        return {name for name, gradient in gradients.items() if gradient is None or gradient.abs().max() < 1e-6}

    return names
