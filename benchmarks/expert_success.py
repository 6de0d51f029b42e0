"""How often the scripted expert succeeds at each level: the most that a policy learning from it can hope for.

    python benchmarks/expert_success.py --out benchmarks/results/expert_success.json

It sees the true positions, so no pictures are rendered; seeds 0..199 of all levels take well under a minute.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import tyro

from foreact.intervals import wilson
from foreact.sim.expert_rollout import rollout_expert
from foreact.sim.task import level


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    levels: tuple[str, ...] = ("L0", "L1", "L2", "L3")
    episodes: int = 200
    """Seeds `seed` to `seed` + `episodes` - 1."""
    seed: int = 0
    fps: float = 10.0
    """Control rate [Hz]."""
    processes: int = 2
    out: Path | None = None
    """Write the figures here as JSON."""


def measure(name: str, options: Options) -> dict[str, Any]:
    """Return one level's figures."""
    seeds = range(options.seed, options.seed + options.episodes)
    results = rollout_expert(level(name, fps=options.fps), seeds, n_processes=options.processes)
    successes = [result for result in results if result.success]
    closing = [result.closed_to_target_mm for result in successes if result.closed_to_target_mm is not None]
    low, high = wilson(len(successes), len(results))
    return {
        "level": name,
        "episodes": len(results),
        "successes": len(successes),
        "interval_95": [round(low, 4), round(high, 4)],
        "outcomes": dict(Counter(result.outcome for result in results)),
        "failed_seeds": [result.seed for result in results if not result.success],
        "mean_seconds": round(mean(result.seconds for result in successes), 2),
        "longest_seconds": max(result.seconds for result in successes),
        "median_closing_mm": round(median(closing), 2),
    }


def main(options: Options) -> None:
    """Measure, print a line a level, and write what was asked for."""
    figures = []
    for name in options.levels:
        row = measure(name, options)
        figures.append(row)
        low, high = row["interval_95"]
        print(
            f"{name}: {row['successes']}/{row['episodes']} ({100 * low:.1f} to {100 * high:.1f} %), "
            f"{row['mean_seconds']} s on average, {row['longest_seconds']:.1f} s at most, closes "
            f"{row['median_closing_mm']} mm from the middle; {row['outcomes']}"
        )
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"options": asdict(options), "levels": figures}, indent=1, default=str)
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
