"""LeRobot's ACT of our configuration and with our weights: two networks that compute the same function.

Runs in LeRobot's environment (`.venv-lerobot`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from torch import Tensor

from foreact.config import PolicyConfig
from foreact.deploy.lerobot_names import POSITIONS, SAME_NAME, lerobot_name, under_our_names
from foreact.model.act import ACT
from foreact.records import Batch, Features
from foreact_runtime import keys


def lerobot_policy(config: PolicyConfig, features: Features) -> ACTPolicy:
    """Return LeRobot's policy of the same sizes, with random weights."""
    inputs = {keys.STATE: PolicyFeature(FeatureType.STATE, (features.state_dim,))}
    if features.environment_dim:
        inputs[keys.ENVIRONMENT_STATE] = PolicyFeature(FeatureType.ENV, (features.environment_dim,))
    for camera in features.cameras:
        shape = (camera.channels, camera.height, camera.width)
        inputs[keys.image_key(camera.name)] = PolicyFeature(FeatureType.VISUAL, shape)
    same = {name: getattr(config, name) for name in (*SAME_NAME, "vision_backbone")}
    same["replace_final_stride_with_dilation"] = config.backbone_dilation
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
    assert set(result.missing_keys) <= {POSITIONS}, result.missing_keys


def lerobot_weights(ours: ACT, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return LeRobot's weights under our names."""
    renamed = under_our_names(weights, ours.state_dict())
    assert renamed.keys() == ours.state_dict().keys()
    return renamed


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
