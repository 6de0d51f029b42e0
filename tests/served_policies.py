"""Policies to serve, and their observations; and the protocol's arrays, coded by hand as FORMATS.md 5.3 has them."""

from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import torch

from foreact.data.r1pro import ACTION_NAMES, STATE_NAMES
from foreact.data.selection import select_features
from foreact.policy.policy import Policy
from foreact.presets import preset
from foreact.records import Camera, Features, VectorStatistics
from spots import FEATURES
from tiny import TINY


def unit_statistics(dim: int) -> VectorStatistics:
    """Normalises nothing; limits are far away."""
    one = np.ones(dim)
    return VectorStatistics(mean=0 * one, std=one, min=-9 * one, max=9 * one, q01=-3 * one, q99=3 * one, count=100)


STATISTICS = {key: unit_statistics(2) for key in ("action", "observation.state", "observation.environment_state")}


def spot_policy(kind: type[Policy] = Policy, **options: Any) -> Policy:
    """Untrained: two joints, two coordinates, two cameras of 32x32, chunks of 6 of which 3 are executed."""
    torch.manual_seed(0)
    return kind(config=replace(TINY, **options), features=FEATURES, statistics=STATISTICS)


def spot_observation(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "observation.state": rng.normal(0, 1, 2).astype(np.float32),
        "observation.environment_state": rng.normal(0, 1, 2).astype(np.float32),
        "observation.images.overhead": rng.integers(0, 255, (32, 32, 3), dtype=np.uint8),
        "observation.images.wrist": rng.integers(0, 255, (32, 32, 3), dtype=np.uint8),
    }


R1PRO_SIZES = {"left_wrist": 480, "right_wrist": 480, "head": 720}


def r1pro_policy(**options: Any) -> Policy:
    """Untrained, with the state, the actions and the RGB-D cameras of BEHAVIOR-1K's data; the network is small."""
    small = {
        "vision_backbone": "resnet18",
        "pretrained_backbone_weights": None,
        "dim_model": 32,
        "n_heads": 2,
        "dim_feedforward": 32,
        "n_encoder_layers": 1,
        "n_decoder_layers": 1,
        "n_vae_encoder_layers": 1,
    }
    config = replace(preset("r1pro").policy, **{**small, **options})
    recorded = Features(
        action_names=ACTION_NAMES,
        state_names=STATE_NAMES,
        cameras=tuple(
            Camera(name=name, height=size, width=size, depth_range=(0.0, 10.0)) for name, size in R1PRO_SIZES.items()
        ),
        fps=30.0,
    )
    torch.manual_seed(0)
    return Policy(config=config, features=select_features(recorded, config=config), statistics={})


def packed(message: Any) -> bytes:
    """What a client sends, coded without our code."""
    return msgpack.packb(message, default=coded)


def coded(array: Any) -> dict[bytes, Any]:
    return {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": array.dtype.str, b"shape": array.shape}


def unpacked(message: bytes | str) -> dict[str, Any]:
    """What a client reads, without our code."""
    assert isinstance(message, bytes), message
    result: dict[str, Any] = msgpack.unpackb(message, object_hook=_array)
    return result


def _array(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" not in value:
        return value
    return np.frombuffer(value[b"data"], value[b"dtype"]).reshape(value[b"shape"])
