"""Checkpoints of the original ACT and of ACT++ (`policy_best.ckpt`, `dataset_stats.pkl`) in our terms.

The files hold weights and statistics only. Sizes follow from shapes; what does not is given (`Unsaid`). Neither file
may run code: the weights are read by PyTorch's weights-only reader, the statistics by `array_pickle.py`.

Sources: Zhao et al. 2023 (arXiv:2304.13705) and its code; FORMATS.md 3.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.config import PolicyConfig
from foreact.data.aloha import BASE, JOINTS
from foreact.deploy.array_pickle import read_arrays
from foreact.deploy.reading import Foreign, statistics_from, with_names
from foreact.deploy.unsaid import Unsaid
from foreact.errors import CheckpointError, ConfigError
from foreact.records import Camera, Features, VectorStatistics
from foreact_runtime import keys

STATISTICS = "dataset_stats.pkl"
_NAMES = ("policy_best.ckpt", "policy_last.ckpt")
_FPS = 50.0
_CAMERAS = {1: ("top",), 4: ("cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist")}

_OUR_NAMES = {
    r"^transformer\.encoder\.": "encoder.",
    r"^transformer\.decoder\.": "decoder.",
    r"^encoder\.": "vae_encoder.encoder.",
    r"^cls_embed\.weight$": "vae_encoder.cls",
    r"^encoder_joint_proj\.": "vae_encoder.state_proj.",
    r"^encoder_action_proj\.": "vae_encoder.action_proj.",
    r"^latent_proj\.": "vae_encoder.latent_head.",
    r"^latent_out_proj\.": "latent_proj.",
    r"^input_proj_robot_state\.": "state_proj.",
    r"^input_proj\.": "image_proj.",
    r"^additional_pos_embed\.weight$": "vector_position",
    r"^query_embed\.weight$": "queries",
    r"^backbones\.(\d+)\.0\.body\.": r"backbones.\1.",
}
_IN_LAYERS = {r"\.self_attn\.": ".self_attention.", r"\.multihead_attn\.": ".cross_attention."}
_LINEAR = r"\.(linear[12])\."
_UNUSED = r"^(is_pad_head\.|pos_table$|transformer\.decoder\.layers\.[1-9])"
"""A head that no loss uses, a constant, and the decoder layers whose output the published code does not take."""


def find_original(path: Path) -> Path | None:
    """Return the file of weights that a path means: itself, or the best one of its folder; None where it is neither."""
    if path.is_file() and path.suffix in (".ckpt", ".pth", ".pt"):
        return path
    return next((path / name for name in _NAMES if (path / name).exists()), None)


def read_original(path: Path, unsaid: Unsaid) -> Foreign:
    """Read weights and statistics of the original ACT or of ACT++.

    Args:
        path: The `.ckpt`.
        unsaid: Cameras, rate and what else the files do not say.

    Raises:
        CheckpointError: If a file is missing, damaged, would run code, or holds no ACT.
        ConfigError: If each camera has its own backbone and the names are not as many, or an option makes no sense.
        KeyError, ValueError: If weights are missing or have another number of dimensions.
    """
    weights = _weights(path)
    stats_path = unsaid.stats or path.with_name(STATISTICS)
    if not stats_path.exists():
        raise CheckpointError(f"there is no '{stats_path}', without which nobody knows units; give it with --stats")
    stats = read_arrays(stats_path)
    if (
        "vq" in " ".join(weights)
        or len(weights["latent_proj.weight"]) != 2 * weights["latent_out_proj.weight"].shape[1]
    ):
        raise CheckpointError(f"'{path}' has a quantised latent (ACT++'s --use_vq), which foreact has not")
    renamed = {_our_name(name): value.float() for name, value in weights.items() if not re.match(_UNUSED, name)}
    has_encoder = any(name.startswith("vae_encoder.encoder.") for name in renamed)
    if not has_encoder:  # ACT++ with --no_encoder keeps what stands around it
        renamed = {name: value for name, value in renamed.items() if not name.startswith("vae_encoder.")}
    chunk_size, dim_model = renamed["queries"].shape
    n_actions, n_state = len(renamed["action_head.bias"]), renamed["state_proj.weight"].shape[1]
    n_backbones = _count(renamed, r"backbones\.(\d+)\.")
    cameras = unsaid.cameras or _CAMERAS.get(n_backbones, ())
    shared = n_backbones == 1  # the original code has one for all cameras, whose number the file does not say
    if not shared and len(cameras) != n_backbones:
        raise ConfigError(
            f"'{path}' was trained with {n_backbones} cameras; name them in their order with --cameras, "
            f"{len(cameras)} are given"
        )
    policy = PolicyConfig(
        chunk_size=chunk_size,
        n_action_steps=chunk_size if unsaid.temporal_ensemble_coeff is None else 1,
        temporal_ensemble_coeff=unsaid.temporal_ensemble_coeff,
        use_environment_state=False,
        vision_backbone=_resnet(renamed, path),  # type: ignore[arg-type]
        pretrained_backbone_weights=None,
        backbone_dilation=unsaid.dilation,
        shared_backbone=shared,
        camera_embedding=False,
        dim_model=dim_model,
        n_heads=unsaid.n_heads,
        dim_feedforward=len(renamed["encoder.layers.0.feed_forward.linear1.bias"]),
        n_encoder_layers=_count(renamed, r"encoder\.layers\.(\d+)\."),
        n_decoder_layers=1,
        pre_norm="encoder.norm.weight" in renamed,
        use_vae=has_encoder,
        latent_dim=renamed["latent_proj.weight"].shape[1],
        n_vae_encoder_layers=max(_count(renamed, r"vae_encoder\.encoder\.layers\.(\d+)\."), 1),
        reduction="padded_mean",
        narrowest=0.0,
    )
    height, width = unsaid.image_size
    if min(height, width) < 1:
        raise ConfigError(f"--image-size is {height} {width}; it must be at least 1 pixel either way")
    features = Features(
        action_names=_joints("action", n_actions),
        state_names=_joints("state", n_state),
        cameras=tuple(Camera(name=name, height=height, width=width) for name in cameras),
        fps=_FPS,
    )
    vectors = {keys.ACTION: ("action", n_actions), keys.STATE: ("qpos", n_state)}
    return Foreign(
        path=path,
        project="ACT",
        policy=policy,
        features=with_names(features, unsaid),
        statistics={key: _statistics(stats, name, dim, stats_path) for key, (name, dim) in vectors.items()},
        weights=renamed,
    )


def _weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict without running any code that the file may hold; names without the policy's prefix."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                if sum(of.file_size for of in file.infolist()) > path.stat().st_size:
                    raise ValueError("it holds more than it is large, which torch.save does not write.")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or malicious file makes the reader raise almost anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"'{path}' was not read, and nothing in it was run: {reason} Expected a state dict of weights"
        ) from error
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"'{path}' is not a state dict (names to tensors)")
    for name, value in content.items():
        if value.layout != torch.strided or value.nbytes > value.untyped_storage().nbytes():
            raise CheckpointError(f"'{path}' holds '{name}', which is not stored number by number as weights are")
    weights = {str(name).removeprefix("model."): value for name, value in content.items()}
    for name in ("query_embed.weight", "action_head.bias", "latent_out_proj.weight", "latent_proj.weight"):
        if name not in weights:
            raise CheckpointError(f"'{path}' is not an ACT checkpoint: it lacks '{name}'")
    if "input_proj_robot_state.weight" not in weights or "backbones.0.0.body.conv1.weight" not in weights:
        raise CheckpointError(f"'{path}' is an ACT without cameras or joints, which is not read")
    return weights


def _our_name(name: str) -> str:
    for pattern, replacement in _OUR_NAMES.items():
        renamed = re.sub(pattern, replacement, name)
        if renamed != name:
            name = renamed
            break
    for pattern, replacement in _IN_LAYERS.items():
        name = re.sub(pattern, replacement, name)
    return re.sub(_LINEAR, r".feed_forward.\1.", name)


def _count(names: Mapping[str, Any], pattern: str) -> int:
    """Return how many numbers stand in names where the pattern's group is."""
    return len({match[1] for name in names if (match := re.match(pattern, name))})


