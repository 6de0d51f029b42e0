"""`foreact export`: a policy as one bundle that runs without training's libraries, compared with the original first."""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import foreact
import foreact_runtime
from foreact.deploy.export_graph import input_shapes
from foreact.deploy.export_onnx import store_in_halves, write_network, write_onnx
from foreact.deploy.real_frames import real_observations
from foreact.errors import CheckpointError, ConfigError
from foreact.policy.checkpoint import (
    CheckpointMeta,
    data_paths,
    find_checkpoint,
    overridden,
    read_meta,
    read_policy,
    write_directory,
    write_policy_files,
)
from foreact.policy.observation import tensors_of
from foreact.policy.policy import Policy
from foreact_runtime.backend import open_network
from foreact_runtime.bundle import BUNDLE, BUNDLE_SCHEMA, CHECK, OUTPUT, Bundle
from foreact_runtime.observation import Observation, read_observation

Format = Literal["onnx", "openvino", "torch"]
Precision = Literal["fp32", "fp16", "int8"]

TOLERANCE = 1e-4
"""Largest difference between the original and a network in fp32, in normalised units."""
_COMPARED = 16
"""Real frames on which both are compared."""
_CALIBRATED = 64
"""Real frames from which the ranges of int8 are taken."""
_STORED = 4
"""Of the compared frames, those that the bundle keeps for its self-check."""
_ELSEWHERE = 2.0
"""How much larger an error in reduced precision may be on another processor, whose sums round differently."""
_FLOAT = 0.01
"""A column that varies by less than this share of its value is compared by that: floats tell no finer."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and how far it is from the original on real frames."""

    path: Path
    largest: float
    """Difference of a chunk's entry, in normalised units."""
    mean: float
    frames: int
    """How many they were."""
    data: str
    """And of what data set."""


