"""Memory that is freed and asked for again comes without new pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from foreact.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def page_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(10_000_000)
before = page_faults()
for _ in range(5):
    np.ones(10_000_000)
print(page_faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_freed_memory_is_used_again() -> None:
    faults = {
        how: int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, check=True).stdout)
        for how in ("kept", "default")
    }
    assert faults["default"] > 5 * 10_000_000 * 8 / 2**21 / 2  # at least one a huge page
    assert faults["kept"] < faults["default"] / 10
