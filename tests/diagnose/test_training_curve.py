"""What is read from a run's log: curves that were made up to go well or badly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diagnose.closed_form import probe_of, told
from foreact.config import TrainConfig
from foreact.diagnose.training_curve import (
    constant_error,
    judge_training_curve,
    running_median,
    training_curve,
)
from foreact.finding import Finding

TRAIN = TrainConfig(lr=1e-2, grad_clip=1.0)
STEPS = np.arange(100)
FALLS = 0.1 + 0.6 * np.exp(-STEPS / 8)


def judged(l1: np.ndarray, norm: np.ndarray | float = 0.5, constant: float = 0.7) -> Finding:
    norms = np.broadcast_to(np.asarray(norm, float), l1.shape)
    log = {
        "train/l1": [(10 * i, float(value)) for i, value in enumerate(l1)],
        "train/grad_norm": [(10 * i, float(value)) for i, value in enumerate(norms)],
    }
    return judge_training_curve(training_curve(log, constant, TRAIN), TRAIN)


def test_a_loss_that_falls_and_stays_is_fine() -> None:
    noise = 1 + 0.1 * np.random.default_rng(0).normal(size=100)
    finding = judged(FALLS * noise)
    assert finding.severity == "fine"
    assert finding.verdict.startswith("the loss fell and stayed: L1 0.0")
    assert finding.evidence["share_of_steps_clipped"] == 0


@pytest.mark.parametrize(
    ("l1", "norm", "words"),
    [
        (np.where(STEPS > 60, 0.9, FALLS), 0.5, "learning rate too high (train.lr 0.01): the loss has risen again"),
        (0.72 + 0 * FALLS, 0.5, "nothing was learned: L1 0.720 at step 991, and the best single chunk"),
        (np.where(STEPS > 90, np.nan, FALLS), 0.5, "loss or gradient is no number from step 911 on"),
        (FALLS, np.where(STEPS == 70, np.inf, 0.5), "loss or gradient is no number from step 701 on"),
        (np.where(STEPS % 10 == 9, 1.0, FALLS), 0.5, "the loss jumps in 10 % of the logged steps"),
    ],
    ids=["rises", "stays", "is no number", "gradient is no number", "jumps"],
)
def test_a_learning_rate_that_is_too_high_is_named_by_what_it_does(
    l1: np.ndarray, norm: np.ndarray | float, words: str
) -> None:
    finding = judged(l1, norm)
    assert finding.severity in ("fault", "warning")
    assert words in finding.verdict
    assert "learning rate too high (train.lr 0.01)" in finding.verdict
    assert "--train.lr 0.001" in finding.remedy


def test_gradients_that_are_always_clipped_are_mentioned_and_no_fault() -> None:
    finding = judged(FALLS, norm=3.0)
    assert finding.severity == "fine"
    assert finding.verdict.endswith("gradients were clipped in 100 % of the logged steps")


def test_a_loss_that_still_falls_is_told_to_train_on() -> None:
    finding = judged(0.7 * np.exp(-STEPS / 40))
    assert finding.severity == "note"
    assert "still falling" in finding.verdict


def test_a_run_that_was_stopped_too_soon_is_not_told_to_learn_more_slowly() -> None:
    steep = judged(2.0 * np.exp(-STEPS / 40), constant=0.15)
    assert steep.severity == "warning"
    assert steep.verdict.startswith("nothing was learned yet, but the loss was still falling")
    assert "lr" not in steep.remedy


def test_the_least_of_very_many_noisy_values_does_not_make_a_loss_rise() -> None:
    rng = np.random.default_rng(0)
    noise = np.exp(0.3 * rng.normal(size=4000))
    long = (0.1 + 0.6 * np.exp(-np.arange(4000) / 100)) * noise
    narrow = running_median(long, 5)
    assert max(narrow[-40:]) > 1.5 * min(narrow), "which is how it would be accused"
    assert judged(long).severity == "fine"


def test_without_a_log_nothing_is_said() -> None:
    finding = judge_training_curve(training_curve({}, 0.7, TRAIN), None)
    assert finding.severity == "note"
    assert "metrics.jsonl" in finding.remedy


def test_the_running_median_is_that_of_the_neighbours() -> None:
    values = np.array([3.0, 1.0, 9.0, 4.0, 5.0])
    np.testing.assert_array_equal(running_median(values, 3), [2.0, 3.0, 4.0, 5.0, 4.5])


def test_the_error_of_one_chunk_for_all_is_that_of_the_median_by_hand(episodes: Path, cache_dir: Path) -> None:
    probe = probe_of(told, episodes, cache_dir)
    first: list[np.ndarray] = []
    for episode in probe.dataset.episodes:
        chunks = np.full((episode.length, probe.dataset.chunk_size, 2), np.nan)
        for start in range(episode.length):
            chunk = episode.action[start : start + probe.dataset.chunk_size]
            chunks[start, : len(chunk)] = chunk
        first.append(chunks)
    every = np.concatenate(first)
    by_hand = np.nanmean(np.abs(every - np.nanmedian(every, axis=0)))
    assert constant_error(probe) == pytest.approx(by_hand, rel=1e-6)
