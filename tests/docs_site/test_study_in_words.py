"""What the pages say of the study in words is what its files hold: a figure that a person typed cannot drift either."""

import json
import math
import re
from typing import Any

from explain.results import RESULTS, cells
from foreact.sim.task import level
from pages import ROOT


def prose(page: str) -> str:
    """A page's text on one line."""
    return " ".join((ROOT / "docs" / page).read_text().split())


def study(cell: str) -> dict[str, Any]:
    """What a policy of the study did, by condition."""
    conditions: dict[str, Any] = json.loads((RESULTS / f"{cell}.json").read_text())["conditions"]
    return conditions


def total(of: list[dict[str, Any]], what: str) -> int:
    return sum(condition[what] for condition in of)


def test_the_deep_dives_figures_are_those_of_the_study() -> None:
    page = prose("deep_dive.md")
    assert {cell.episodes for cell in cells()} == {200}
    assert "Level L1, 200 episodes each" in page

    token, raw = study("uniform-L2_resnet-baseline_s0"), study("uniform-L2_resnet-raw_s0")
    assert f"({token['L1']['successes']} to {raw['L1']['successes']} of {raw['L1']['episodes']})" in page
    obeyed = [token[name] for name in ("L1", "L2", "L2, 3 confusers", "grid L1")]
    wrong, tried = total(obeyed, "confusions"), total(obeyed, "episodes")
    assert f"the wrong block is taken in {wrong} of {tried} episodes (L1, L2, three confusers, grid)" in page

    assert level("L1").cue_sigma == 0.01
    assert "what it is told is a centimetre off" in page
    untold, clusters = study("untold-L1_crop_s0")["L1"], study("clusters-L1_best_s0")["L1"]
    assert f"close a hand's breadth away, {untold['median_closing_error_mm']:.0f} mm in the median" in page
    assert f"has {clusters['successes']} of {clusters['episodes']} from the same places" in page


def test_the_deep_dives_sums_of_tokens_are_the_walkthroughs_which_are_held_against_a_recorded_pass() -> None:
    found = re.search(r"With `so101` that is ([\d +·]+) tokens, with `r1pro` ([\d +·]+)\.", prose("deep_dive.md"))
    assert found is not None
    sums = [sum(math.prod(map(int, term.split("·"))) for term in of.split("+")) for of in found.groups()]
    (tokens,) = re.findall(r"^L = (\d+), (\d+):", (ROOT / "docs/walkthrough_code.md").read_text(), re.MULTILINE)
    assert sums == [int(of) for of in tokens]


def test_the_click_tutorials_figures_are_those_of_the_study_and_of_the_quickstart() -> None:
    page = prose("tutorials/click.md")
    assert f"off by {100 * level('L2').cue_sigma:.0f} cm, as a click may be" in page
    preset = study("mixed-L2_preset_s0")["L2"]
    assert f"this preset has {100 * preset['successes'] / preset['episodes']:.1f} % at L2 (500 demonstrations" in page
    quickstart = json.loads((RESULTS.parent / "quickstart.json").read_text())["eval_200"].values()
    policies = [of for evaluations in quickstart for of in evaluations if of["name"] == "policy"]
    assert total(policies, "confusions") == 0
    assert f"the quickstart's policy takes the wrong block in none of {total(policies, 'episodes')} episodes" in page
