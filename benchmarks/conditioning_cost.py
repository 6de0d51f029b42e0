"""What each way of conditioning costs at inference: milliseconds from a raw observation to a raw action, batch 1.

    python benchmarks/conditioning_cost.py --out benchmarks/results/conditioning_cost.json

Every policy is asked once a round, in turn, so that a busy machine slows all of them; the ratio to the baseline
(`token`) is taken round by round. Each tick predicts anew (`n_action_steps` 1), so that the inverse kinematics of
`frame` count in full. Untrained weights: the time does not depend on them, but for the inverse kinematics, whose
iterations do.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import tyro
from inference import observation_of, untrained_policy

import foreact
from foreact.config import Conditioning
from foreact.data.sidecar import apply_calibration
from foreact.policy.policy import Policy
from foreact.presets import preset
from foreact.records import Camera, Features
from foreact.sim.calibration import calibration_of_task
from foreact.sim.scene import ACTION_NAMES
from foreact.sim.task import TaskConfig

ONLY_IN_TRAINING = ("token", "auxiliary", "contrastive")
"""The baseline, and what leaves inference as it is."""
WAYS: tuple[tuple[Conditioning, ...], ...] = (
    ("token",),
    *(("token", way) for way in get_args(Conditioning) if way not in ONLY_IN_TRAINING),
    ("token", "crop", "frame"),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    presets: tuple[str, ...] = ("compact", "so101")
    rounds: int = 20
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


def measure(name: str, rounds: int) -> dict[str, dict[str, float]]:
    """Return by way of conditioning: median time [ms], and the ratio to the baseline with its spread."""
    recorded = robot(name)
    options = replace(preset(name).policy, n_action_steps=1)
    policies = {"+".join(ways): untrained_policy(replace(options, conditioning=ways), recorded) for ways in WAYS}
    observation = observation_of(recorded, recorded)
    observation["observation.state"] = np.array([0.0, -1.2, 0.85, 1.5, 0.05, 0.5], np.float32)
    observation["observation.environment_state"] = np.array([0.2, 0.05], np.float32)
    times: dict[str, list[float]] = {ways: [] for ways in policies}
    for _ in range(3 + rounds):
        for ways, policy in policies.items():
            with torch.no_grad():
                policy.model.action_head.weight.zero_()  # the hand stays where it is, within reach
                policy.model.action_head.bias.zero_()
            times[ways].append(tick(policy, observation))
    results = {}
    for ways, of in times.items():
        ratios = [mine / base for mine, base in zip(of[3:], times["token"][3:], strict=True)]
        low, high = np.quantile(ratios, (0.1, 0.9))
        results[ways] = {
            "median_ms": round(statistics.median(of[3:]), 2),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_10": round(float(low), 3),
            "ratio_90": round(float(high), 3),
        }
    return results


def main(options: Options) -> None:
    """Measure, print a line for each way of conditioning, and write all of them."""
    torch.set_num_threads(options.threads)
    results = {}
    for name in options.presets:
        results[name] = measure(name, options.rounds)
        for ways, figures in results[name].items():
            print(f"{name:<10}{ways:<20}{figures}")
    if options.out is not None:
        content = {
            "results": results,
            "settings": {"rounds": options.rounds, "threads": options.threads},
            "versions": {
                "foreact": foreact.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "machine": platform.machine(),
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
