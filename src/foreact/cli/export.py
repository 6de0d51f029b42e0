"""`foreact export RUN OUT`: a policy as one bundle for a robot, or as a checkpoint of LeRobot's."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from foreact.cli.executor_options import ExecutorOptions
from foreact.cli.options import parse
from foreact.errors import ConfigError

if TYPE_CHECKING:
    from foreact.deploy.export_bundle import Exported
    from foreact.policy.policy import Policy
    from foreact.sim.evaluation import Evaluation
    from foreact.sim.task import TaskConfig


@dataclass(frozen=True, kw_only=True)
class ExportOptions(ExecutorOptions):
    """Write a policy as a bundle that runs without torch: pip install foreact-runtime on the robot.

    It is compared with the original on real frames first, and nothing is written where it differs. `--format lerobot`
    writes a checkpoint that LeRobot loads instead.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A run or a checkpoint directory."""
    out: Annotated[Path, tyro.conf.Positional]
    """The directory to write."""
    format: Literal["onnx", "openvino", "torch", "lerobot"] = "onnx"
    """ONNX Runtime, OpenVINO (faster on most CPUs), PyTorch for a GPU, or LeRobot's ACT."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """fp16 halves the file and computes in fp32 on a CPU; int8 is calibrated on real frames and faster. Both print
    their error."""
    data: Path | None = None
    """Real frames to compare and calibrate on; what the run was trained on where it is not given."""
    checkpoint: str = "last"
    """Of a run: last, best, or a step's number."""
    task: str | None = None
    """Level of the simulation, for example L2: measure the bundle's success in closed loop beside the original's."""
    episodes: int = 100
    """Of --task; one seed each."""
    seed: int = 10000
    """Of --task: seed of the first episode."""
    envs: int | None = None
    """Of --task: parallel processes; one a core where it is not given."""
    json: Path | None = None
    """Write what was measured here."""


def run(arguments: list[str]) -> int:
    """Parse, export, say how far it is from the original, and return 0."""
    options = parse(ExportOptions, arguments, command="export")
    if options.episodes < 1:
        raise ConfigError(f"--episodes is {options.episodes}; it must be at least 1")
    if options.format == "lerobot":
        return _lerobot(options)

    from foreact.deploy.export_bundle import export_bundle

    overrides = options.overrides()
    in_simulation = None if options.task is None else _in_simulation(options, options.task, overrides)
    exported = export_bundle(
        options.run,
        options.out,
        format=options.format,
        precision=options.precision,
        data=options.data,
        checkpoint=options.checkpoint,
        overrides=overrides,
    )
    _print(exported, options)
    evaluations = [] if in_simulation is None else _measure(options, *in_simulation)
    if options.json is not None:
        _write(options.json, options, exported, evaluations)
    return 0


def _lerobot(options: ExportOptions) -> int:
    plain = ExportOptions(run=options.run, out=options.out)
    for name in ("precision", "data", "task", "json", *(of.name for of in fields(ExecutorOptions))):
        if getattr(options, name) != getattr(plain, name):
            raise ConfigError(f"--{name.replace('_', '-')} is for bundles, not for --format lerobot; leave it out")

    from foreact.deploy.lerobot_export import export_lerobot

    export_lerobot(options.run, options.out, checkpoint=options.checkpoint)
    print(f"{options.out}: a checkpoint of LeRobot's ACT; ACTPolicy.from_pretrained('{options.out}') loads it")
    print("limits, alarm and asynchronous execution stay behind: LeRobot has none")
    return 0


def _print(exported: Exported, options: ExportOptions) -> None:
    size = sum(file.stat().st_size for file in exported.path.iterdir()) / 1e6
    print(f"{exported.path}: {options.format}, {options.precision}, {size:.1f} MB")
    print(
        f"differs from the original by {exported.largest:.1e} of a normalised unit at most, {exported.mean:.1e} on "
        f"average, on {exported.frames} frames of {exported.data}"
    )
    if options.precision == "fp16":
        print("weights are stored in 16 bits; CPUs compute in 32")


def _in_simulation(options: ExportOptions, name: str, overrides: dict[str, Any]) -> tuple[Policy, TaskConfig]:
    """The original, executed as the bundle will be, and its task: what does not fit is said before the export."""
    from foreact.policy.checkpoint import load_policy
    from foreact.sim.rollout import task_for_policy
    from foreact.sim.task import level

    task = level(name)
    original = load_policy(options.run, checkpoint=options.checkpoint, overrides=overrides)
    return original, task_for_policy(task, original)


def _measure(options: ExportOptions, original: Policy, task: TaskConfig) -> list[Evaluation]:
    """Print the success of both in closed loop, on the same seeds, and return what was measured."""
    from foreact.deploy.load import load_policy
    from foreact.sim.evaluation import Evaluation
    from foreact.sim.rollout import rollout

    evaluations = []
    seeds = range(options.seed, options.seed + options.episodes)
    exported = f"{options.format} {options.precision}"
    for title, policy in (("original", original), (exported, load_policy(options.out))):
        evaluation = Evaluation(name=title, episodes=rollout(policy, task, seeds, n_envs=options.envs, name=title))
        print(f"{title:<16}{evaluation.rate_text()} on {options.task}", flush=True)
        evaluations.append(evaluation)
    return evaluations


def _write(path: Path, options: ExportOptions, exported: Exported, evaluations: list[Evaluation]) -> None:
    from foreact_runtime.manifest import sha256

    content: dict[str, Any] = {
        "run": str(options.run),
        "format": options.format,
        "precision": options.precision,
        "overrides": options.overrides(),
        "bundle_sha256": {file.name: sha256(file) for file in sorted(exported.path.iterdir()) if file.is_file()},
        "error": {
            "largest": exported.largest,
            "mean": exported.mean,
            "unit": "normalised",
            "frames": exported.frames,
            "data": exported.data,
        },
    }
    if evaluations:
        one, other = evaluations
        content["task"] = options.task
        content["seeds"] = [options.seed, options.seed + options.episodes - 1]
        content["success"] = {
            of.name: {"successes": of.successes, "episodes": len(of.episodes), "wilson_95": list(of.interval)}
            for of in evaluations
        }
        pairs = [(a.success, b.success) for a, b in zip(one.episodes, other.episodes, strict=True)]
        content["only_one_succeeds"] = {one.name: pairs.count((True, False)), other.name: pairs.count((False, True))}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
