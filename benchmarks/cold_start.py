"""From nothing to the first action: a fresh process that imports the runtime, opens a bundle and acts once.

    python benchmarks/cold_start.py --out benchmarks/results/cold_start.json
    python benchmarks/speed_page.py      # docs/speed.md

Bundles are what `foreact export` writes of untrained policies as large as the presets', with a ResNet-18; their files
are in the system's cache, as after a first start. Beside the clock stands the process's CPU time, which other processes
do not lengthen, and the share of the copy rate (peak.py) at which a start reads its bundle once.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from made_data import write_data
from peak import peak, share
from record import Record
from turns import spread

from foreact.config import PolicyConfig
from foreact.data.selection import select_features
from foreact.data.source import open_source
from foreact.data.statistics import compute_statistics, robot_statistics
from foreact.deploy.export_bundle import Format, Precision, export_bundle
from foreact.deploy.lerobot_names import SAME_NAME
from foreact.policy.checkpoint import save_policy
from foreact.policy.policy import Policy
from foreact.presets import preset
from foreact.threads import cores

SIZES = {"compact": ((96, 96), 2, 6, 6), "r1pro": ((224, 224), 3, 37, 23), "so101": ((480, 640), 2, 6, 6)}
"""Pictures' height and width, number of cameras, dimensions of state and action: those of benchmarks/speed.py."""
GOAL = 2.0
"""Seconds."""
START = """\
import sys
import time

import numpy as np

from foreact_runtime import load_policy

policy = load_policy(sys.argv[1])
features = policy.features
observation = {"observation.state": np.zeros(features.state_dim, np.float32)}
observation["observation.environment_state"] = np.zeros(features.environment_dim, np.float32)
for camera in features.cameras:
    observation[f"observation.images.{camera.name}"] = np.zeros((camera.height, camera.width, 3), np.uint8)
policy.act(observation)
print(time.process_time(), flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    sizes: tuple[str, ...] = tuple(SIZES)
    formats: tuple[Format, ...] = ("onnx", "openvino")
    precisions: tuple[Precision, ...] = ("fp32",)
    repeats: int = 5
    folder: Path | None = None
    """Where data and bundles are kept for the next time; a temporary one where it is not given."""
    out: Path | None = None
    """Write the figures here as JSON."""


def write_run(name: str, folder: Path) -> tuple[Path, Path]:
    """Write a small data set and an untrained policy of a preset's size; return both."""
    size, n_cameras, state_dim, action_dim = SIZES[name]
    of = preset(name).policy
    data = write_data(
        folder / f"{name}-data",
        size=size,
        n_cameras=n_cameras,
        state_dim=state_dim,
        action_dim=action_dim,
        coordinates=of.use_environment_state,
        episodes=2,
        frames=20,
    )
    run = folder / f"{name}-run"
    if not run.exists():
        plain = PolicyConfig(pretrained_backbone_weights=None, conditioning=("token",))
        config = replace(plain, **{option: getattr(of, option) for option in SAME_NAME})
        source = open_source(data)
        features = select_features(source.features, config)
        episodes = [source.episode(index) for index in source.episode_indices]
        known = {**compute_statistics(episodes), **robot_statistics(episodes, features)}
        torch.manual_seed(0)
        save_policy(run, Policy(config=config, features=features, statistics=known))
    return data, run


def start(bundle: Path) -> tuple[float, float]:
    """Return seconds by the clock and of CPU from a process's start to its first action."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", START, str(bundle)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - began
    if process.returncode or not line:
        raise SystemExit(f"the process that opens '{bundle}' failed")
    return seconds, float(line)


def measure(bundle: Path, repeats: int, copy_gb_s: float) -> dict[str, Any]:
    """Return what a bundle's start takes; one that does not count comes first."""
    times = [start(bundle) for _ in range(repeats + 1)][1:]
    seconds = spread([seconds for seconds, _ in times], 3)
    mb = sum(file.stat().st_size for file in bundle.iterdir()) / 1e6
    return {
        "seconds": seconds,
        "cpu_seconds": spread([cpu for _, cpu in times], 3),
        "mb": round(mb, 1),
        "share_of_copy_rate": share(mb / 1e3, seconds["median"], copy_gb_s),
    }


def main(options: Options) -> None:
    """Measure, print and write."""
    record = Record(seed=0)
    rates = peak()
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        for name in options.sizes:
            data, run = write_run(name, folder)
            results[name] = {}
            for kind, format, precision in (
                (f"{precision} {format}", format, precision)
                for precision in options.precisions
                for format in options.formats
            ):
                bundle = folder / f"{name}-{kind.replace(' ', '-')}"
                if not bundle.exists():
                    export_bundle(run, bundle, format=format, precision=precision, data=data)
                results[name][kind] = of = measure(bundle, options.repeats, rates["copy_gb_s"])
                figures = "; ".join(
                    f"{what} {of[key]['median']:.2f} s ({of[key]['lowest']:.2f} to {of[key]['highest']:.2f})"
                    for what, key in (("clock", "seconds"), ("CPU", "cpu_seconds"))
                )
                print(f"{name:<8} {kind:<14} {of['mb']:6.1f} MB  {figures}, goal {GOAL:g}", flush=True)
    settings = {"repeats": options.repeats, "precisions": options.precisions, "formats": options.formats}
    threads = {"ours": cores()}  # both libraries take all
    record.write(options.out, results=results, goal_seconds=GOAL, peak=rates, settings=settings, threads=threads)


if __name__ == "__main__":
    main(tyro.cli(Options))
