"""What the pages say of the study in words is what its files hold: a figure that a person typed cannot drift either."""

import json
import math
import re
from typing import Any, get_args

from explain.results import RESULTS, cells
from foreact.config import Conditioning
from foreact.intervals import wilson
from foreact.sim.task import level
from pages import ROOT


def prose(page: str) -> str:
    """A page's text on one line."""
    return " ".join((ROOT / "docs" / page).read_text().split())


def results(cells: str) -> list[dict[str, Any]]:
    """What is in the files of the cells whose name matches a pattern."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{cells}.json"))]


def study(cell: str) -> dict[str, Any]:
    """What a policy of the study did, by condition."""
    (of,) = results(cell)
    conditions: dict[str, Any] = of["conditions"]
    return conditions


def quickstart_policies() -> list[dict[str, Any]]:
    """What `make quickstart`'s policy did, in its own episodes and in those of `foreact eval` after it."""
    content = json.loads((RESULTS.parent / "quickstart.json").read_text())
    evaluations = [*content["quickstart"], *(of for level in content["eval_200"].values() for of in level)]
    return [of for of in evaluations if of["name"] == "policy"]


def swaps(cells: str) -> list[dict[str, Any]]:
    """What `foreact diagnose` counted in its swap test, of each cell whose name matches a pattern."""
    return [of["diagnosis"]["swap"] for of in results(cells)]


def rate(successes: int, episodes: int) -> str:
    """A share with its 95 % interval, as the pages have it: `97.3 % (96 to 98)`."""
    low, high = (100 * of for of in wilson(successes, episodes))
    percent = f"{100 * successes / episodes:.1f}".removesuffix(".0")
    return f"{percent} % ({low:.0f} to {high:.0f})"


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
    policies = quickstart_policies()
    wrong, tried = total(policies, "confusions"), total(policies, "episodes")
    assert f"the quickstart's policy takes the wrong block in {wrong} of {tried} episodes" in page


def test_what_is_said_to_be_reached_is_what_the_defaults_three_policies_did() -> None:
    pages, readme = prose("grounding.md"), prose("../README.md")
    seeds = [study(f"more-L3_preset_s{seed}") for seed in range(3)]
    for name in ("L1", "L2", "L3", "L2, 3 confusers"):
        each = [of[name]["successes"] for of in seeds]
        reached = rate(sum(each), 600)
        assert f"{reached}, {sum(each)} of 600 ({each[0]}, {each[1]}, {each[2]}" in pages, name
        assert f"{reached} at {name.split(',')[0]}" in readme, name
    grid = total([of["grid L1"] for of in seeds], "successes")
    assert f"{grid} of 147 (" in pages
    assert f"{grid} of 147 on a 7x7 grid" in readme
    wrong, tried = (total([of for seed in seeds for of in seed.values()], what) for what in ("confusions", "episodes"))
    assert f"{wrong} of {tried} (" in pages
    assert f"takes the wrong block in {wrong} of {tried} (" in readme
    found = swaps("more-L3_preset_s?")
    assert f"{total(found, 'obeyed')} of {total(found, 'trials')} (" in pages


def test_the_rates_beside_the_default_are_those_of_the_policy_that_is_named() -> None:
    def rates(cell: str, *names: str) -> list[str]:
        seeds = [of["conditions"] for of in results(f"{cell}_s?")]
        return [
            rate(*(total([of[name] for of in seeds], what) for what in ("successes", "episodes"))) for name in names
        ]

    page = prose("grounding.md")
    baseline = "the baseline (the same network, cameras and samples; coordinates as a token) has {} at L1, {} at L2"
    at_l1, at_l2, at_l3 = rates("more-L3_preset-token", "L1", "L2", "L3")
    assert f"{baseline.format(at_l1, at_l2)} and {at_l3} at L3" in page
    assert "LeRobot 0.6.1 {} and {} at L1 and L2, ".format(*rates("uniform-L2_lerobot", "L1", "L2")) in page
    assert "L2, the default {} and {}.".format(*rates("uniform-L2_preset-1200", "L1", "L2")) in page


def test_the_diagnosed_runs_are_counted_as_in_the_table() -> None:
    readme = prose("../README.md")
    counts = re.findall(r"(\d+) of (\d+) (?:collapsed|good) runs are called rightly", prose("grounding.md"))
    (seen, collapsed), (rightly, good) = counts
    (neither,) = re.findall(r"(\d+) neither", prose("grounding.md"))
    runs = int(collapsed) + int(good) + int(neither)
    assert f"Of {runs} diagnosed runs {collapsed} are collapsed" in readme
    assert f"and {good} good: {seen} and {rightly} were called rightly" in readme


def test_swaps_of_the_presets_policies_are_counted_in_conditioning() -> None:
    found = swaps("*_preset_s?")
    assert f"went there in {total(found, 'obeyed')} of {total(found, 'trials')} trials" in prose("conditioning.md")