def _resnet(weights: Mapping[str, Tensor], path: Path) -> str:
    """Tell a ResNet by the number of its blocks and of their convolutions."""
    stages = [_count(weights, rf"backbones\.0\.layer{i}\.(\d+)\.") for i in (1, 2, 3, 4)]
    has_bottlenecks = "backbones.0.layer1.0.conv3.weight" in weights
    known = {
        (False, 2, 2, 2, 2): "resnet18",
        (False, 3, 4, 6, 3): "resnet34",
        (True, 3, 4, 6, 3): "resnet50",
    }
    found = (has_bottlenecks, *stages)
    if found not in known:
        raise CheckpointError(f"the backbone in '{path}' is not ResNet-18, 34 or 50: its stages have {stages} blocks")
    return known[found]


def _joints(name: str, dim: int) -> tuple[str, ...]:
    known = {len(JOINTS): JOINTS, len(JOINTS) + len(BASE): JOINTS + BASE}
    return known.get(dim, tuple(f"{name}_{i}" for i in range(dim)))


def _statistics(stats: Mapping[str, np.ndarray], name: str, dim: int, path: Path) -> VectorStatistics:
    """Of an action or of joints; ACT++ widens the action's range by 1e-4, which is left as it is."""
    known = {}
    for statistic in ("mean", "std", "min", "max"):
        if f"{name}_{statistic}" in stats:
            known[statistic] = stats[f"{name}_{statistic}"]
        elif statistic in ("mean", "std"):
            raise CheckpointError(f"'{path}' lacks '{name}_{statistic}'; it has: {', '.join(stats)}")
        if statistic in known and not np.isfinite(known[statistic]).all():
            raise CheckpointError(f"'{name}_{statistic}' in '{path}' holds numbers that are not finite")
    return statistics_from(known, dim, f"'{name}' in '{path}'")