def export_bundle(
    run: str | Path,
    out: str | Path,
    *,
    format: Format = "onnx",
    precision: Precision = "fp32",
    data: Path | None = None,
    checkpoint: str = "last",
    overrides: dict[str, Any] | None = None,
) -> Exported:
    """Write a policy as a bundle.

    Args:
        run: A run or a checkpoint directory.
        out: The directory to write.
        format: Of the network.
        precision: Of its weights and, for int8, of its arithmetic.
        data: Data set for comparison and calibration; None takes what the run was trained on.
        checkpoint: For a run: "last", "best" or a step's number.
        overrides: How chunks are executed, instead of what was trained with.

    Raises:
        CheckpointError: If the policy cannot be read, `out` exists or cannot be written, or the exported network
            differs from the original by more than `TOLERANCE` in fp32.
        ConfigError: If format and precision do not go together, or the policy draws at random.
        DataError: If there are no real frames.
    """
    out = Path(out)
    if out.exists():
        raise CheckpointError(f"'{out}' exists; choose another OUT or move it away")
    if precision == "int8" and format == "torch":
        raise ConfigError("int8 is for --format onnx and openvino; on PyTorch it would be slower than fp32")
    directory = find_checkpoint(run, checkpoint)
    meta = overridden(read_meta(directory), overrides)
    policy = read_policy(directory, meta)
    frames = real_observations(meta, data, _CALIBRATED if precision == "int8" else _COMPARED)
    inputs = [_arrays(policy, frame) for frame in frames]
    compared = inputs[:: max(1, len(inputs) // _COMPARED)][:_COMPARED]
    expected = np.stack([policy.predict_chunk(frame) for frame in compared])
    if not np.isfinite(expected).all():
        raise CheckpointError(
            f"'{directory}' itself predicts what is not finite on real frames; choose another --checkpoint"
        )
    scale = np.maximum(policy.inputs.chunk_scale().numpy(), _FLOAT * np.abs(expected).max(axis=(0, 1)))
    bundle = Bundle(
        path=out,
        format=format,
        precision=precision,
        features=policy.features,
        settings=policy.executor_settings,
        inputs=tuple(input_shapes(policy.features)),
        scale=tuple(scale.tolist()),
        tolerance=TOLERANCE,
        provenance=_provenance(meta, directory),
    )
    named = ", ".join(str(path) for path in ((data,) if data is not None else data_paths(meta)))
    errors: list[np.ndarray] = []

    def write(folder: Path) -> None:
        network = _write_network(replace(bundle, path=folder), policy, meta, inputs)
        found = np.stack([network(frame) for frame in compared])
        errors.append(np.abs(found - expected) / scale)
        check_error(errors[0], bundle)
        _write_json(folder, bundle, errors[0])
        stored = slice(0, None, max(1, len(compared) // _STORED))
        arrays: dict[str, Any] = {key: np.stack([frame[key] for frame in compared[stored]]) for key in bundle.inputs}
        np.savez_compressed(folder / CHECK, **arrays, chunk=expected[stored])

    write_directory(out, write)
    return Exported(
        path=out, largest=float(errors[0].max()), mean=float(errors[0].mean()), frames=len(compared), data=named
    )


def _arrays(policy: Policy, frame: Observation) -> dict[str, np.ndarray]:
    """What the network takes of an observation."""
    return {key: tensor.numpy() for key, tensor in tensors_of(read_observation(frame, policy.features)).items()}


def _write_network(
    bundle: Bundle, policy: Policy, meta: CheckpointMeta, frames: Sequence[Mapping[str, np.ndarray]]
) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """Write the network's files and return it as it is read from them."""
    if bundle.format == "torch":
        weights = policy.model.state_dict()
        if bundle.precision == "fp16":
            weights = {name: of.half() if of.is_floating_point() else of for name, of in weights.items()}
        write_policy_files(bundle.path, meta, weights)
        return read_policy(bundle.path, meta).predict_chunk
    with tempfile.TemporaryDirectory() as temporary:
        graph = Path(temporary) / "graph.onnx"
        write_onnx(policy, graph)
        if bundle.precision == "fp16":
            store_in_halves(graph)
        if bundle.precision == "int8":
            from foreact.deploy.quantize import quantize

            quantize(graph, frames)
        if bundle.format == "openvino":
            from foreact.deploy.export_openvino import write_openvino

            write_openvino(graph, bundle.network)
        else:
            write_network(graph, bundle.network)
    return open_network(bundle)


def check_error(errors: np.ndarray, bundle: Bundle) -> None:
    """Refuse a network that computes something else; `errors` (N, T, C) are in normalised units."""
    largest = float(errors.max())
    if not np.isfinite(errors).all():
        raise CheckpointError(f"the network exported as {bundle.format} gives what is not finite; try another --format")
    if bundle.precision == "fp32" and largest > TOLERANCE:
        raise CheckpointError(
            f"the exported network differs from the original by {largest:.1e} of a normalised unit, more than "
            f"{TOLERANCE:g}, so nothing was written; try another --format"
        )


def _write_json(folder: Path, bundle: Bundle, errors: np.ndarray) -> None:
    largest = float(errors.max())
    content = {
        "schema_version": BUNDLE_SCHEMA,
        "format": bundle.format,
        "precision": bundle.precision,
        "inputs": list(bundle.inputs),
        "output": OUTPUT,
        "scale": list(bundle.scale),
        "tolerance": TOLERANCE if bundle.precision == "fp32" else max(TOLERANCE, _ELSEWHERE * largest),
        "features": asdict(bundle.features),
        "executor": asdict(bundle.settings),
        "provenance": {**bundle.provenance, "largest_error": largest, "mean_error": float(errors.mean())},
    }
    (folder / BUNDLE).write_text(json.dumps(content, indent=2) + "\n")


def _provenance(meta: CheckpointMeta, checkpoint: Path) -> dict[str, Any]:
    return {
        "checkpoint": str(checkpoint),
        "step": meta.step,
        "data": [str(path) for path in data_paths(meta)],
        "conditioning": list(meta.policy.conditioning),
        "versions": {
            "foreact": foreact.__version__,
            "foreact_runtime": foreact_runtime.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
