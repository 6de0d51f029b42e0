"""What LeRobot 0.3.3 saved acts with us as it does there: its normalisation stands among the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from shaken import shake

from foreact import load_policy
from foreact.deploy.import_checkpoint import import_checkpoint
from foreact.deploy.unsaid import Unsaid

SAME = 1e-5
SIZES = {"observation.state": 6, "observation.environment_state": 2, "action": 6}
CAMERAS = {"observation.images.cam_high": (96, 128), "observation.image": (96, 128)}
"""Names whose underscores a reader must not take for dots."""


def statistics(rng: np.random.Generator) -> dict[str, dict[str, torch.Tensor]]:
    stats: dict[str, dict[str, Any]] = {}
    for key, dim in SIZES.items():
        values = rng.normal(rng.normal(size=dim), rng.uniform(0.05, 1, dim), (200, dim))
        stats[key] = {"mean": values.mean(0), "std": values.std(0), "min": values.min(0), "max": values.max(0)}
    for key in CAMERAS:
        named = {"mean": rng.uniform(0.3, 0.6, 3), "std": rng.uniform(0.1, 0.3, 3)}
        named |= {"min": np.zeros(3), "max": np.ones(3)}
        stats[key] = {name: value.reshape(3, 1, 1) for name, value in named.items()}
    return {key: {name: torch.tensor(value).float() for name, value in of.items()} for key, of in stats.items()}


VARIANTS: dict[str, dict[str, Any]] = {
    "as they come": {},
    "minimum and maximum": {"modes": "MIN_MAX"},
    "not normalised": {"modes": "IDENTITY"},
    "coordinates normalised": {"env": "MEAN_STD"},
    "coordinates by minimum and maximum": {"modes": "MIN_MAX", "env": "MIN_MAX"},
    "pre-norm": {"pre_norm": True},
    "no VAE": {"use_vae": False},
    "no state": {"without": "observation.state"},
    "no coordinates": {"without": "observation.environment_state"},
    "no cameras": {"without": "observation.image"},
    "one camera": {"without": "observation.images.cam_high"},
    "three decoder layers, gelu": {"n_decoder_layers": 3, "feedforward_activation": "gelu"},
    "ResNet-50": {"vision_backbone": "resnet50"},
    "dilated ResNet-50": {"vision_backbone": "resnet50", "replace_final_stride_with_dilation": True},
    "ensemble": {"n_action_steps": 1, "temporal_ensemble_coeff": 0.01},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_an_old_policy_gives_the_same_chunk(name: str, tmp_path: Path) -> None:
    options = dict(VARIANTS[name])
    without, modes, env = options.pop("without", None), options.pop("modes", "MEAN_STD"), options.pop("env", None)
    mapping = {kind: NormalizationMode(modes) for kind in ("VISUAL", "STATE", "ACTION")}
    if env:
        mapping["ENV"] = NormalizationMode(env)
    kinds = {"observation.state": FeatureType.STATE, "observation.environment_state": FeatureType.ENV}
    inputs = {key: PolicyFeature(kind, (SIZES[key],)) for key, kind in kinds.items()}
    inputs |= {key: PolicyFeature(FeatureType.VISUAL, (3, *size)) for key, size in CAMERAS.items()}
    inputs = {key: of for key, of in inputs.items() if without is None or not key.startswith(without)}
    small = {"chunk_size": 8, "n_action_steps": 8, "dim_model": 64, "n_heads": 4, "dim_feedforward": 96}
    config = ACTConfig(
        input_features=inputs,
        output_features={"action": PolicyFeature(FeatureType.ACTION, (SIZES["action"],))},
        normalization_mapping=mapping,
        pretrained_backbone_weights=None,
        device="cpu",
        **(small | {"n_encoder_layers": 2, "n_vae_encoder_layers": 1} | options),
    )
    torch.manual_seed(0)
    theirs = ACTPolicy(config, dataset_stats=statistics(np.random.default_rng(1))).eval()
    shake(theirs.model.state_dict())
    theirs.save_pretrained(tmp_path / "theirs")
    import_checkpoint(str(tmp_path / "theirs"), tmp_path / "ours", Unsaid())
    ours = load_policy(tmp_path / "ours")
    chunks = []
    for seed in (2, 3):
        batch, raw = observation(np.random.default_rng(seed))
        with torch.inference_mode():
            expected = theirs.predict_action_chunk(batch)[0].numpy()  # it asks for the state's device, used or not
        chunks.append(expected)
        assert np.abs(ours.predict_chunk(raw) - expected).max() < SAME
    assert np.abs(chunks[0] - chunks[1]).max() > 100 * SAME  # they answer to what is seen


def observation(rng: np.random.Generator) -> tuple[dict[str, torch.Tensor], dict[str, np.ndarray]]:
    """A raw observation as LeRobot takes it, and as ours does."""
    raw: dict[str, np.ndarray] = {
        key: rng.normal(size=dim).astype(np.float32) for key, dim in SIZES.items() if key != "action"
    }
    pictures = {key: rng.integers(0, 256, (*size, 3), dtype=np.uint8) for key, size in CAMERAS.items()}
    batch = {key: torch.from_numpy(value)[None] for key, value in raw.items()}
    batch |= {key: torch.from_numpy(of).permute(2, 0, 1)[None].float() / 255 for key, of in pictures.items()}
    names = {"observation.images.cam_high": "cam_high", "observation.image": "observation.image"}
    return batch, raw | {f"observation.images.{names[key]}": of for key, of in pictures.items()}