def test_the_table_of_ways_says_what_each_reached() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|[^|]*\| ([\d.]+), ([\d.]+) % \| ([^|]+) \|", (ROOT / "docs/conditioning.md").read_text(), re.M
    )
    assert {way for way, *_ in rows} == set(get_args(Conditioning))
    cells = {"token": "baseline-short", "crop": "crop-short"}
    for way, at_l1, at_l2, in_hull in rows:
        name = cells.get(way, way)
        of = study(f"uniform-L2_{name}_s0")
        assert (float(at_l1), float(at_l2)) == (of["L1"]["successes"] / 2, of["L2"]["successes"] / 2), way
        if in_hull == "not measured":
            assert not (RESULTS / f"clusters-L1_{name}_s0.json").exists(), way
        else:
            assert in_hull == f"{study(f'clusters-L1_{name}_s0')['hull L1']['successes'] / 2:g} %", way


def test_what_a_told_bowl_gains_is_what_the_study_counted() -> None:
    at_l3 = study("told-L3_best_s0")["L3"]
    missed = at_l3["episodes"] - at_l3["successes"]
    of_the_bowl = sum(at_l3["outcomes"][name] for name in ("dropped", "missed_bowl", "timeout"))
    said = (
        f"has {at_l3['successes']} of {at_l3['episodes']} (500 demonstrations, one seed); {of_the_bowl} of the {missed}"
    )
    assert said in prose("conditioning.md")


def test_what_cures_the_collapse_is_what_the_study_counted() -> None:
    def obeyed_and_succeeded(way: str, seed: int = 0) -> tuple[int, int]:
        cell = f"copied-misled-L1_raw-{way}_s{seed}"
        (swap,) = swaps(cell)
        return swap["obeyed"], study(cell)["clusters L1"]["successes"]

    ways = ("crop", "film", "auxiliary", "contrastive", "frame", "cue")
    of = {way: "{} and {}".format(*obeyed_and_succeeded(way)) for way in ways}
    strong = "it obeyed {} of 50 swaps and had {} of 200 at the trained clusters".format(
        *obeyed_and_succeeded("strong")
    )
    page = prose("conditioning.md")
    assert strong in page
    for way, said in of.items():
        assert (f"the token {said}" if way == "cue" else f"`{way}` {said}") in page, way
    again = ["{} and {}".format(*obeyed_and_succeeded(way, seed=1)) for way in ("strong", "cue")]
    assert f"(a second seed: `strong` {again[0]}, the token {again[1]})" in page
    combined = ["{} and {}".format(*obeyed_and_succeeded(way)) for way in ("crop-strong", "crop-frame-strong")]
    assert f"With `crop`, or `crop` and `frame`, beside it {combined[0]}, {combined[1]}." in page


def test_what_strong_does_beside_the_crop_is_what_the_study_counted() -> None:
    def percents(way: str) -> list[float]:
        uniform, clusters = study(f"uniform-L2_{way}_s0"), study(f"clusters-L1_{way}_s0")
        return [of["successes"] / 2 for of in (uniform["L1"], uniform["L2"], clusters["hull L1"])]

    page = prose("conditioning.md")
    both, crop, three = (percents(way) for way in ("crop-strong", "crop-short", "crop-frame-strong"))
    assert (
        f"beside `crop` alone: {both[0]:g} and {both[1]:g} % at L1 and L2 instead of {crop[0]:g} and {crop[1]:g}, "
        f"in the hull of two clusters {both[2]:g} instead of {crop[2]:g}."
    ) in page
    assert f"it costs little ({three[0]:g} and {three[1]:g} %, in the hull {three[2]:g})" in page


def test_the_tables_that_a_person_wrote_are_the_studys_files() -> None:
    text = (ROOT / "docs/grounding.md").read_text()
    collapse = re.findall(r"^\| [^|]+ \| [^|]+ \| (\d+) of 50 \| (\d+) \| (\d+) \| (\d+) \| `([\w-]+)` \|$", text, re.M)
    assert len(collapse) == 8
    for *said, cell in collapse:
        of, (swap,) = study(f"{cell}_s0"), swaps(f"{cell}_s0")
        clusters = of["clusters L1"]
        found = (swap["obeyed"], clusters["confusions"], clusters["successes"], of["hull L1"]["successes"])
        assert [int(figure) for figure in said] == list(found), cell

    beside = re.findall(
        r"^\| [^|]+ \| [^|]+ \| ([\d,]+) \| ([\d, ]+) \| ([\d, ]+) \| ([\d, ]+) \| `([\w-]+)` \|$", text, re.M
    )
    assert len(beside) == 9
    for samples, *said, cell in beside:
        seeds = results(f"{cell}_s?")
        assert {int(samples.replace(",", ""))} == {of["training"]["samples"] for of in seeds}, cell
        at_l1, at_l2 = ([of["conditions"][name] for of in seeds] for name in ("L1", "L2"))
        successes = [", ".join(str(of["successes"]) for of in level) for level in (at_l1, at_l2)]
        assert said == [*successes, ", ".join(f"{of['median_closing_error_mm']:.0f}" for of in at_l1)], cell
