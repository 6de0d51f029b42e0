"""What every benchmark notes beside its figures: processor, threads and versions of both sides, and who else computed.

    record = Record(seed=0)             # at the start: the machine is watched for a second
    ..
    record.write(options.out, results=results, settings={"turns": 3}, threads={"ours": 1, "LeRobot": 1})

A run is `busy`, aloud and in the file, where other programs used more than half a core, or where a benchmark has a
reason of its own. Linux only.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import foreact
from foreact.processor import cpuinfo
from foreact.threads import cores

LEROBOT = Path(".venv-lerobot/bin/python")
"""The interpreter of LeRobot's environment, in a checkout; scripts/lerobot_environment.sh makes it."""
OTHERS = 0.5
"""Cores that other programs may use on average."""
_WATCHED = 1.0
"""Seconds before the start."""
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
_DISTRIBUTIONS = ("lerobot", "torch", "numpy", "lightning", "onnxruntime", "openvino", "nncf", "torchcodec", "av")


class Neighbours:
    """What other programs compute from now on."""

    def __init__(self) -> None:
        self._begun = self._now()

    def cores(self) -> float:
        """Return how many cores they used on average until now."""
        wall, busy, own = (now - begun for now, begun in zip(self._now(), self._begun, strict=True))
        return round(max(0.0, busy - own) / wall, 2)

    @staticmethod
    def _now() -> tuple[float, float, float]:
        return time.perf_counter(), busy_seconds(), cpu_of_tree(os.getpid())


class Record:
    """What was so while a benchmark ran."""

    def __init__(self, *, seed: int | None = None, lerobot: Path | None = None) -> None:
        """Watch the machine for a second.

        Args:
            seed: Of what is drawn; None where nothing is.
            lerobot: The interpreter of LeRobot's environment where that is not this process's.
        """
        self._seed, self._lerobot, self._load = seed, lerobot, _load()
        before = Neighbours()
        time.sleep(_WATCHED)
        self._before = before.cores()
        if self._before > OTHERS:
            _say(f"other programs are using {self._before:g} cores, so these figures will be marked as busy")
        self._neighbours = Neighbours()

    def write(
        self,
        out: Path | None,
        *,
        results: Any,
        settings: Mapping[str, Any],
        threads: Mapping[str, int],
        busy: Sequence[str] = (),
        **further: Any,
    ) -> None:
        """Write the figures as JSON with all that was so, where a file is wanted.

        Args:
            out: The file; None writes none.
            results: The figures.
            settings: How they were measured.
            threads: To compute with, of each side.
            busy: Reasons why the figures are not those of an idle machine, besides other programs.
            **further: More to be written.
        """
        during = self._neighbours.cores()
        reasons = [
            *(f"other programs used {of:g} cores {when}" for when, of in (("before", self._before), ("during", during))
              if of > OTHERS),
            *busy,
        ]  # fmt: skip
        for reason in reasons:
            _say(reason)
        if out is None:
            return
        both = {"ours": {"foreact": foreact.__version__, **versions(sys.executable)}}
        if self._lerobot is not None or "lerobot" in both["ours"]:
            both["LeRobot"] = versions(self._lerobot) if self._lerobot else both["ours"]
        content = {
            "results": results,
            **further,
            "settings": settings,
            "seed": self._seed,
            "machine": {
                **processor(),
                "cores": cores(),
                "threads": threads,
                "load": {"before": self._load, "after": _load()},
                "cores_of_others": {"before": self._before, "during": during},
                "busy": reasons,
            },
            "versions": both,
            "command": shlex.join(word.removeprefix(f"{Path.cwd()}/") for word in (sys.executable, *sys.argv)),
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(content, indent=2) + "\n")


def processor() -> dict[str, Any]:
    """Return the processor's name, and those of its vector units that matter."""
    fields = cpuinfo()
    name = f"{fields.get('model name', platform.machine())}, family {fields.get('cpu family', '?')}"
    return {"cpu": name, "flags": [flag for flag in _FLAGS if flag in fields.get("flags", "").split()]}


def versions(python: str | Path) -> dict[str, str]:
    """Return the versions in an interpreter's environment, from what its installed distributions say."""
    code = (
        "import json, platform; from importlib.metadata import distributions as all; "
        "print(json.dumps({'python': platform.python_version(), **{of.name: of.version for of in all()}}))"
    )
    done = subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return {name: found[name] for name in ("python", *_DISTRIBUTIONS) if name in found}


def busy_seconds() -> float:
    """Return for how long the cores that this process may use have computed, for whomever (man proc_stat)."""
    allowed = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name in allowed:
            user, nice, system, _idle, _waiting, *others = map(int, values[:8])  # guests are part of the first two
            ticks += user + nice + system + sum(others)
    return ticks / os.sysconf("SC_CLK_TCK")


def cpu_of_tree(root: int) -> float:
    """Return the CPU seconds of a process, of its children and of theirs, ended ones included (man proc_pid_stat)."""
    children: dict[int, list[int]] = {}
    spent: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            values = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        number = int(path.parent.name)
        children.setdefault(int(values[1]), []).append(number)
        spent[number] = sum(int(value) for value in values[11:15]) / os.sysconf("SC_CLK_TCK")
    total, waiting = 0.0, [root]
    while waiting:
        number = waiting.pop()
        total += spent.get(number, 0.0)
        waiting += children.get(number, [])
    return total


def _load() -> float:
    """Return the mean number of processes that wanted to compute in the last minute, our own among them."""
    return round(os.getloadavg()[0], 2)


def _say(reason: str) -> None:
    print(f"BUSY: {reason}", file=sys.stderr, flush=True)
