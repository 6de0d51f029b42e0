"""What this processor says of itself, where that decides how to compute.

A stopwatch would decide by what else happens to run, and a run's numbers must not depend on that.
"""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
BF16_FLAGS = ("avx512_bf16", "amx_bf16")


def is_amd() -> bool:
    """Whether AMD made it; False where that is not known, as elsewhere than on Linux."""
    return cpuinfo().get("vendor_id") == "AuthenticAMD"


def has_bf16_units() -> bool:
    """Whether it multiplies bfloat16 itself; emulated, that is slower than float32 (docs/speed.md)."""
    return not set(cpuinfo().get("flags", "").split()).isdisjoint(BF16_FLAGS)


def cpuinfo() -> dict[str, str]:
    """Return what Linux says of the last core by field (man proc_cpuinfo); nothing elsewhere."""
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.exists() else []
    fields = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in fields}
