"""What this processor says of itself, where that decides how to compute.

A stopwatch would decide by what else happens to run, and a run's numbers must not depend on that.
"""

from __future__ import annotations

import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
BF16_FLAGS = ("avx512_bf16", "amx_bf16")


def is_amd() -> bool:
    """Whether AMD made it; False where that is not known, as elsewhere than on Linux."""
    return "AuthenticAMD" in _cpuinfo()


def has_bf16_units() -> bool:
    """Whether it multiplies bfloat16 itself; emulated, that is slower than float32 (docs/speed.md)."""
    flags = re.search(r"^flags\s*:(.*)$", _cpuinfo(), re.MULTILINE)
    return flags is not None and not set(flags[1].split()).isdisjoint(BF16_FLAGS)


def _cpuinfo() -> str:
    return _CPUINFO.read_text() if _CPUINFO.exists() else ""
