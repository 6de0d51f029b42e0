"""A cell from nothing to its result: record, train, evaluate, write. Every step goes on where it was interrupted."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import mujoco
import torch
from benchmarks.grounding.cells import Cell, changes, plain
from benchmarks.grounding.data import prepare, recorded_seeds, recording
from benchmarks.grounding.lerobot_peer import (
    PYTHON,
    LeRobotPolicy,
    pretrained_model,
    saved_steps,
    train_lerobot,
)
from benchmarks.grounding.measure import measure
from benchmarks.grounding.results import RESULTS, write_result

import foreact
from foreact.console import console
from foreact.data.files import write_json
from foreact.data.source import open_source
from foreact.deploy.import_checkpoint import import_checkpoint
from foreact.deploy.unsaid import Unsaid
from foreact.diagnose.report import diagnose
from foreact.errors import ConfigError
from foreact.policy.checkpoint import CHECKPOINTS, checkpoints_in, load_policy
from foreact.policy.policy import Policy
from foreact.train.run import train

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and with how much of the machine a cell is computed; decides no result."""

    work: Path = Path("runs/grounding")
    """Data sets, runs and unfinished evaluations; not part of the repository."""
    results: Path = RESULTS
    threads: int = 1
    envs: int = 2
    """Simulating processes of evaluations."""
    device: str = "cpu"
    """Of the policy in evaluations, and of LeRobot's training; ours takes the accelerator that there is."""
    lerobot_python: Path = PYTHON


def run_cell(cell: Cell, machine: Machine, *, redo: bool = False) -> Path:
    """Compute what is missing of a cell and return its result's file.

    Args:
        cell: What to compute.
        machine: Where.
        redo: Throw a training run away that was made with other settings.

    Raises:
        KeyboardInterrupt: If Ctrl-C ended it; the same call goes on.
        ConfigError: If there is a training run with other settings and `redo` is False.
        ForeactError: From recording, training and evaluation.
    """
    torch.set_num_threads(machine.threads)
    data = prepare(cell.data, machine.work / "data", workers=machine.threads)
    folder = machine.work / cell.name
    _make_way(cell, folder, redo=redo)
    out = folder / "run"
    _train(cell, data, out, folder, machine)
    told = recording(cell.data, machine.work / "data")  # where coordinates were made to lie, the true ones
    diagnosis = _diagnosis(cell, told, out, folder, machine) if cell.diagnose else None
    if cell.variant.by == "lerobot":
        with LeRobotPolicy(
            cell.run, data=data, out=out, python=machine.lerobot_python, threads=machine.threads
        ) as peer:
            # it has what `rollout` and the measurements ask of a policy
            figures = _figures(cell, cast(Policy, peer), folder, machine)
            n_parameters, versions = peer.parameters, {"lerobot": peer.version}
    else:
        policy = load_policy(out, device=machine.device)
        figures = _figures(cell, policy, folder, machine)
        n_parameters = sum(parameter.numel() for parameter in policy.model.parameters())
        versions = {}
    source = open_source(data)
    figures["training"] |= {
        "parameters_million": round(n_parameters / 1e6, 2),
        "episodes": len(source.lengths),
        "frames": sum(source.lengths.values()),
    }
    result = {
        **_about(cell, machine),
        "versions": _versions() | versions,
        **figures,
        "diagnosis": diagnosis,
        "settings": cell.settings(),
    }
    return write_result(cell, result, machine.results)


def steps_done(cell: Cell, work: Path) -> int:
    """Return how many steps of a cell's training are saved."""
    out = work / cell.name / "run"
    if cell.variant.by == "lerobot":
        return saved_steps(out)
    found = checkpoints_in(out / CHECKPOINTS)
    return int(found[-1].name.removeprefix("step-")) if found else 0


def _make_way(cell: Cell, folder: Path, *, redo: bool) -> None:
    """Compare what an earlier call trained with what is wanted; evaluations are compared one by one."""
    settings = {name: value for name, value in cell.settings().items() if name in ("data", "by", "policy", "train")}
    path = folder / "settings.json"
    if path.exists():
        differing = changes(json.loads(path.read_text()), settings)
        if differing and not redo:
            raise ConfigError(
                f"'{folder}' holds a run with other settings: {differing[0]}"
                f"{f' and {len(differing) - 1} more' if len(differing) > 1 else ''}; --redo throws it away"
            )
        if differing:
            shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, settings)


