"""Every way of conditioning, every kind of input and network, exported: the same chunk as the original's."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foreact.config import PolicyConfig
from foreact.data.selection import select_features
from foreact.deploy.export_graph import input_shapes
from foreact.deploy.export_onnx import write_onnx
from foreact.policy.inputs import network_features
from foreact.policy.policy import Policy
from foreact.presets import preset
from foreact.records import Arm, Calibration, Camera, Features, RecordedPose, VectorStatistics
from foreact_runtime import keys
from foreact_runtime.backend_onnx import OnnxNetwork
from foreact_runtime.backend_openvino import OpenVINONetwork

ABOVE = Calibration(
    size=(40, 60),
    focal=(50.0, 50.0),
    center=(30.0, 20.0),
    position=(0.3, 0.0, 1.0),
    quaternion=(0.0, 1.0, 0.0, 0.0),
    distortion=(0.1, -0.05, 0.001, 0.002),
)
ON_HAND = replace(ABOVE, position=(0.0, 0.0, 0.2), quaternion=(0.2, 0.9, 0.3, 0.1), mounted_on="hand")
ARM = Arm(
    joints=("pan", "lift"),
    positions=((0.0, 0.0, 0.0), (0.1, 0.0, 0.1)),
    quaternions=((1.0, 0.0, 0.0, 0.0), (0.8, 0.6, 0.0, 0.0)),
    axes=((0.0, 0.0, 1.0), (0.0, 1.0, 0.0)),
    limits=((-2.0, 2.0), (-2.0, 2.0)),
    hand_position=(0.2, 0.0, 0.1),
    hand_quaternion=(1.0, 0.0, 0.0, 0.0),
    gripper="jaw",
    gripper_closed=0.2,
)
TOLD = Features(
    action_names=("pan", "lift", "jaw"),
    state_names=("pan", "lift", "jaw"),
    environment_names=("x", "y"),
    cameras=(
        Camera(name="overhead", height=40, width=60, calibration=ABOVE),
        Camera(name="wrist", height=40, width=60, calibration=ON_HAND),
        Camera(name="side", height=48, width=32),
    ),
    arm=ARM,
)
RGBD = Features(
    action_names=("a", "b"),
    state_names=("a", "b"),
    cameras=tuple(Camera(name=name, height=48, width=64, depth_range=(0.1, 2.0)) for name in ("head", "hand")),
)
SMALL: dict[str, Any] = {
    "chunk_size": 4,
    "n_action_steps": 2,
    "vision_backbone": "cnn",
    "pretrained_backbone_weights": None,
    "backbone_norm": "group",
    "dim_model": 16,
    "n_heads": 2,
    "dim_feedforward": 24,
    "n_encoder_layers": 2,
    "n_vae_encoder_layers": 1,
    "latent_dim": 4,
}
KINDS: dict[str, tuple[dict[str, Any], Features]] = {
    "token, crop, frame, world": ({"conditioning": ("token", "crop", "frame", "world")}, TOLD),
    "strong, film, heatmap, auxiliary, contrastive": (
        {"conditioning": ("strong", "film", "heatmap", "auxiliary", "contrastive"), "pre_norm": True},
        TOLD,
    ),
    "crop beside its picture until the jaws close": (
        {
            "conditioning": ("token", "crop", "frame", "heatmap"),
            "cue_crop_full": ("overhead",),
            "cue_crop_full_scale": 0.5,
            "cue_crop_full_when": "closed",
        },
        replace(TOLD, environment_names=("x", "y", "goal x", "goal y")),
    ),
    "crops of a fixed camera and of one on the hand, beside their pictures": (
        {
            "conditioning": ("token", "crop", "frame", "world"),
            "cue_crop_cameras": ("overhead", "wrist"),
            "cue_crop_full": ("overhead", "wrist"),
            "cue_crop_full_scale": 0.5,
        },
        TOLD,
    ),
    "a camera on a hand whose pose is recorded": (
        {"conditioning": ("token", "heatmap", "world")},
        replace(
            TOLD,
            state_names=("x", "y", "z", "qx", "qy", "qz", "qw"),
            arm=None,
            recorded_pose=RecordedPose(position=("x", "y", "z"), quaternion=("qw", "qx", "qy", "qz")),
        ),
    ),
    "RGB-D, resized and cropped": (
        {"image_size": (32, 40), "crop_size": (30, 34), "action_normalization": "min_max", "use_vae": False},
        RGBD,
    ),
    "ResNet-18 a camera, frozen norms": (
        {"vision_backbone": "resnet18", "backbone_norm": "frozen", "shared_backbone": False, "n_decoder_layers": 2},
        RGBD,
    ),
    "blind": ({"cameras": (), "feedforward_activation": "gelu"}, TOLD),
}


def untrained(config: PolicyConfig, recorded: Features) -> Policy:
    features = select_features(recorded, config)
    seen = network_features(config, features)
    dims = {keys.ACTION: seen.action_dim, keys.STATE: seen.state_dim, keys.ENVIRONMENT_STATE: seen.environment_dim}
    statistics = {
        key: VectorStatistics(
            mean=0.1 * np.ones(dim),
            std=0.3 * np.ones(dim),
            min=-np.ones(dim),
            max=np.ones(dim),
            q01=-np.ones(dim),
            q99=np.ones(dim),
            count=9,
        )
        for key, dim in dims.items()
    }
    torch.manual_seed(0)
    return Policy(config=config, features=features, statistics=statistics)


def observation(features: Features, seed: int) -> dict[str, np.ndarray]:
    """Random; jaws open and closed; with seed 3 the cue is at the picture's edge.

    Not beyond: a crop that is grey all over has no spread, and group norm makes something of its last bits.
    """
    rng = np.random.default_rng(seed)
    observed: dict[str, np.ndarray] = {}
    for key, shape in input_shapes(features).items():
        if keys.camera_of(key):
            observed[key] = rng.integers(0, 256, shape, dtype=np.uint8)
        else:
            observed[key] = rng.uniform(0, 2 if key.startswith(keys.DEPTH) else 0.35, shape).astype(np.float32)
    if seed == 3 and keys.ENVIRONMENT_STATE in observed:
        observed[keys.ENVIRONMENT_STATE][:2] = -0.25, 0.3
    return observed


def check(policy: Policy, path: Path, *, openvino: bool = True) -> None:
    write_onnx(policy, path)
    networks = [OnnxNetwork(path, threads=1)] + ([OpenVINONetwork(path, threads=1)] if openvino else [])
    chunks = []
    for seed in range(4):
        observed = observation(policy.features, seed)
        chunks.append(policy.predict_chunk(observed))
        for network in networks:
            np.testing.assert_allclose(network(observed), chunks[-1], atol=2e-5, err_msg=type(network).__name__)
    assert np.ptp(chunks, axis=0).max() > 1e-3  # they are not all alike, whatever goes in


@pytest.mark.parametrize("kind", KINDS)
def test_an_exported_network_gives_the_originals_chunks(kind: str, tmp_path: Path) -> None:
    options, features = KINDS[kind]
    check(untrained(PolicyConfig(**{**SMALL, **options}), features), tmp_path / "graph.onnx")


@pytest.mark.slow
def test_the_robot_of_behavior_is_exported_with_its_groups_and_grippers(tmp_path: Path) -> None:
    config = replace(
        preset("r1pro").policy,
        pretrained_backbone_weights=None,
        dim_model=32,
        dim_feedforward=48,
        n_encoder_layers=1,
        image_size=(48, 48),
        crop_size=(40, 40),
    )
    features = Features(
        state_names=tuple(f"s{i}" for i in range(37)),
        action_names=tuple(f"a{i}" for i in range(23)),
        cameras=tuple(
            Camera(name=name, height=size, width=size, depth_range=(0.0, 10.0))
            for name, size in (("left_realsense", 60), ("right_realsense", 60), ("zed", 90))
        ),
        fps=30,
    )
    check(untrained(config, features), tmp_path / "graph.onnx", openvino=False)


@pytest.mark.slow
def test_a_vision_transformer_is_exported(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    options = {**SMALL, "vision_backbone": "dinov2_small", "backbone_norm": "frozen", "conditioning": ("token", "film")}
    cameras = (Camera(name="overhead", height=40, width=60),)
    check(untrained(PolicyConfig(**options), replace(TOLD, cameras=cameras)), tmp_path / "graph.onnx")
