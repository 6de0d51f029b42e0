"""What each way of conditioning costs at inference: milliseconds from a raw observation to a raw action, batch 1.

    python benchmarks/conditioning_cost.py --out benchmarks/results/conditioning_cost.json
    python benchmarks/grounding table       # puts it into docs/grounding.md

Every policy is asked once a round, in turn, so that a busy machine slows all of them; the ratio to the baseline
(`token`) is taken round by round. Untrained weights: the time does not depend on them, but for the inverse kinematics
of `frame`, whose iterations do; so each chunk sends the hand 2 cm forward.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from inference import observation_of, untrained_policy
from record import Record

from foreact.data.sidecar import apply_calibration
from foreact.policy.policy import Policy
from foreact.presets import preset
from foreact.records import Camera, Features
from foreact.sim.calibration import calibration_of_task
from foreact.sim.scene import ACTION_NAMES
from foreact.sim.task import CAMERAS, TaskConfig

BASELINE = "token"
_SINGLE = ("auxiliary", "contrastive", "crop", "film", "strong", "heatmap", "world", "frame")
WAYS: Mapping[str, Mapping[str, Any]] = {
    BASELINE: {},
    **{f"token + {way}": {"conditioning": ("token", way)} for way in _SINGLE},
    "token + crop + frame": {"conditioning": ("token", "crop", "frame")},
    "the same, overhead camera alone (the study's best)": {
        "conditioning": ("token", "crop", "frame"),
        "cameras": ("overhead",),
    },
    "token + crop + frame + world, half-size picture beside the overhead crop": {
        "conditioning": ("token", "crop", "frame", "world"),
        "cue_crop_full": ("overhead",),
        "cue_crop_full_scale": 0.5,
    },
    "the same of both cameras (the presets)": {
        "conditioning": ("token", "crop", "frame", "world"),
        "cue_crop_cameras": CAMERAS,
        "cue_crop_full": CAMERAS,
        "cue_crop_full_scale": 0.5,
    },
    "token, ViT (DINOv2 small)": {"vision_backbone": "dinov2_small", "backbone_norm": "frozen"},
}
"""Changes of a preset's policy; `auxiliary` and `contrastive` leave the network at inference as it is."""
_FORWARD = 0.02


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    presets: tuple[str, ...] = ("compact", "so101")
    rounds: int = 15
    """Counted rounds, after 3 that are not."""
    threads: int = 1
    out: Path | None = None
    """Write the figures here as JSON."""


def robot(name: str) -> Features:
    """Return the simulated SO-101 with calibrated cameras of the preset's size."""
    size = (128, 128) if name.startswith("compact") else (480, 640)
    task = TaskConfig(overhead_size=size, wrist_size=size)
    bare = Features(
        action_names=ACTION_NAMES,
        state_names=ACTION_NAMES,
        environment_names=("x", "y"),
        cameras=tuple(Camera(name=camera, height=size[0], width=size[1]) for camera in task.cameras),
    )
    return apply_calibration(bare, calibration_of_task(task))


def tick(policy: Policy, observation: dict[str, Any]) -> float:
    """Return the time [ms] of one observation to one action."""
    begun = time.perf_counter()
    chunk = policy.predict_chunk(observation)
    executor = policy.make_executor()
    executor.add(chunk)
    executor.next_action()
    return 1000 * (time.perf_counter() - begun)


def moving(policy: Policy) -> Policy:
    """Return the policy with chunks that send the hand 2 cm forward: statistics are 1, so the head's unit is metres."""
    with torch.no_grad():
        policy.model.action_head.weight.zero_()
        policy.model.action_head.bias.zero_()
        policy.model.action_head.bias[0] = _FORWARD
    return policy


def measure(name: str, rounds: int) -> dict[str, dict[str, float]]:
    """Return by way of conditioning: median time [ms], and the ratio to the baseline with its spread."""
    recorded = robot(name)
    base = replace(preset(name).policy, n_action_steps=1)
    policies = {way: moving(untrained_policy(replace(base, **changes), recorded)) for way, changes in WAYS.items()}
    observation = observation_of(recorded, recorded)
    observation["observation.state"] = np.array([0.0, -1.2, 0.85, 1.5, 0.05, 0.5], np.float32)
    observation["observation.environment_state"] = np.array([0.2, 0.05], np.float32)
    times: dict[str, list[float]] = {way: [] for way in policies}
    for _ in range(3 + rounds):
        for way, policy in policies.items():
            times[way].append(tick(policy, observation))
    results = {}
    for way, of in times.items():
        ratios = [mine / theirs for mine, theirs in zip(of[3:], times[BASELINE][3:], strict=True)]
        low, high = np.quantile(ratios, (0.1, 0.9))
        results[way] = {
            "median_ms": round(statistics.median(of[3:]), 2),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_10": round(float(low), 3),
            "ratio_90": round(float(high), 3),
        }
    return results


def main(options: Options) -> None:
    """Measure, print a line for each way of conditioning, and write all of them."""
    torch.set_num_threads(options.threads)
    record = Record(seed=0)
    results = {}
    for name in options.presets:
        results[name] = measure(name, options.rounds)
        for way, figures in results[name].items():
            print(f"{name:<10}{way:<56}{figures}")
    settings = {"presets": options.presets, "rounds": options.rounds}
    record.write(options.out, results=results, settings=settings, threads={"ours": options.threads})


if __name__ == "__main__":
    main(tyro.cli(Options))
