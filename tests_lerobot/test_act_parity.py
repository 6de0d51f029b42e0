"""Our ACT and LeRobot's compute the same function: weights copied either way give the same chunk, loss and gradient."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot_twin import give_weights, lerobot_batch, lerobot_policy, lerobot_weights
from shaken import shake

from foreact.config import PolicyConfig
from foreact.deploy.lerobot_names import lerobot_name
from foreact.model.act import ACT
from foreact.model.losses import act_loss
from foreact.records import Batch, Camera, Features

FEATURES = Features(
    action_names=tuple("abcdef"),
    state_names=tuple("abcdef"),
    environment_names=("x", "y"),
    cameras=(Camera(name="overhead", height=96, width=128), Camera(name="wrist", height=96, width=128)),
)
LEROBOTS_DEFAULTS = PolicyConfig(pretrained_backbone_weights=None, camera_embedding=False)
SMALL = replace(
    LEROBOTS_DEFAULTS, dim_model=64, n_heads=4, dim_feedforward=96, chunk_size=10, n_action_steps=10, dropout=0.0
)


def make_batch(config: PolicyConfig, size: int = 2) -> Batch:
    is_pad = torch.zeros(size, config.chunk_size, dtype=torch.bool)
    is_pad[0, -3:] = True
    return Batch(
        images={camera.name: torch.randn(size, 3, camera.height, camera.width) for camera in FEATURES.cameras},
        state=torch.randn(size, FEATURES.state_dim),
        environment_state=torch.randn(size, FEATURES.environment_dim),
        action=torch.randn(size, config.chunk_size, FEATURES.action_dim),
        action_is_pad=is_pad,
    )


def pair(config: PolicyConfig) -> tuple[ACT, ACTPolicy]:
    """Both networks with LeRobot's weights."""
    torch.manual_seed(0)
    theirs = lerobot_policy(config, FEATURES)
    weights = theirs.model.state_dict()
    shake(weights)
    ours = ACT(config, FEATURES)
    ours.load_state_dict(lerobot_weights(ours, weights))
    return ours, theirs


@pytest.mark.parametrize(
    "config",
    [
        LEROBOTS_DEFAULTS,
        SMALL,
        replace(SMALL, pre_norm=True),
        replace(SMALL, n_decoder_layers=3, feedforward_activation="gelu"),
        replace(SMALL, use_vae=False),
        replace(SMALL, vision_backbone="resnet50", backbone_dilation=True),
    ],
    ids=["defaults", "small", "pre_norm", "three decoder layers", "no vae", "dilated resnet50"],
)
def test_lerobots_weights_give_lerobots_chunk(config: PolicyConfig) -> None:
    ours, theirs = pair(config)
    batch = make_batch(config)
    with torch.inference_mode():
        expected = theirs.eval().predict_action_chunk(lerobot_batch(batch))
        torch.testing.assert_close(ours.eval()(batch).action_hat, expected, rtol=1e-5, atol=1e-5)


def test_our_weights_give_our_chunk_in_lerobot() -> None:
    torch.manual_seed(1)
    ours, theirs = ACT(SMALL, FEATURES).eval(), lerobot_policy(SMALL, FEATURES).eval()
    shake(ours.state_dict())
    give_weights(ours, theirs)
    batch = make_batch(SMALL)
    with torch.inference_mode():
        expected = theirs.predict_action_chunk(lerobot_batch(batch))
        torch.testing.assert_close(ours(batch).action_hat, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_losses_and_gradients_in_training_are_the_same(pre_norm: bool) -> None:
    config = replace(SMALL, pre_norm=pre_norm)
    ours, theirs = pair(config)
    batch = make_batch(config)
    theirs.train()
    torch.manual_seed(5)  # of the latent's noise, the only randomness without dropout
    loss, terms = theirs(lerobot_batch(batch))
    loss.backward()
    torch.manual_seed(5)
    result = act_loss(ours.train()(batch, z="posterior"), batch, config)
    result.loss.backward()
    assert result.l1.item() == pytest.approx(terms["l1_loss"], rel=1e-5)
    assert result.kl is not None
    assert result.kl.item() == pytest.approx(terms["kld_loss"], rel=1e-5)
    assert result.loss.item() == pytest.approx(loss.item(), rel=1e-5)
    gradients = {name: parameter.grad for name, parameter in theirs.model.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[lerobot_name(name)], rtol=1e-3, atol=1e-5, msg=name)
