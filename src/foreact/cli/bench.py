"""`foreact bench`: every stage's speed beside LeRobot's, measured on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

import foreact
from foreact.cli.options import parse
from foreact.errors import ConfigError

Stage = Literal["networks", "training", "evaluation", "scaling"]
Size = Literal["compact", "r1pro", "so101"]
LEROBOT = ".venv-lerobot/bin/python"


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Measure speed beside LeRobot 0.6.1, in its own environment, which is made where it is missing (3 minutes).

    Works in a checkout of the source, writes benchmarks/results/*.json and the table in docs/speed.md, and wants a
    machine that does nothing else: an hour on two cores. `networks`: a chunk at batch 1, bundles and their start, a
    training step and its memory, with the same weights in one process; `training`: end to end from videos on disk
    beside lerobot-train; `evaluation`: closed-loop episodes a minute; `scaling`: step time and memory as curves beside
    what `foreact plan` predicts.
    """

    stages: Annotated[tuple[Stage, ...], tyro.conf.Positional] = get_args(Stage)
    """All where none is named."""
    sizes: tuple[Size, ...] = get_args(Size)
    """Of `networks` and `training`."""


def run(arguments: list[str]) -> int:
    """Parse and run the benchmarks, each a process of its own; return 0."""
    options = parse(BenchOptions, arguments, command="bench")
    root = Path(foreact.__file__).parents[2]
    if not (root / "benchmarks/speed.py").exists():
        raise ConfigError(
            f"foreact bench needs the source, and '{root}' is none: it runs benchmarks/ beside LeRobot's environment; "
            "clone the repository and type make bench there"
        )
    _call(root, "sh", "scripts/lerobot_environment.sh")
    for stage in options.stages:
        for words in _commands(stage, options.sizes):
            _call(root, *words)
    return 0


def _commands(stage: Stage, sizes: tuple[Size, ...]) -> list[list[str]]:
    """Return a stage's commands, to be run at the root of the source."""

    def results(name: str) -> list[str]:
        return ["--out", f"benchmarks/results/{name}.json"]

    if stage == "networks":
        measure = [LEROBOT, "benchmarks/speed.py", "--sizes", *sizes, *results("speed")]
        start = [sys.executable, "benchmarks/cold_start.py", "--sizes", *sizes, "--precisions", "fp32", "int8"]
        return [measure, [*start, *results("cold_start")], [LEROBOT, "benchmarks/speed_page.py"]]
    if stage == "training":
        return [[sys.executable, "benchmarks/training_speed.py", "--sizes", *sizes, *results("training_speed")]]
    if stage == "evaluation":
        one_thread = ["--threads", "1"]
        return [[sys.executable, "benchmarks/evaluation_speed.py", *one_thread, *results("evaluation_speed")]]
    return [[sys.executable, "benchmarks/scaling.py", "run"]]


def _call(root: Path, *words: str) -> None:
    print("$", *words, flush=True)
    paths = {"PYTHONPATH": "src:runtime/src"} if words[0] == LEROBOT else {}
    done = subprocess.run(words, cwd=root, env=os.environ | paths)
    if done.returncode:
        raise ConfigError(f"'{' '.join(words)}' ended with {done.returncode}; what it printed says why")
