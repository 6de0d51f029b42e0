"""How many threads: from the kernel's own files, written here by hand, and from this machine's."""

import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
import torch

from foreact.threads import VARIABLE, cores, free_cores, set_threads

N_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
OLD = "cpu/x/cpu.cfs_"
ALLOWED = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(N_CORES))


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """No number from outside, and PyTorch's setting as the other tests expect it."""
    monkeypatch.setenv(VARIABLE, "1")  # so that whatever a test puts there is taken away again
    monkeypatch.delenv(VARIABLE)


def stat_of(proc: Path, idle: int, busy: int) -> None:
    """Every core with so many ticks of idling (some of it waiting for a disk) and of user, niced and system time."""
    lines = [f"cpu{core} {busy} {busy} {busy} {idle} {idle} 0 0 0 7 7" for core in ALLOWED]
    proc.mkdir(exist_ok=True)
    (proc / "stat").write_text("\n".join(["cpu 1 2 3 4 5 6 7 8 9 10", *lines, "intr 5 0 0"]) + "\n")


@pytest.mark.parametrize(("idle", "busy", "free"), [(30, 0, N_CORES), (0, 20, 1), (45, 10, round(0.75 * N_CORES))])
def test_free_cores_are_the_idle_share_of_what_the_kernel_counted(
    tmp_path: Path, idle: int, busy: int, free: int
) -> None:
    """90 ticks of idling and 30 of work in each core are three quarters of them."""
    stat_of(tmp_path, 1000, 500)
    later = Thread(target=lambda: (time.sleep(0.2), stat_of(tmp_path, 1000 + idle, 500 + busy)))  # type: ignore[func-returns-value]
    later.start()
    assert free_cores(0.6, tmp_path) == max(1, free)
    later.join()


def test_without_the_kernels_count_all_cores_are_free(tmp_path: Path) -> None:
    assert free_cores(0.0, tmp_path) == N_CORES


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "100000 100000"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 1),
        ("0::/a\n", {"a/cpu.max": "max 100000"}, N_CORES),
        (
            "4:memory:/x\n3:cpu,cpuacct:/x\n",
            {f"{OLD}quota_us": "50000", f"{OLD}period_us": "100000"},
            1,
        ),
        ("3:cpu:/x\n", {f"{OLD}quota_us": "-1", f"{OLD}period_us": "100000"}, N_CORES),
        ("", {}, N_CORES),
    ],
)
def test_a_containers_limit_counts(tmp_path: Path, membership: str, files: dict[str, str], expected: int) -> None:
    """The two formats of Linux's control groups; the narrowest of a group and those around it."""
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text(membership)
    for name, content in files.items():
        (cgroup / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroup / name).write_text(f"{content}\n")
    assert cores(proc, cgroup) == expected


def test_a_number_that_is_asked_for_comes_first_then_the_environments_then_the_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = torch.get_num_threads()
    try:
        assert set_threads(2, started_with=1) == "2 threads (as asked for)"
        assert torch.get_num_threads() == 2
        assert set_threads(started_with=1) == "1 thread (as many as the run was started with)"
        assert torch.get_num_threads() == 1
        monkeypatch.setenv(VARIABLE, "1")
        assert set_threads(started_with=2) == f"1 thread (${VARIABLE})"
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_processes_share_the_number_and_hand_it_on() -> None:
    before = torch.get_num_threads()
    try:
        line = set_threads(n_processes=8 * N_CORES)
        assert line.startswith("1 thread in each process (")
        assert line.endswith(f" of {cores()} cores are free)")
        assert os.environ[VARIABLE] == "1"
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux counts this way")
def test_a_process_that_keeps_every_core_busy_leaves_one_thread() -> None:
    """Real processes, one a core."""
    spin = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    processes = [subprocess.Popen(spin, stdout=subprocess.PIPE) for _ in range(N_CORES)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        assert free_cores() == 1
    finally:
        for process in processes:
            process.kill()
            process.communicate()
