"""How many planted faults `foreact inspect` finds and names, and how many clean sets it accuses.

    python benchmarks/inspection_rates.py --seeds 20 --out benchmarks/results/inspection_rates.json

The sets are those of tests/inspection/made_up.py: 24 episodes in memory, one fault of each kind at a time.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from foreact.inspection.report import Report, inspect
from foreact.intervals import wilson
from inspection.made_up import FAULTS, clean

FRAMES = 40
"""Pictures of each camera and episode; the planted ones lie among them."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    seeds: int = 20
    first: int = 0
    """First seed."""
    clean: int = 100
    """Clean sets."""
    out: Path | None = None
    """Write the figures here as JSON."""


def accusations(report: Report) -> dict[str, str]:
    """Return what a report complains of, by question."""
    return {of.question: of.verdict for of in report.findings if of.severity in ("fault", "warning")}


def main(options: Options) -> None:
    """Measure, print, and write what was asked for."""
    seeds = range(options.first, options.first + options.seeds)
    unspoilt = range(options.first, options.first + options.clean)
    accused = {seed: found for seed in unspoilt if (found := accusations(inspect(clean(seed).settle(), frames=FRAMES)))}
    found: dict[str, int] = {}
    named: dict[str, int] = {}
    beside: dict[str, dict[str, int]] = {}
    for name, fault in FAULTS.items():
        found[name] = named[name] = 0
        for seed in seeds:
            source = clean(seed)
            concerned = fault.plant(source, np.random.default_rng(1000 + seed))
            report = inspect(source.settle(), frames=FRAMES)
            verdicts = accusations(report)
            hit = fault.question in verdicts
            found[name] += hit
            named[name] += hit and set(concerned) <= set(report.finding(fault.question).evidence.get("episodes", []))
            for other in verdicts.keys() - {fault.question}:
                beside.setdefault(name, {}).setdefault(other, 0)
                beside[name][other] += 1
        print(
            f"{name:<20} found {found[name]} of {len(seeds)}, episodes named {named[name]}; also {beside.get(name, {})}"
        )
    planted = len(FAULTS) * len(seeds)
    n_found, n_named = sum(found.values()), sum(named.values())
    low, high = wilson(n_found, planted)
    print(f"found {n_found} of {planted} planted faults (95 %: {low:.3f} to {high:.3f}), named {n_named}")
    low, high = wilson(len(accused), len(unspoilt))
    print(f"accused {len(accused)} of {len(unspoilt)} clean sets (95 %: {low:.3f} to {high:.3f}) {accused}")
    if options.out is not None:
        figures = {
            "seeds": list(seeds),
            "clean": list(unspoilt),
            "found": found,
            "named": named,
            "accused": accused,
            "also_said": beside,
        }
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
