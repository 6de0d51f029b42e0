"""Networks as `foreact export` writes them, for a benchmark: without normalisation, so that LeRobot's take the same."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from foreact.config import PolicyConfig
from foreact.deploy.export_graph import input_shapes
from foreact.deploy.export_onnx import write_onnx
from foreact.deploy.export_openvino import write_openvino
from foreact.deploy.quantize import quantize
from foreact.model.act import ACT
from foreact.normalizer import IMAGENET_MEAN, IMAGENET_STD
from foreact.policy.policy import Policy
from foreact.records import Batch, Features
from foreact_runtime import keys
from foreact_runtime.backend_onnx import OnnxNetwork
from foreact_runtime.backend_openvino import OpenVINONetwork

Frame = dict[str, np.ndarray]
"""What a bundle's network takes of one observation."""
_CALIBRATED = 8
"""Frames for int8's ranges, of which the time does not depend."""


def make_frame(features: Features, rng: np.random.Generator) -> Frame:
    """Return a random observation: vectors float32, pictures uint8."""
    return {
        key: rng.integers(0, 256, shape, dtype=np.uint8)
        if keys.camera_of(key)
        else rng.normal(size=shape).astype(np.float32)
        for key, shape in input_shapes(features).items()
    }


def as_batch(frame: Frame, features: Features) -> Batch:
    """Return it as the networks in PyTorch take it, its pictures already normalised."""
    mean, std = (torch.tensor(of).view(3, 1, 1) for of in (IMAGENET_MEAN, IMAGENET_STD))
    pictures = {of.name: torch.from_numpy(frame[keys.image_key(of.name)]) for of in features.cameras}
    where = frame.get(keys.ENVIRONMENT_STATE)
    return Batch(
        images={name: ((of.permute(2, 0, 1)[None] / 255 - mean) / std).contiguous() for name, of in pictures.items()},
        state=torch.from_numpy(frame[keys.STATE])[None],
        environment_state=None if where is None else torch.from_numpy(where)[None],
    )


def write_networks(
    model: ACT, config: PolicyConfig, features: Features, folder: Path, threads: int
) -> dict[str, Callable[[Frame], np.ndarray]]:
    """Write and open a network of each kind, by "precision library"."""
    same = {f"{kind}_normalization": "identity" for kind in ("state", "environment", "action")}
    options = replace(config, **same)  # type: ignore[arg-type]
    policy = Policy(config=options, features=features, statistics={}, model=deepcopy(model))
    rng = np.random.default_rng(1)
    graphs = {precision: folder / f"{precision}.onnx" for precision in ("fp32", "int8")}
    for precision, graph in graphs.items():
        write_onnx(policy, graph)
        if precision == "int8":
            quantize(graph, [make_frame(features, rng) for _ in range(_CALIBRATED)])
        write_openvino(graph, graph.with_suffix(".xml"))
    return {
        f"{precision} {name}": network(graph.with_suffix(suffix), threads)
        for precision, graph in graphs.items()
        for name, network, suffix in (("onnx", OnnxNetwork, ".onnx"), ("openvino", OpenVINONetwork, ".xml"))
    }
