"""Training episodes against held-out ones, and how sure a ratio is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from diagnose.closed_form import probe_of, told
from foreact.diagnose.overfitting import Overfitting, judge_overfitting, overfitting
from foreact.diagnose.resampling import ratio_interval


def of(training: float, held_out: float, spread: float = 0.2, constant: float = 0.7) -> Overfitting:
    rng = np.random.default_rng(0)
    seen, others = (mean * (1 + spread * rng.uniform(-1, 1, 20)) for mean in (training, held_out))
    return Overfitting(
        training=seen, held_out=others, interval=ratio_interval(others, seen, paired=False), constant=constant
    )


@pytest.mark.parametrize(
    ("measured", "severity", "words"),
    [
        (of(0.10, 0.11), "fine", "does not overfit: error 0.1"),
        (of(0.10, 0.20), "warning", "overfits: error 0."),
        (of(0.05, 0.40), "fault", "overfits: error 0."),
        (of(0.001, 0.004), "fine", "does not overfit"),  # four times as much of next to nothing
        (of(0.10, 0.17, spread=5.0), "fine", "does not overfit"),  # 20 episodes that differ so much say nothing
    ],
    ids=["alike", "twice", "eight times", "both tiny", "unsure"],
)
def test_what_is_said_of_a_ratio(measured: Overfitting, severity: str, words: str) -> None:
    finding = judge_overfitting(measured, {}, 100)
    assert finding.severity == severity
    assert finding.verdict.startswith(words)
    assert ("more demonstrations" in finding.remedy) == (severity != "fine")


def test_a_policy_that_is_told_the_answer_knows_no_more_of_one_half_than_of_the_other(
    episodes: Path, cache_dir: Path
) -> None:
    measured = overfitting(probe_of(told, episodes, cache_dir), 12, probe_of(told, episodes, cache_dir))
    assert len(measured.held_out) == 12
    assert measured.ratio == pytest.approx(1, abs=0.2)
    np.testing.assert_array_equal(measured.held_out, measured.training[:12])
    assert judge_overfitting(measured, {}, 0).severity == "fine"


def test_a_validation_curve_that_has_risen_names_the_best_step() -> None:
    log = {"val/l1": [(99, 0.3), (199, 0.2), (299, 0.26)], "train/l1": [(99, 0.2), (299, 0.05)]}
    finding = judge_overfitting(None, log, 300, "no episode is held out")
    assert finding.verdict == (
        "cannot tell from the policy itself: no episode is held out; "
        "validation L1 was least at step 200 (0.200), at this checkpoint it is 0.260"
    )
    assert finding.severity == "warning"
    assert finding.remedy.startswith("take the checkpoint that validated best: --checkpoint best")
    at_best = judge_overfitting(None, log, 200)
    assert at_best.severity == "note"
    assert "validation L1 is 0.200, least 0.200 at step 200" in at_best.verdict


def test_a_diverged_run_leaves_only_numbers_in_the_evidence() -> None:
    log = {"val/l1": [(99, 0.3), (199, math.nan)], "train/l1": [(99, 0.2), (150, math.inf)]}
    finding = judge_overfitting(None, log, 200)
    assert finding.evidence == {"logged_val/l1": [[99, 0.3]], "logged_train/l1": [[99, 0.2]]}


def test_the_interval_of_a_ratio_is_that_of_the_normal_approximation() -> None:
    rng = np.random.default_rng(1)
    over, under = rng.normal(2.0, 0.2, 400), rng.normal(1.0, 0.1, 400)
    low, high = ratio_interval(over, under, paired=False)
    ratio = over.mean() / under.mean()
    # Delta method: relative variances of independent means add up.
    half = 1.96 * ratio * np.sqrt((0.2 / 2.0) ** 2 / 400 + (0.1 / 1.0) ** 2 / 400)
    assert low == pytest.approx(ratio - half, abs=0.2 * half)
    assert high == pytest.approx(ratio + half, abs=0.2 * half)


def test_pairs_that_go_together_have_a_ratio_without_doubt() -> None:
    under = np.random.default_rng(2).uniform(0.1, 2.0, 30)
    assert ratio_interval(3 * under, under, paired=True) == pytest.approx((3.0, 3.0))
    low, high = ratio_interval(3 * under, under, paired=False)
    assert low < 2.7
    assert high > 3.3
