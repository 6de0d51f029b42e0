"""Two sides take turns, so that whatever else the machine does slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any


def take_turns(ours: Callable[[], object], theirs: Callable[[], object], turns: int, n: int = 1
               ) -> dict[str, Any]:  # fmt: skip
    """Return milliseconds of CPU and of the clock, and the ratios turn by turn, after one turn that does not count.

    Args:
        ours: A turn of ours.
        theirs: A turn of LeRobot's.
        turns: How many count.
        n: How often a turn does what is measured.
    """
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    for turn in range(turns + 1):
        for name, call in (("ours", ours), ("theirs", theirs)):
            begun, cpu_begun = time.perf_counter(), time.process_time()
            call()
            spent = (1000 / n * (time.process_time() - cpu_begun), 1000 / n * (time.perf_counter() - begun))
            if turn > 0:
                times[name].append(spent)
    ratios = sorted(t[0] / o[0] for o, t in zip(times["ours"], times["theirs"], strict=True))
    return {
        **{f"{name}_cpu_ms": round(statistics.median(of[0] for of in spent), 4) for name, spent in times.items()},
        **{f"{name}_wall_ms": round(statistics.median(of[1] for of in spent), 4) for name, spent in times.items()},
        "ratio": round(statistics.median(ratios), 2),
        "ratio_from_to": [round(ratios[0], 2), round(ratios[-1], 2)],
        "turns": turns,
    }


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Return median, lowest and highest."""
    return {
        "median": round(statistics.median(values), digits),
        "lowest": round(min(values), digits),
        "highest": round(max(values), digits),
    }
