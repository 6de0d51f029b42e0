"""How many threads to compute with: as many as there are cores that nobody else is using.

Threads of one step wait for the slowest of them, so a single one that shares its core with another process holds up
all others. PyTorch's own choice, a thread a core, does not look at that.

PyTorch's results depend on the number of threads in their last bits: sums are split among them. So a resumed run goes
on with as many as it was started with (`foreact.train.run`). Evaluation has one thread in each of its processes, which
do not wait for each other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

VARIABLE = "OMP_NUM_THREADS"
_WINDOW = 0.25
"""Seconds that the machine is watched for."""
_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def set_threads(asked: int | Literal["free"] = "free", *, started_with: int | None = None, n_processes: int = 1) -> str:
    """Set the number of PyTorch's threads, and return a line for people: how many, and why.

    In this order: a number that is asked for, $OMP_NUM_THREADS, what the run was started with, the cores that are free
    now. The last is never more than PyTorch has already.

    Args:
        asked: A number, or "free" where nobody asked for one.
        started_with: Of a run that is resumed.
        n_processes: How many on this machine compute side by side and share the free cores. Where there are several
            the number is also put into $OMP_NUM_THREADS, for those that this one starts.
    """
    import torch

    most = torch.get_num_threads()
    if asked != "free":
        number, why = asked, "as asked for"
    elif VARIABLE in os.environ:
        number, why = most, f"${VARIABLE}"
    elif started_with is not None:
        number, why = started_with, "as many as the run was started with"
    else:
        usable = cores()
        free = min(usable, free_cores())
        number, why = max(1, min(most, free // n_processes)), f"{free} of {usable} cores are free"
    torch.set_num_threads(number)
    if n_processes > 1:
        os.environ[VARIABLE] = str(number)
    each = " in each process" if n_processes > 1 else ""
    return f"{number} thread{'s' if number > 1 else ''}{each} ({why})"


def cores(proc: Path = _PROC, cgroup: Path = _CGROUP) -> int:
    """Return how many cores this process may use: its affinity, and the limit of the container that it runs in.

    Args:
        proc: Where Linux tells of processes.
        cgroup: Where it tells of containers' limits.
    """
    return int(max(1, min(len(_allowed()), _limit(proc, cgroup))))


def free_cores(window: float = _WINDOW, proc: Path = _PROC) -> int:
    """Return how many of the cores this process may use are idle, at least 1; elsewhere than on Linux all of them.

    Args:
        window: Seconds to watch them for; this process must not compute meanwhile.
        proc: Where Linux tells of them.
    """
    allowed = _allowed()
    before = _idle_and_all(allowed, proc)
    time.sleep(window)
    after = _idle_and_all(allowed, proc)
    idle = sum(
        (after[core][0] - before[core][0]) / (after[core][1] - before[core][1])
        for core in before
        if core in after and after[core][1] > before[core][1]
    )
    seen = len(before)
    return max(1, int(len(allowed) - seen + idle + 0.5))


def _allowed() -> Sequence[int]:
    if hasattr(os, "sched_getaffinity"):  # only Linux has it
        return sorted(os.sched_getaffinity(0))
    return range(os.cpu_count() or 1)


def _idle_and_all(allowed: Sequence[int], proc: Path) -> dict[int, tuple[int, int]]:
    """Ticks that each core was idle for and ticks that it was there, from /proc/stat (man proc_stat)."""
    path = proc / "stat"
    ticks = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        name, *values = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in allowed:
            of = [int(value) for value in values[:8]]  # the last two, of guests, are part of the first two
            ticks[int(name[3:])] = (of[3] + of[4], sum(of))
    return ticks


def _limit(proc: Path, cgroup: Path) -> float:
    """Cores' worth of time that this process's control groups may use; infinite without a limit."""
    limits = [float("inf")]
    path = proc / "self/cgroup"
    for line in path.read_text().splitlines() if path.exists() else ():
        number, controllers, name = line.split(":", 2)
        if number == "0":
            limits += [_share(group / "cpu.max") for group in _with_parents(cgroup, name)]
        elif "cpu" in controllers.split(","):
            for group in _with_parents(cgroup / "cpu", name):
                limits.append(_share(group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us"))
    return min(limits)


def _with_parents(root: Path, name: str) -> list[Path]:
    group = root / name.lstrip("/")
    return [group, *(parent for parent in group.parents if parent.is_relative_to(root))]


def _share(*files: Path) -> float:
    """Quota over period [microseconds], which stand in one file or in two; infinite where there is no quota."""
    if not all(file.exists() for file in files):
        return float("inf")
    quota, period = " ".join(file.read_text() for file in files).split()
    return float("inf") if quota in ("max", "-1") else int(quota) / int(period)
