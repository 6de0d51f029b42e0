"""Milliseconds from a raw observation to a raw chunk at batch 1, for the presets on their reference robots.

    python benchmarks/inference.py --out benchmarks/results/inference.json

Untrained weights: the time does not depend on them.
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from record import Record

from foreact.config import PolicyConfig
from foreact.data.selection import select_features
from foreact.policy.inputs import network_features
from foreact.policy.policy import Policy
from foreact.presets import preset
from foreact.records import Camera, Features, VectorStatistics


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    presets: tuple[str, ...] = ("compact", "r1pro", "so101")
    runs: int = 20
    """Counted runs of each, after 3 that are not."""
    threads: int = os.cpu_count() or 1
    out: Path | None = None
    """Write the figures here as JSON."""


def reference_features(name: str) -> Features:
    """Return what the preset's reference robot gives (ACT.md 1; the simulation for `compact`)."""
    if name == "r1pro":
        cameras = (("left_realsense", 480), ("right_realsense", 480), ("zed", 720))
        return Features(
            state_names=tuple(f"s{i}" for i in range(37)),
            action_names=tuple(f"a{i}" for i in range(23)),
            cameras=tuple(Camera(name=n, height=s, width=s, depth_range=(0.0, 10.0)) for n, s in cameras),
            fps=30,
        )
    height, width = (96, 96) if name == "compact" else (480, 640)
    return Features(
        state_names=tuple(f"s{i}" for i in range(6)),
        action_names=tuple(f"a{i}" for i in range(6)),
        environment_names=("x", "y"),
        cameras=tuple(Camera(name=n, height=height, width=width) for n in ("overhead", "wrist")),
    )


def observation_of(features: Features, recorded: Features) -> dict[str, Any]:
    """Return a random observation in raw units."""
    rng = np.random.default_rng(0)
    observation: dict[str, Any] = {"observation.state": rng.normal(size=features.state_dim).astype(np.float32)}
    if features.environment_dim:
        observation["observation.environment_state"] = rng.normal(size=features.environment_dim).astype(np.float32)
    for camera in recorded.cameras:
        size = (camera.height, camera.width)
        observation[f"observation.images.{camera.name}"] = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        if camera.depth_range is not None:
            observation[f"observation.depth.{camera.name}"] = rng.uniform(0, 10, size).astype(np.float32)
    return observation


def untrained_policy(config: PolicyConfig, recorded: Features) -> Policy:
    """Return a policy with random weights for data with these features."""
    config = replace(config, pretrained_backbone_weights=None)
    features = select_features(recorded, config)
    seen = network_features(config, features)
    dims = {"action": seen.action_dim, "observation.state": seen.state_dim}
    dims["observation.environment_state"] = seen.environment_dim
    one = {key: np.ones(dim) for key, dim in dims.items()}
    fields = ("mean", "std", "min", "max", "q01", "q99")
    stats = {key: VectorStatistics(**{f: one[key] * (f != "mean") for f in fields}, count=1) for key in dims}
    torch.manual_seed(0)
    return Policy(config=config, features=features, statistics=stats)


def measure(name: str, runs: int) -> dict[str, float]:
    """Return median, fastest and slowest time [ms] and the number of parameters [million] of a preset."""
    recorded = reference_features(name)
    policy = untrained_policy(preset(name).policy, recorded)
    observation = observation_of(policy.features, recorded)
    times = []
    for _ in range(3 + runs):
        begun = time.perf_counter()
        policy.predict_chunk(observation)
        times.append(1000 * (time.perf_counter() - begun))
    counted = times[3:]
    parameters = sum(p.numel() for p in policy.model.parameters()) / 1e6
    return {
        "median_ms": round(statistics.median(counted), 2),
        "min_ms": round(min(counted), 2),
        "max_ms": round(max(counted), 2),
        "parameters_million": round(parameters, 2),
    }


def main(options: Options) -> None:
    """Measure each preset, print a line for it and write all of them."""
    torch.set_num_threads(options.threads)
    record = Record(seed=0)
    results: dict[str, Any] = {}
    for name in options.presets:
        results[name] = measure(name, options.runs)
        print(f"{name:<10}{results[name]}")
    settings = {"presets": options.presets, "runs": options.runs}
    record.write(options.out, results=results, settings=settings, threads={"ours": options.threads})


if __name__ == "__main__":
    main(tyro.cli(Options))
