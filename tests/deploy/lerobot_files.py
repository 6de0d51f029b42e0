"""Small LeRobot ACT checkpoints, written by our export, whose files LeRobot itself loads (tests_lerobot/)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreact.config import PolicyConfig
from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.deploy.lerobot_export import export_lerobot
from foreact.model.act import ACT
from foreact.policy.checkpoint import CheckpointMeta, write_directory, write_policy_files
from foreact.policy.inputs import network_features
from foreact.records import Camera, Features, VectorStatistics

FEATURES = Features(
    action_names=("a", "b"),
    state_names=("a", "b", "c"),
    environment_names=("x", "y"),
    cameras=(Camera(name="top", height=32, width=48), Camera(name="wrist", height=32, width=32)),
    fps=20.0,
)
PLAIN = PolicyConfig(
    chunk_size=5,
    n_action_steps=5,
    pretrained_backbone_weights=None,
    camera_embedding=False,
    dim_model=32,
    n_heads=2,
    dim_feedforward=32,
    n_encoder_layers=1,
    n_vae_encoder_layers=1,
    latent_dim=4,
)


def statistics() -> dict[str, VectorStatistics]:
    rng = np.random.default_rng(0)
    found = {}
    for key, dim in (("action", 2), ("observation.state", 3), ("observation.environment_state", 2)):
        values = rng.normal(rng.normal(size=dim), 0.5, (50, dim))
        found[key] = VectorStatistics(
            mean=values.mean(0),
            std=values.std(0),
            min=values.min(0),
            max=values.max(0),
            q01=np.quantile(values, 0.01, axis=0),
            q99=np.quantile(values, 0.99, axis=0),
            count=50,
        )
    return found


def write_ours(folder: Path, features: Features = FEATURES, *, drop_encoder: bool = False, **changes: Any) -> Path:
    """An untrained checkpoint of ours."""
    config = replace(PLAIN, **changes)
    torch.manual_seed(0)
    model = ACT(config, network_features(config, features))
    if drop_encoder:
        model.drop_vae_encoder()
    meta = CheckpointMeta(policy=config, features=features, statistics=statistics(), step=1, provenance={})
    write_directory(folder, lambda directory: write_policy_files(directory, meta, model.state_dict()))
    return folder


def write_lerobot(folder: Path) -> Path:
    """The same as LeRobot's."""
    export_lerobot(write_ours(folder.with_name(f"{folder.name}_ours")), folder)
    return folder


def observation(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    pictures = {
        f"observation.images.{of.name}": rng.integers(0, 256, (of.height, of.width, 3), dtype=np.uint8)
        for of in FEATURES.cameras
    }
    vectors = {"observation.state": rng.normal(size=3), "observation.environment_state": rng.normal(size=2)}
    return {**pictures, **{key: value.astype(np.float32) for key, value in vectors.items()}}


def write_data(root: Path) -> Path:
    """One episode of the robot that `FEATURES` are of."""
    writer = DatasetWriter(root, features=FEATURES, robot_type="test")
    rng = np.random.default_rng(0)
    seen = [observation(seed) for seed in range(6)]
    frames = {camera.name: [of[f"observation.images.{camera.name}"] for of in seen] for camera in FEATURES.cameras}
    vectors = {key: np.stack([of[key] for of in seen]) for key in seen[0] if "images" not in key}
    vectors["action"] = rng.normal(size=(6, 2)).astype(np.float32)
    writer.add(stage_episode(writer.staging, task="", vectors=vectors, frames=frames, fps=int(FEATURES.fps)))
    writer.finish()
    return root
