"""Write the tables of docs/speed.md from benchmarks/results/; `make bench` does it last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
BEGIN, END = "<!-- speed:begin -->", "<!-- speed:end -->"
HEADER = ("stage", "size", "ours, ms", "LeRobot, ms", "ratio (all turns)", "goal", "share of the peak: ours, LeRobot")


def rows(content: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the table's rows: eager inference, training, then each bundle."""
    results, goals = content["results"], content["goals"]
    for stage, label in (("inference", "a chunk at batch 1, PyTorch"), ("training", "a training step")):
        for size, of in results.items():
            batch = f", batch {of[stage]['batch']}" if "batch" in of[stage] else ""
            share = of[stage]["share_of_peak"]
            yield row(label + batch, size, of[stage], goals[stage][size], f"{share['ours']:.0%}, {share['theirs']:.0%}")
    for size, of in results.items():
        for kind, measured in of["bundle"].items():
            goal = goals["bundle"][kind.split()[0]][size]
            yield row(f"a chunk at batch 1, bundle {kind}", size, measured, goal, "")


def row(label: str, size: str, of: dict[str, Any], goal: float, share: str) -> tuple[str, ...]:
    """Return one row's cells."""
    low, high = of["ratio_from_to"]
    times = (f"{ms:.1f}" if ms < 10 else f"{ms:.0f}" for ms in (of["ours_cpu_ms"], of["theirs_cpu_ms"]))
    return label, f"`{size}`", *times, f"{of['ratio']:.2f} ({low:.2f} to {high:.2f})", f"{goal:g}", share


def cold_start(content: dict[str, Any]) -> Iterator[str]:
    """Yield the lines about a bundle's start: benchmarks/cold_start.py."""
    machine, versions = content["machine"], content["versions"]
    yield (
        f"A bundle's start, a fresh process from nothing to its first action, imports included (goal "
        f"{content['goal_seconds']:g} s; {content['settings']['repeats']} processes, median, least and most; "
        f"{machine['cores']} cores, load {machine['load_at_start']:g}; onnxruntime {versions['onnxruntime']}, OpenVINO "
        f"{versions['openvino']}):"
    )
    yield ""
    for cells in (("bundle", "size", "MB", "by the clock, s", "CPU, s"), ("---",) * 5):
        yield f"| {' | '.join(cells)} |"
    for size, kinds in content["results"].items():
        for kind, of in kinds.items():
            times = (
                f"{of[key]['median']:.2f} ({of[key]['min']:.2f} to {of[key]['max']:.2f})"
                for key in ("seconds", "cpu_seconds")
            )
            yield f"| {' | '.join((kind, f'`{size}`', str(round(of['mb'])), *times))} |"


def main() -> None:
    """Replace what stands between the marks."""
    content = json.loads((RESULTS / "speed.json").read_text())
    machine, versions, settings = content["machine"], content["versions"], content["settings"]
    memory = ", ".join(
        f"`{size}` {of['memory_mb']['ours']:.0f} and {of['memory_mb']['theirs']:.0f}"
        for size, of in content["results"].items()
    )
    lines = [
        f"{machine['cpu']}; {machine['threads']} thread; torch {versions['torch']}, Python {versions['python']}; "
        f"load at the start {machine['load_at_start']:.1f}; {settings['turns']} turns of inference, "
        f"{settings['steps']} steps of training.",
        "",
        *(f"| {' | '.join(cells)} |" for cells in (HEADER, ("---",) * len(HEADER), *rows(content))),
        "",
        "Largest memory of a process that makes three training steps, ours and LeRobot's, MB: " + memory + ".",
        "",
        *cold_start(json.loads((RESULTS / "cold_start.json").read_text())),
    ]
    page = ROOT / "docs/speed.md"
    text = page.read_text()
    before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
    page.write_text(text[:before] + "\n\n" + "\n".join(lines) + "\n\n" + text[after:])


if __name__ == "__main__":
    main()
