"""`foreact bench`: every stage's speed beside LeRobot's, measured on this machine."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

import foreact
from foreact.cli.options import parse
from foreact.errors import ConfigError

Stage = Literal["networks", "odds", "evaluation", "data", "training", "scaling"]
Size = Literal["compact", "r1pro", "so101"]
LEROBOT = ".venv-lerobot/bin/python"
RESULTS, QUICK = "benchmarks/results", "runs/bench-quick"


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Measure speed beside LeRobot 0.6.1, in its own environment, which is made where it is missing (3 minutes).

    Works in a checkout of the source, writes benchmarks/results/*.json, their tables in speed.md beside them and in
    docs/speed.md, and wants a machine that does nothing else: about two hours on two cores. `networks`: a chunk at
    batch 1, bundles and their start, a training step, in bfloat16 too, and its memory, with the same weights in one
    process; `odds`: the temporal ensemble and `foreact --help`; `evaluation`: closed-loop episodes a minute; `data`:
    samples a second; `training`: end to end from videos on disk beside lerobot-train; `scaling`: step time and memory
    as curves beside what `foreact plan` predicts. After Ctrl-C the same command goes on with what is not measured yet.
    """

    stages: Annotated[tuple[Stage, ...], tyro.conf.Positional] = get_args(Stage)
    """All where none is named."""
    sizes: tuple[Size, ...] = get_args(Size)
    """Of `networks` and `training`."""
    quick: bool = False
    """A quarter of an hour, to see that all of it works: few turns, into runs/bench-quick. No figures to keep."""
    fresh: bool = False
    """Measure again what an interrupted run has measured."""


def run(arguments: list[str]) -> int:
    """Parse and run the benchmarks, each a process of its own; return 0."""
    options = parse(BenchOptions, arguments, command="bench")
    root = Path(foreact.__file__).parents[2]
    if not (root / "benchmarks/speed.py").exists():
        raise ConfigError(
            f"foreact bench needs the source, and '{root}' is none: it runs benchmarks/ beside LeRobot's environment; "
            "clone the repository and type make bench there"
        )
    commands = [words for stage in options.stages for words in _commands(stage, options)]
    progress = root / ("runs/bench-quick.json" if options.quick else "runs/bench.json")
    if options.fresh:
        progress.unlink(missing_ok=True)
    _call(root, ["sh", "scripts/lerobot_environment.sh"])
    _call_all(root, commands, progress)
    _call(root, _page(quick=options.quick))
    progress.unlink(missing_ok=True)
    return 0


def _call_all(root: Path, commands: Sequence[Sequence[str]], progress: Path) -> None:
    """Run what an interrupted run has not run, and keep track."""
    done: list[str] = json.loads(progress.read_text()) if progress.exists() else []
    for words in commands:
        line = shlex.join(words)
        if line in done:
            print(f"measured before the interruption ({progress} says; --fresh measures again): {line}", flush=True)
            continue
        _call(root, words)
        done.append(line)
        progress.parent.mkdir(exist_ok=True)
        progress.write_text(json.dumps(done, indent=2) + "\n")


def _commands(stage: Stage, options: BenchOptions) -> list[list[str]]:
    """Return a stage's commands, to be run at the root of the source."""
    folder, quick = QUICK if options.quick else RESULTS, options.quick

    def command(what: str, *words: str, if_quick: str = "", python: str = sys.executable) -> list[str]:
        script, *part = what.split()
        few = if_quick.split() if quick else []
        return [python, f"benchmarks/{script}.py", *part, *words, *few, "--out", f"{folder}/{script}.json"]

    sizes = ("--sizes", *options.sizes)
    if stage == "networks":
        precisions = ("--precisions", "fp32", *(() if quick else ("int8",)))
        return [
            command("speed", *sizes, if_quick="--turns 2 --steps 1 --memory 1", python=LEROBOT),
            command("bf16", *sizes, if_quick="--steps 1", python=LEROBOT),
            command("cold_start", *sizes, *precisions, if_quick="--repeats 1"),
        ]
    if stage == "odds":
        return [command("odds", "--python", sys.executable, if_quick="--turns 2 --starts 1", python=LEROBOT)]
    if stage == "evaluation":
        return [command("evaluation_speed", "--threads", "1", if_quick="--episodes 10 --turns 1")]
    if stage == "data":
        return [command("data_speed", if_quick="--small")]
    if stage == "training":
        few = "--turns 1 --workers 4 --every 1 --batch 2 --episodes 2 --frames 60"
        return [command("training_speed", *sizes, if_quick=few)]
    return [command("scaling run", "--redo", if_quick=f"--only base image-64 --plots {QUICK}/scaling.png")]


def _page(*, quick: bool) -> list[str]:
    """Return the command that writes the tables of all that is measured."""
    where = ("--results", QUICK) if quick else ("--results", RESULTS, "--page", "docs/speed.md")
    return [sys.executable, "benchmarks/speed_page.py", *where]


def _call(root: Path, words: Sequence[str]) -> None:
    print("$", *words, flush=True)
    paths = {"PYTHONPATH": "src:runtime/src"} if words[0] == LEROBOT else {}
    done = subprocess.run(words, cwd=root, env=os.environ | paths)
    if done.returncode:
        raise ConfigError(f"'{shlex.join(words)}' ended with {done.returncode}; what it printed says why")
