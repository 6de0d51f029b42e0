"""What LeRobot's ACT and ours have in common, and how each calls it: options, weights, features, normalisation.

LeRobot's side is described in FORMATS.md 2, for 0.6.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from foreact.config import Normalization
from foreact_runtime import keys

SAME_NAME = (
    "chunk_size",
    "n_action_steps",
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
"""Options of a policy that LeRobot's ACT knows by the same name, the backbone and the temporal ensemble apart."""

METHODS: Mapping[str, Normalization] = {
    "MEAN_STD": "mean_std",
    "MIN_MAX": "min_max",
    "QUANTILES": "quantile",
    "IDENTITY": "identity",
}
"""Our name of LeRobot's way to normalise; QUANTILE10 has none, its quantiles become declared ranges."""
EPS = 1e-8
"""LeRobot divides by a standard deviation plus this, and by this where a range is empty."""
POSITIONS = "vae_encoder_pos_enc"
"""A constant among LeRobot's weights, which ours computes."""

_WEIGHTS = {
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
_TensorT = TypeVar("_TensorT")


def lerobot_name(name: str) -> str:
    """Return LeRobot's name of one of our weights, without the `model.` that its files put before it."""
    for pattern, replacement in _WEIGHTS.items():
        name = re.sub(pattern, replacement, name)
    return name


def under_our_names(weights: Mapping[str, _TensorT], ours: Iterable[str]) -> dict[str, _TensorT]:
    """Return LeRobot's weights under our names; those that the other has not keep their own.

    Args:
        weights: By LeRobot's names, without `model.`.
        ours: Names of all weights of the network that they are for.
    """
    our_names = {lerobot_name(name): name for name in ours}
    return {our_names.get(name, name): value for name, value in weights.items() if name != POSITIONS}


def camera_key(camera: str) -> str:
    """Return LeRobot's key of a camera: the reverse of how our readers name one (`lerobot_info.camera_name`)."""
    return camera if camera.startswith("observation.") else keys.image_key(camera)
