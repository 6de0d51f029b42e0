"""Worker processes: what reaches them, and that none is left behind."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from foreact.processes import WorkerPool

ASLEEP = """
import signal, time
from foreact.processes import WorkerPool
if __name__ == "__main__":
    pool = WorkerPool(2, preload={preload})
    print(signal.SIGINT in pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result())
    print(pool.submit(eval, "'colorsys' in __import__('sys').modules").result())
    asleep = [pool.submit(time.sleep, 10_000) for _ in range(2)]
    print("asleep", flush=True)
    asleep[0].result()
"""


def test_each_worker_begins_with_the_initializer(tmp_path: Path) -> None:
    with WorkerPool(1, os.chdir, (tmp_path,)) as pool:
        assert pool.submit(os.getcwd).result() == str(tmp_path)


def fail_while_workers_sleep() -> None:
    with WorkerPool(2) as pool:
        asleep = [pool.submit(time.sleep, 10_000) for _ in range(2)]
        while not all(future.running() for future in asleep):
            time.sleep(0.01)
        raise ZeroDivisionError("of the caller")


def test_an_error_ends_workers_in_the_middle_of_what_they_do_and_is_what_the_caller_sees() -> None:
    with pytest.raises(ZeroDivisionError, match="of the caller"):
        fail_while_workers_sleep()


@pytest.mark.parametrize("preload", [(), ("colorsys",)])
def test_ctrl_c_does_not_reach_workers_but_the_parents_death_ends_them(preload: Sequence[str], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(ASLEEP.format(preload=preload))
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        blocked, imported, asleep = (process.stdout.readline().strip() for _ in range(3))
        assert blocked == "True"
        assert imported == str(bool(preload) and sys.platform == "linux"), "the server has imported what was asked for"
        assert asleep == "asleep"
        process.kill()
        assert process.stdout.read() == ""  # returns when the last that could write there has ended
