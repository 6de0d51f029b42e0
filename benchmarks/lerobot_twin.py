"""LeRobot's ACT of our configuration and with our weights: two networks that compute the same function.

Runs in LeRobot's environment (`.venv-lerobot`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from torch import Tensor

from foreact.config import PolicyConfig
from foreact.deploy.lerobot_names import POSITIONS, SAME_NAME, lerobot_name, under_our_names
from foreact.model.act import ACT
from foreact.presets import preset
from foreact.records import Batch, Camera, Features
from foreact_runtime import keys

SIZES = {
    "compact": ((96, 96), 2, 6, 6, 32),
    "r1pro": ((224, 224), 3, 37, 23, 8),
    "so101": ((480, 640), 2, 6, 6, 8),
}
"""Pictures' height and width, number of cameras, dimensions of state and action, batch of a training step."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Both networks with the same weights."""

    ours: ACT
    theirs: Any
    config: PolicyConfig
    features: Features
    batch_size: int


def make_pair(name: str, seed: int, **other: Any) -> Pair:
    """Return the networks of a preset's sizes, with options that are other than the preset's."""
    size, n_cameras, state_dim, action_dim, batch_size = SIZES[name]
    of = preset(name).policy
    config = replace(
        PolicyConfig(pretrained_backbone_weights=None, camera_embedding=False, conditioning=("token",)),
        **{option: getattr(of, option) for option in SAME_NAME} | other,
    )
    features = Features(
        state_names=tuple(f"s{i}" for i in range(state_dim)),
        action_names=tuple(f"a{i}" for i in range(action_dim)),
        environment_names=("x", "y") if of.use_environment_state else (),
        cameras=tuple(Camera(name=f"camera{i}", height=size[0], width=size[1]) for i in range(n_cameras)),
    )
    torch.manual_seed(seed)
    ours, theirs = ACT(config, features), lerobot_policy(config, features)
    give_weights(ours, theirs)
    return Pair(ours=ours, theirs=theirs, config=config, features=features, batch_size=batch_size)


def make_batch(pair: Pair, size: int) -> Batch:
    """Return random normalised inputs, pictures with the strides in which each side's own loader leaves them."""
    features, steps = pair.features, pair.config.chunk_size
    return Batch(
        images={of.name: torch.randn(size, 3, of.height, of.width) for of in features.cameras},
        state=torch.randn(size, features.state_dim),
        environment_state=torch.randn(size, 2) if features.environment_dim else None,
        action=torch.randn(size, steps, features.action_dim),
        action_is_pad=torch.zeros(size, steps, dtype=torch.bool),
    )


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
