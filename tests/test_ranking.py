"""The benchmark of the ranking: its rank correlations, and how the figure that ranks is chosen and tried."""

import json
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import pytest
from benchmarks.ranking import RESULTS, Measured, agreement, choose_on_half, kendall, ranks, spearman

from foreact.diagnose.compare import SCORES
from foreact.diagnose.compare_page import AGREEMENT
from pages import ROOT


def test_rank_correlations_are_those_counted_by_hand() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 7.0])).tolist() == [2.5, 1.0, 2.5, 4.0]
    one, other = np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 30.0, 20.0, 40.0])
    assert spearman(one, other) == pytest.approx(1 - 6 * 2 / (4 * 15))  # without ties: 1 - 6 sum d^2 / (n (n^2 - 1))
    assert kendall(one, other) == pytest.approx((5 - 1) / 6)  # one pair of six the other way round
    assert kendall(one, np.array([1.0, 1.0, 2.0, 3.0])) == pytest.approx(5 / np.sqrt(6 * 5))
    assert spearman(one, np.ones(4)) == kendall(one, np.ones(4)) == 0


def measured(error: float, success: float, run: int) -> Measured:
    noise = float(np.random.default_rng(run).uniform())
    return Measured(
        name=str(run),
        run=str(run),
        successes=round(100 * success),
        episodes=100,
        figures={"start": error, "jerk": noise},
    )


def test_less_is_better_and_a_figure_that_ranks_is_chosen_over_one_that_does_not() -> None:
    of = [measured(50 - 2 * i, i / 20, i) for i in range(20)]
    assert agreement(of, "start")["spearman"] == 1.0
    assert agreement(of, "start")["spearman_95"] == [1.0, 1.0]
    low, high = agreement(of, "jerk")["spearman_95"]
    assert low < 0.3 < high + 0.3
    chosen = choose_on_half(of, ["start", "jerk"])
    assert chosen["share_of_splits_that_choose"] == {"start": 1.0}
    assert chosen["spearman_of_the_chosen_on_the_other_half"]["median"] == 1.0


def test_what_ranks_is_what_agrees_best_in_the_committed_results() -> None:
    content = json.loads((RESULTS / "ranking.json").read_text())
    best = max(content["figures"], key=lambda name: content["figures"][name]["spearman"])
    assert best == SCORES[0]
    assert content["checkpoints"] >= 20
    spread = [of["successes"] / of["episodes"] for of in content["measured"]]
    assert min(spread) < 0.1
    assert max(spread) > 0.9


NAMES = {
    "hand along the first chunk": "start",
    "error of the first chunk": "first_chunk",
    "aim at the grasp": "aim",
    "jerk": "jerk",
    "collapse index": "collapse",
    "hand along all chunks": "hand",
    "disagreement of successive chunks": "agreement",
    "open-loop error": "open_loop",
    "error of what is executed of a chunk": "first_steps",
    "swap test": "swap",
    "gripper off by": "gripper",
    "answer to the coordinate": "sensitivity",
}
"""The figures by their names on the page."""


def rounded(value: float) -> str:
    """To two digits, halves away from 0; the file's own have three."""
    return str(Decimal(str(value)).quantize(Decimal("0.01"), ROUND_HALF_UP))


def test_the_pages_table_is_that_of_the_committed_results_best_first() -> None:
    content = json.loads((RESULTS / "ranking.json").read_text())
    page = (ROOT / "docs" / "compare.md").read_text()
    cells = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in page.splitlines() if "|" in line]
    (head, _, *rows) = cells
    assert f"{content['figures']['start']['checkpoints']} checkpoints" in head[1]
    successful = content["those_that_succeed_in_40_percent"]
    assert f"the {successful['start']['checkpoints']} that succeed" in head[3]
    assert content["family"]["start"]["checkpoints"] == 10

    def told(of: dict[str, Any], name: str) -> str:
        low, high = map(rounded, of[f"{name}_95"])
        return f"{rounded(of[name])} ({low} to {high})"

    expected = []
    for name, figure in NAMES.items():
        of, good = content["figures"][figure], successful[figure]
        family = rounded(content["family"][figure]["spearman"])
        expected.append([name, told(of, "spearman"), told(of, "kendall"), told(good, "spearman"), family])
    assert set(NAMES.values()) == set(content["figures"])
    assert [row[0] for row in rows] == [row[0] for row in expected]
    assert rows == expected
    ranked = [content["figures"][figure]["spearman"] for figure in NAMES.values()]
    assert ranked == sorted(ranked, reverse=True)


def test_what_foreact_compare_says_of_its_score_is_what_was_measured() -> None:
    figures = json.loads((RESULTS / "ranking.json").read_text())["figures"]
    assert set(AGREEMENT) == set(SCORES)
    for score, said in AGREEMENT.items():
        low, high = map(rounded, figures[score]["spearman_95"])
        assert said == f"{rounded(figures[score]['spearman'])} ({low} to {high})"
        assert figures[score]["checkpoints"] == 37


def test_what_the_page_says_of_the_choice_is_so() -> None:
    content = json.loads((RESULTS / "ranking.json").read_text())
    page = " ".join((ROOT / "docs" / "compare.md").read_text().split())
    assert f"took {content['checkpoints']} checkpoints" in page
    chosen = content["chosen_on_half"]
    share = {name: round(100 * of) for name, of in chosen["share_of_splits_that_choose"].items()}
    assert (
        f"is chosen in {share['start']} %, the error of the first chunk in {share['first_chunk']} %, the aim in "
        f"{share['aim']} %"
    ) in page
    other = chosen["spearman_of_the_chosen_on_the_other_half"]
    low, high = other["quantiles_95"]
    assert f"{other['median']:.2f} in the median ({low:.2f} to {high:.2f} in 95 % of the splits)" in page
    assert f"{chosen['splits']} times" in page
