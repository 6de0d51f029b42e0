"""How many planted faults `foreact inspect` finds and names, and how many clean sets it accuses.

    python benchmarks/inspection_rates.py --seeds 1 --first 700 --out benchmarks/results/inspection_rates.json

The sets are those of tests/inspection/made_up.py with 64x64 pictures, written as LeRobotDatasets with our own encoder
and read again; cues are drawn at random, every second set's cameras have noise. One fault of each kind at a time is
planted in sets of 20 episodes; clean sets have 8 to 24. Depth, NaN, damaged rows and timestamps are planted in memory:
our writer writes sound ones.
"""

import json
import platform
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from foreact import __version__
from foreact.data.source import open_source
from foreact.inspection.report import Report, inspect
from foreact.intervals import wilson
from inspection.made_up import FAULTS, MadeUpSource, clean, of_size, to_disk, with_noise

SIZES = (8, 12, 16, 24)
"""Episodes of a clean set, in turn."""
SIZE = 20
"""Episodes of a set with a fault."""
PIXELS = 64
IN_MEMORY = ("depth in mm", "depth / 1000", "NaN", "damaged", "uneven timestamps", "another rate", "gap in time")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    seeds: int = 2
    """Sets of each kind of fault."""
    first: int = 400
    """First seed."""
    clean: int = 100
    """Clean sets."""
    out: Path | None = None
    """Write the figures here as JSON."""


def accusations(report: Report) -> dict[str, str]:
    """Return what a report complains of, by question."""
    return {of.question: of.verdict for of in report.findings if of.severity in ("fault", "warning")}


def look(source: MadeUpSource, seed: int, *, in_memory: bool = False) -> Report:
    """Inspect a set, through the encoder."""
    if in_memory:
        return inspect(source.settle())
    source = of_size(source, PIXELS, PIXELS)
    if seed % 2:
        with_noise(source, np.random.default_rng(seed))
    with tempfile.TemporaryDirectory() as folder:
        return inspect(open_source(to_disk(source, Path(folder) / "set")))


def main(options: Options) -> None:
    """Measure, print, and write what was asked for."""
    seeds = range(options.first, options.first + options.seeds)
    found: dict[str, int] = {}
    named: dict[str, int] = {}
    beside: dict[str, dict[str, int]] = {}
    for name, fault in FAULTS.items():
        found[name] = named[name] = 0
        for seed in seeds:
            source = clean(seed, SIZE)
            concerned = fault.plant(source, np.random.default_rng(1000 + seed))
            report = look(source, seed, in_memory=name in IN_MEMORY)
            verdicts = accusations(report)
            hit = fault.question in verdicts
            found[name] += hit
            named[name] += hit and set(concerned) <= set(report.finding(fault.question).evidence.get("episodes", []))
            for other in verdicts.keys() - {fault.question}:
                beside.setdefault(name, {}).setdefault(other, 0)
                beside[name][other] += 1
        also = f"; also {beside[name]}" if name in beside else ""
        print(f"{name:<24} found {found[name]} of {len(seeds)}, episodes named {named[name]}{also}", flush=True)
    accused: dict[int, dict[str, str]] = {}
    unspoilt = range(options.first, options.first + options.clean)
    for number, seed in enumerate(unspoilt):
        verdicts = accusations(look(clean(seed, SIZES[number % len(SIZES)]), seed))
        if verdicts:
            accused[seed] = verdicts
            print(f"clean set {seed} of {SIZES[number % len(SIZES)]} episodes: {verdicts}", flush=True)
    planted = len(FAULTS) * len(seeds)
    n_found, n_named = sum(found.values()), sum(named.values())
    of_found, of_accused = wilson(n_found, planted), wilson(len(accused), len(unspoilt))
    said = f"(95 %: {of_found[0]:.3f} to {of_found[1]:.3f}), named {n_named}"
    print(f"found {n_found} of {planted} planted faults {said}")
    print(f"accused {len(accused)} of {len(unspoilt)} clean sets (95 %: {of_accused[0]:.3f} to {of_accused[1]:.3f})")
    if options.out is not None:
        figures = {
            "command": shlex.join(["python", "benchmarks/inspection_rates.py", *sys.argv[1:]]),
            "versions": {
                "foreact": __version__,
                "python": platform.python_version(),
                "numpy": np.__version__,
                "av": av.__version__,
            },
            "faults": {
                "seeds": list(seeds),
                "kinds": len(FAULTS),
                "episodes": SIZE,
                "planted": planted,
                "found": n_found,
                "found_95": of_found,
                "named": n_named,
                "found_by_kind": found,
                "named_by_kind": named,
                "also_said": beside,
            },
            "clean": {
                "first_seed": options.first,
                "sets": len(unspoilt),
                "episodes": SIZES,
                "accused": len(accused),
                "accused_95": of_accused,
                "verdicts": accused,
            },
        }
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
