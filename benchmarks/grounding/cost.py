"""The table of what each way of conditioning costs at inference, from `benchmarks/conditioning_cost.py`."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.grounding.table import table

from foreact.presets import preset
from foreact.sim.task import TaskConfig

RESULT = Path(__file__).resolve().parents[1] / "results" / "conditioning_cost.json"


def markdown(path: Path = RESULT) -> str:
    """Return a sentence on how it was measured, and the table."""
    content = json.loads(path.read_text())
    results = content["results"]
    names = list(results)
    head = ["way", *(text for name in names for text in (f"`{name}`, ms", "ratio to `token`"))]
    lines = []
    for way in results[names[0]]:
        cells = [way]
        for name in names:
            of = results[name][way]
            ratio = f"{of['ratio']:.2f} ({of['ratio_10']:.2f} to {of['ratio_90']:.2f})"
            cells += [f"{of['median_ms']:.{0 if of['median_ms'] > 100 else 1}f}", ratio]
        lines.append(cells)
    machine, rounds = content["machine"], content["settings"]["rounds"]
    every = preset("compact").policy.n_action_steps
    busy = f" Not an idle machine: {'; '.join(machine['busy'])}." if machine["busy"] else ""
    sentence = (
        f"`{content['command']}`, {machine['threads']['ours']} thread, {rounds} rounds, medians; "
        f"two cameras unless said.{busy} In the simulation `compact` predicts every "
        f"{1000 * every / TaskConfig().fps:.0f} ms."
    )
    return f"### What each way costs at inference\n\n{sentence}\n\n{table(head, lines)}"
