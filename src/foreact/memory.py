"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next allocation, and return whether it does.

    Its default hands blocks as large as a feature map back to the system at once, which clears every page of them
    again for the next step: a tenth of a training step on a CPU (docs/speed.md). The process then stays as large as
    it was at its largest, so this is for processes that do nothing else than train. Elsewhere than on Linux with
    glibc nothing changes.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, _LARGEST) for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD))
