"""The faithfulness page: each difference says what was measured, or that nothing was."""

import json
import re
from typing import Any

from scipy.stats import binomtest

from pages import ROOT

ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split(" | ")]
    for line in (ROOT / "docs/faithfulness.md").read_text().partition("## ")[0].splitlines()
    if line.startswith("| ")
]


def test_every_row_is_full() -> None:
    head, *rows = ROWS
    assert head[-1] == "measured effect"
    assert len(rows) > 20
    for row in rows:
        assert len(row) == len(head), row[0]
        assert all(row), row[0]


def test_what_a_row_names_as_its_test_exists() -> None:
    named = re.findall(r"`(tests\w*/[\w/.]+)`", (ROOT / "docs/faithfulness.md").read_text())
    assert named
    for name in named:
        assert (ROOT / name).exists(), name


def test_the_figures_of_choices_tried_both_ways_are_those_of_the_results() -> None:
    """The table's, and those that the rows above it name."""
    runs = json.loads((ROOT / "benchmarks/results/faithfulness.json").read_text())["runs"]
    page = (ROOT / "docs/faithfulness.md").read_text()
    section = page.split("## Both ways tried\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line][2:]
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_variant.setdefault(run["variant"], []).append(run)
    assert len(rows) == len(by_variant) == 12
    totals = {}
    for (_, successes, together, closing, validation), (name, of) in zip(rows, by_variant.items(), strict=True):
        assert [run["seed"] for run in of] == [0, 1, 2]
        assert successes == ", ".join(str(run["successes"]) for run in of), name
        totals[name] = sum(run["successes"] for run in of)
        assert together.startswith(f"{totals[name]}/600 = {totals[name] / 6:.1f} %"), name
        interval = binomtest(totals[name], 600).proportion_ci(method="wilson")
        assert f"({100 * interval.low:.1f} to {100 * interval.high:.1f})" in together, name
        assert closing == ", ".join(f"{run['median_closing_error_mm']:.1f}" for run in of), name
        assert validation == ", ".join(f"{run['validation_l1']:.3f}" for run in of), name
    named = {
        "L1 over padded steps": ("ours", "padded-mean"),
        "z at inference": ("ours", "latent-prior"),
        "camera of a token": ("pictures", "pictures-unnamed"),
        "weight decay": ("decay-matrices", "decay-all", "ours"),
        "initial weights of the CVAE's encoder": ("ours", "latent-default-weights"),
        "gradient clipping": ("no-clipping", "clip-10", "ours"),
    }
    effects = {row[0]: row[-1] for row in ROWS}
    for point, variants in named.items():
        told = [int(of) for of in re.findall(r"\b5\d\d\b", effects[point])]
        assert told == [totals[of] for of in variants], point