def _train(cell: Cell, data: Path, out: Path, folder: Path, machine: Machine) -> None:
    steps = steps_done(cell, machine.work)
    if steps >= cell.run.train.steps:
        return
    if cell.variant.by == "lerobot":
        with _stopwatch(folder):
            python, threads, device = machine.lerobot_python, machine.threads, machine.device
            train_lerobot(cell.run, data=data, out=out, python=python, threads=threads, device=device)
        return
    with _stopwatch(folder):
        result = train(cell.run, data=data, out=out, resume=steps > 0, cache_dir=machine.work / "cache")
    if result.interrupted:
        raise KeyboardInterrupt


def _figures(cell: Cell, policy: Policy, folder: Path, machine: Machine) -> dict[str, Any]:
    """Measure what is not yet measured of the trained policy; each condition is kept as soon as it is."""
    recorded = recorded_seeds(cell.data, machine.work / "data")
    settings = cell.settings()["conditions"]
    conditions = {}
    for condition in cell.conditions:
        path = folder / f"{condition.name}.json"
        kept = json.loads(path.read_text()) if path.exists() else None
        if kept is None or changes(kept["settings"], settings[condition.name]):
            figures = measure(policy, condition, n_envs=machine.envs, recorded=recorded)
            kept = {"settings": settings[condition.name], "figures": plain(figures)}
            write_json(path, kept)
        conditions[condition.name] = kept["figures"]
    minutes = json.loads((folder / "minutes.json").read_text())["training"]
    return {
        "training": {"samples": cell.samples, "steps": cell.run.train.steps, "minutes": round(minutes, 2)},
        "conditions": conditions,
    }


def _diagnosis(cell: Cell, data: Path, out: Path, folder: Path, machine: Machine) -> dict[str, Any]:
    """Return the verdict, severity and single numbers of each question; it is asked once."""
    path = folder / "diagnosis.json"
    if not path.exists():
        run = _imported(out, data, folder) if cell.variant.by == "lerobot" else out
        report = diagnose(run, data=data, cache_dir=machine.work / "cache", device=machine.device)
        findings = {}
        for finding in report.findings:
            numbers = {name: value for name, value in finding.evidence.items() if isinstance(value, int | float | str)}
            findings[finding.question] = {"verdict": finding.verdict, "severity": finding.severity, **numbers}
        write_json(path, plain(findings))
    return dict(json.loads(path.read_text()))


def _imported(out: Path, data: Path, folder: Path) -> Path:
    """Return LeRobot's policy as a checkpoint of ours."""
    ours = folder / "imported"
    shutil.rmtree(ours, ignore_errors=True)
    import_checkpoint(str(pretrained_model(out)), ours, Unsaid(data=data))
    return ours


@contextmanager
def _stopwatch(folder: Path) -> Iterator[None]:
    """Add the time spent inside to the minutes of training, also where it is interrupted."""
    path = folder / "minutes.json"
    before = json.loads(path.read_text())["training"] if path.exists() else 0.0
    begun = time.perf_counter()
    try:
        yield
    finally:
        write_json(path, {"training": before + (time.perf_counter() - begun) / 60})


def _about(cell: Cell, machine: Machine) -> dict[str, Any]:
    return {
        "cell": cell.name,
        "data": cell.data.name,
        "variant": cell.variant.name,
        "title": cell.variant.title,
        "seed": cell.seed,
        "command": f"python benchmarks/grounding run --only {shlex.quote(cell.name)} --threads {machine.threads}",
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "threads": machine.threads,
            "envs": machine.envs,
            "load_average": round(os.getloadavg()[1], 1),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }


def _versions() -> dict[str, Any]:
    return {
        "foreact": foreact.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "mujoco": mujoco.__version__,
    }


def _commit() -> str | None:
    """The repository's commit, with `-dirty` where files differ from it; None outside a repository."""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    if shutil.which("git") is None:
        return None
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None


def say(text: str) -> None:
    """Print a line to the person who waits."""
    console.print(text, style="bold", highlight=False, markup=False)
