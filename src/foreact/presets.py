"""Named recipes: the robots of ACT.md 1, the paper's, and one for a CPU."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from foreact.config import PolicyConfig, RunConfig, TrainConfig
from foreact.errors import ConfigError, unknown_name
from foreact.records import KeyGroup

_SO101 = RunConfig(
    policy=PolicyConfig(
        chunk_size=100,
        n_action_steps=100,
        dim_model=512,
        n_encoder_layers=4,
        n_decoder_layers=1,
    ),
    train=TrainConfig(steps=100_000, batch_size=8, lr=1e-5, lr_backbone=1e-5, weight_decay=1e-4, grad_clip=10.0),
)
"""SO-101 class arm (seed 000; LeRobot's ACT with a camera embedding)."""

_ALOHA = RunConfig(
    policy=PolicyConfig(
        chunk_size=100,
        n_action_steps=1,
        temporal_ensemble_coeff=0.01,
        dim_model=512,
        n_encoder_layers=4,
        n_decoder_layers=1,
        camera_embedding=False,
        use_environment_state=False,
    ),
    train=TrainConfig(steps=100_000, batch_size=8, lr=1e-5, lr_backbone=1e-5, weight_decay=1e-4, grad_clip=0.0),
)
"""The paper's hyper-parameters (Zhao et al. 2023, appendix C), with the one decoder layer that its code trained."""

R1PRO_STATE = (
    KeyGroup(key="odom/base_velocity", dim=3),
    KeyGroup(key="qpos/torso", dim=4),
    KeyGroup(key="qpos/left_arm", dim=7),
    KeyGroup(key="qpos/left_gripper", dim=1),
    KeyGroup(key="qpos/right_arm", dim=7),
    KeyGroup(key="qpos/right_gripper", dim=1),
    KeyGroup(key="eef/left_pos", dim=3),
    KeyGroup(key="eef/left_quat", dim=4),
    KeyGroup(key="eef/right_pos", dim=3),
    KeyGroup(key="eef/right_quat", dim=4),
)
"""37 dimensions (FORMATS.md 4.3)."""
R1PRO_ACTION = (
    KeyGroup(key="base", dim=3),
    KeyGroup(key="torso", dim=4),
    KeyGroup(key="left_arm", dim=7),
    KeyGroup(key="left_gripper", dim=1),
    KeyGroup(key="right_arm", dim=7),
    KeyGroup(key="right_gripper", dim=1),
)
"""23 dimensions (FORMATS.md 4.4)."""

_Ranges = tuple[tuple[float, float], ...]
_BASE: _Ranges = ((-0.75, 0.75), (-0.75, 0.75), (-1.0, 1.0))
_TORSO: _Ranges = ((-1.1345, 1.8326), (-2.7925, 2.5307), (-1.8326, 1.5708), (-3.0543, 3.0543))
_LEFT_ARM: _Ranges = (
    (-4.4506, 1.3090),
    (-0.1745, 3.1416),
    (-2.3562, 2.3562),
    (-2.0944, 0.3491),
    (-2.3562, 2.3562),
    (-1.0472, 1.0472),
    (-1.5708, 1.5708),
)
_RIGHT_ARM: _Ranges = (_LEFT_ARM[0], (-3.1416, 0.1745), *_LEFT_ARM[2:])
_FINGERS: _Ranges = ((0.0, 0.05),)
"""Of the state [m]; not used while the grippers are `binary_state`. il_lib had [-1, 1] here for a time, which is the
action's range (FORMATS.md 4.5)."""
_GRIPPER: _Ranges = ((-1.0, 1.0),)
"""Of the action."""
_OPEN = 0.04
"""Fingers [m] above which a gripper counts as open. il_lib's later data set takes 0.04, so that one that holds
something thick is not open; its earlier data set and its server take 0.025 (FORMATS.md 4.6). Here training and
inference have the same, from the checkpoint."""
_POSITION: _Ranges = ((0.0, 0.65), (-0.65, 0.65), (0.0, 2.5))
_QUATERNION: _Ranges = ((-1.0, 1.0),) * 4

_R1PRO = RunConfig(
    policy=PolicyConfig(
        chunk_size=20,
        n_action_steps=1,
        temporal_ensemble_coeff=0.01,
        use_environment_state=False,
        image_size=(240, 240),
        crop_size=(224, 224),
        dim_model=512,
        n_encoder_layers=4,
        n_decoder_layers=7,
        state_normalization="min_max",
        action_normalization="min_max",
        state_ranges=(
            *_BASE,
            *_TORSO,
            *_LEFT_ARM,
            *_FINGERS,
            *_RIGHT_ARM,
            *_FINGERS,
            *_POSITION,
            *_QUATERNION,
            *_POSITION,
            *_QUATERNION,
        ),
        action_ranges=(*_BASE, *_TORSO, *_LEFT_ARM, *_GRIPPER, *_RIGHT_ARM, *_GRIPPER),
        binary_actions=("left_gripper", "right_gripper"),
        binary_state=("qpos/left_gripper", "qpos/right_gripper"),
        binary_state_threshold=_OPEN,
        state_keys=tuple(group.key for group in R1PRO_STATE),
        action_keys=tuple(group.key for group in R1PRO_ACTION),
        key_dims=tuple(group.dim for group in (*R1PRO_STATE, *R1PRO_ACTION)),
        downsample_factor=3,
    ),
    train=TrainConfig(
        steps=300_000,
        batch_size=128,
        lr=7e-4,
        lr_backbone=7e-4,
        lr_schedule="cosine",
        warmup_steps=1000,
        lr_min=5e-6,
        weight_decay=0.1,
        layer_decay=1.0,
        grad_clip=1.0,
    ),
)
"""R1Pro in BEHAVIOR-1K (seed 003, il_lib's ACT): 37-D state, 23-D action, three RGB-D cameras."""

_COMPACT = RunConfig(
    policy=PolicyConfig(
        chunk_size=16,
        n_action_steps=4,
        vision_backbone="cnn",
        pretrained_backbone_weights=None,
        backbone_norm="group",
        dim_model=192,
        n_heads=4,
        dim_feedforward=512,
        n_encoder_layers=2,
        n_decoder_layers=1,
        n_vae_encoder_layers=2,
        latent_dim=16,
        dropout=0.0,
        kl_weight=10.0,
    ),
    train=TrainConfig(
        steps=2000,
        batch_size=64,
        lr=5e-4,
        lr_backbone=5e-4,
        lr_schedule="cosine",
        warmup_steps=100,
        lr_min=1e-5,
        weight_decay=1e-4,
        grad_clip=1.0,
        val_every=500,
        save_every=500,
        ema_decay=0.995,
    ),
)
"""The whole ACT made small: a four-layer network for pictures of about 96x96, trained in minutes on two cores."""

_GROUNDED: Mapping[str, Any] = MappingProxyType(
    {
        "conditioning": ("token", "crop", "frame", "world"),
        "cue_crop_full": None,  # of every camera that is cropped
        "cue_crop_full_scale": 0.5,
    }
)
"""What reached the figures of docs/grounding.md, at the size of `compact`: where to act is hard to ignore, since all
else is relative to it; the crops show the place told in detail, the pictures at half their size all the rest, such as a
bowl that nobody tells. `so101` and `compact` keep the token, which needs neither a calibrated camera nor the arm."""

_SO101_GROUNDED = RunConfig(
    policy=replace(_SO101.policy, **_GROUNDED, n_action_steps=_SO101.policy.chunk_size // 4),
    train=replace(_SO101.train, cue_noise=0.01),
)
"""SO-101 told where to act (docs/conditioning.md); needs a calibrated camera and the arm's kinematics. It looks again
after a quarter of a chunk, as `compact` does, with which docs/grounding.md was measured: the crop is off by the cue's
error, which the picture corrects only where it is looked at."""

_COMPACT_GROUNDED = RunConfig(
    policy=replace(_COMPACT.policy, **_GROUNDED),
    train=replace(_COMPACT.train, cue_noise=0.01, steps=4000, val_every=1000, save_every=1000),
)
"""The same made small."""

PRESETS: Mapping[str, RunConfig] = MappingProxyType(
    {
        "so101": _SO101,
        "r1pro": _R1PRO,
        "aloha": _ALOHA,
        "compact": _COMPACT,
        "so101-grounded": _SO101_GROUNDED,
        "compact-grounded": _COMPACT_GROUNDED,
    }
)


def preset(name: str) -> RunConfig:
    """Return a recipe by name.

    Raises:
        ConfigError: If there is none of that name; the nearest is suggested.
    """
    if name not in PRESETS:
        raise ConfigError(unknown_name("preset", name, PRESETS))
    return PRESETS[name]
