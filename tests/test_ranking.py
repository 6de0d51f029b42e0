"""The benchmark of the ranking: its rank correlations, and how the figure that ranks is chosen and tried."""

import json

import numpy as np
import pytest
from benchmarks.ranking import RESULTS, Measured, agreement, choose_on_half, kendall, ranks, spearman

from foreact.diagnose.compare import SCORES


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
