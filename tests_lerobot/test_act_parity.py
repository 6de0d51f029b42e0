"""Our ACT and LeRobot's compute the same function: weights copied either way give the same chunk, loss and gradient."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from torch import Tensor

from foreact.config import PolicyConfig
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
NAMES = {
    r"^vae_encoder\.cls$": "vae_encoder_cls_embed.weight",
    r"^vae_encoder\.state_proj": "vae_encoder_robot_state_input_proj",
    r"^vae_encoder\.action_proj": "vae_encoder_action_input_proj",
    r"^vae_encoder\.latent_head": "vae_encoder_latent_output_proj",
    r"^vae_encoder\.encoder": "vae_encoder",
    r"^latent_proj": "encoder_latent_input_proj",
    r"^state_proj": "encoder_robot_state_input_proj",
    r"^environment_proj": "encoder_env_state_input_proj",
    r"^image_proj": "encoder_img_feat_input_proj",
    r"^vector_position$": "encoder_1d_feature_pos_embed.weight",
    r"^queries$": "decoder_pos_embed.weight",
    r"^backbones\.0": "backbone",
    r"self_attention": "self_attn",
    r"cross_attention": "multihead_attn",
    r"feed_forward\.": "",
}
SAME_IN_BOTH = (
    "chunk_size",
    "n_action_steps",
    "vision_backbone",
    "dim_model",
    "n_heads",
    "dim_feedforward",
    "feedforward_activation",
    "n_encoder_layers",
    "n_decoder_layers",
    "pre_norm",
    "dropout",
    "use_vae",
    "latent_dim",
    "n_vae_encoder_layers",
    "kl_weight",
)
"""Options that carry LeRobot's name."""
ONLY_THEIRS = {"vae_encoder_pos_enc"}  # a constant, which ours computes


def lerobot_name(name: str) -> str:
    for pattern, replacement in NAMES.items():
        name = re.sub(pattern, replacement, name)
    return name


def lerobot_policy(config: PolicyConfig) -> ACTPolicy:
    inputs = {
        "observation.state": PolicyFeature(FeatureType.STATE, (FEATURES.state_dim,)),
        "observation.environment_state": PolicyFeature(FeatureType.ENV, (FEATURES.environment_dim,)),
    }
    for camera in FEATURES.cameras:
        shape = (camera.channels, camera.height, camera.width)
        inputs[f"observation.images.{camera.name}"] = PolicyFeature(FeatureType.VISUAL, shape)
    same = {name: getattr(config, name) for name in SAME_IN_BOTH}
    outputs = {"action": PolicyFeature(FeatureType.ACTION, (FEATURES.action_dim,))}
    return ACTPolicy(
        ACTConfig(
            input_features=inputs, output_features=outputs, pretrained_backbone_weights=None, device="cpu", **same
        )
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


def lerobot_batch(batch: Batch) -> dict[str, Any]:
    return {
        **{f"observation.images.{name}": image for name, image in batch.images.items()},
        "observation.state": batch.state,
        "observation.environment_state": batch.environment_state,
        "action": batch.action,
        "action_is_pad": batch.action_is_pad,
    }


def shake(state: dict[str, Tensor]) -> None:
    """Change every weight a little, so that zero biases and unit norms hide no mix-up."""
    for name, value in state.items():
        if name.endswith("running_var"):
            torch.nn.init.uniform_(value, 0.8, 1.2)
        elif not name.endswith("pos_enc"):
            value.add_(0.02 * torch.randn_like(value))


def pair(config: PolicyConfig) -> tuple[ACT, ACTPolicy]:
    """Both networks with LeRobot's weights."""
    torch.manual_seed(0)
    theirs = lerobot_policy(config)
    weights = theirs.model.state_dict()
    shake(weights)
    ours = ACT(config, FEATURES)
    expected = {name: lerobot_name(name) for name in ours.state_dict()}
    assert set(weights) - set(expected.values()) <= ONLY_THEIRS
    ours.load_state_dict({name: weights[expected[name]] for name in expected})
    return ours, theirs


@pytest.mark.parametrize(
    "config",
    [
        LEROBOTS_DEFAULTS,
        SMALL,
        replace(SMALL, pre_norm=True),
        replace(SMALL, n_decoder_layers=3, feedforward_activation="gelu"),
        replace(SMALL, use_vae=False),
    ],
    ids=["defaults", "small", "pre_norm", "three decoder layers", "no vae"],
)
def test_lerobots_weights_give_lerobots_chunk(config: PolicyConfig) -> None:
    ours, theirs = pair(config)
    batch = make_batch(config)
    with torch.inference_mode():
        expected = theirs.eval().predict_action_chunk(lerobot_batch(batch))
        torch.testing.assert_close(ours.eval()(batch).action_hat, expected, rtol=1e-5, atol=1e-5)


def test_our_weights_give_our_chunk_in_lerobot() -> None:
    torch.manual_seed(1)
    ours, theirs = ACT(SMALL, FEATURES).eval(), lerobot_policy(SMALL).eval()
    shake(ours.state_dict())
    weights = {lerobot_name(name): value for name, value in ours.state_dict().items()}
    result = theirs.model.load_state_dict(weights, strict=False)
    assert not result.unexpected_keys
    assert set(result.missing_keys) == ONLY_THEIRS
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
