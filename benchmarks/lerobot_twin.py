"""LeRobot's ACT of our configuration and with our weights: two networks that compute the same function.

Runs in LeRobot's environment (`.venv-lerobot`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot_options import SAME_NAME
from torch import Tensor

from foreact import keys
from foreact.config import PolicyConfig
from foreact.model.act import ACT
from foreact.records import Batch, Features

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
ONLY_THEIRS = {"vae_encoder_pos_enc"}  # a constant, which ours computes


def lerobot_name(name: str) -> str:
    """Return LeRobot's name of one of our weights."""
    for pattern, replacement in NAMES.items():
        name = re.sub(pattern, replacement, name)
    return name


def lerobot_policy(config: PolicyConfig, features: Features) -> ACTPolicy:
    """Return LeRobot's policy of the same sizes, with random weights."""
    inputs = {keys.STATE: PolicyFeature(FeatureType.STATE, (features.state_dim,))}
    if features.environment_dim:
        inputs[keys.ENVIRONMENT_STATE] = PolicyFeature(FeatureType.ENV, (features.environment_dim,))
    for camera in features.cameras:
        shape = (camera.channels, camera.height, camera.width)
        inputs[keys.image_key(camera.name)] = PolicyFeature(FeatureType.VISUAL, shape)
    same = {name: getattr(config, name) for name in (*SAME_NAME, "vision_backbone")}
    outputs = {keys.ACTION: PolicyFeature(FeatureType.ACTION, (features.action_dim,))}
    return ACTPolicy(
        ACTConfig(
            input_features=inputs, output_features=outputs, pretrained_backbone_weights=None, device="cpu", **same
        )
    )


def give_weights(ours: ACT, theirs: ACTPolicy) -> None:
    """Copy our weights into LeRobot's network; every weight of both must have its counterpart."""
    weights = {lerobot_name(name): value for name, value in ours.state_dict().items()}
    result = theirs.model.load_state_dict(weights, strict=False)
    assert not result.unexpected_keys, result.unexpected_keys
    assert set(result.missing_keys) <= ONLY_THEIRS, result.missing_keys


def lerobot_weights(ours: ACT, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return LeRobot's weights under our names."""
    expected = {name: lerobot_name(name) for name in ours.state_dict()}
    assert set(weights) - set(expected.values()) <= ONLY_THEIRS
    return {name: weights[of] for name, of in expected.items()}


def lerobot_batch(batch: Batch) -> dict[str, Any]:
    """Return a normalised batch as LeRobot's policy takes it."""
    vectors = {
        keys.STATE: batch.state,
        keys.ENVIRONMENT_STATE: batch.environment_state,
        keys.ACTION: batch.action,
        "action_is_pad": batch.action_is_pad,
    }
    return {
        **{keys.image_key(name): image for name, image in batch.images.items()},
        **{key: value for key, value in vectors.items() if value is not None},
    }
