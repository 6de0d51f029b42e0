"""Whether a checkpoint's statistics fit the data: against data whose statistics are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diagnose.closed_form import CHUNK, CONFIG, Straight, told
from foreact.data.dataset import ChunkDataset
from foreact.data.source import open_source
from foreact.data.statistics import compute_statistics
from foreact.diagnose.normalisation import Normalisation, judge_normalisation, normalisation
from foreact.diagnose.probe import Probe
from foreact.normalizer import IMAGENET_MEAN, IMAGENET_STD
from foreact.policy.inputs import Inputs
from foreact.records import Statistics, VectorStatistics
from foreact_runtime import keys
from spots import FEATURES

FITTED = replace(
    CONFIG,
    state_normalization="mean_std",
    environment_normalization="mean_std",
    action_normalization="mean_std",
)


def scaled(of: VectorStatistics, factor: float, offset: float = 0.0) -> VectorStatistics:
    values = {name: factor * getattr(of, name) + offset for name in ("mean", "min", "max", "q01", "q99")}
    return replace(of, std=factor * of.std, **values)


def measure(data: Path, cache_dir: Path, change: dict[str, tuple[float, float]] | None = None) -> Normalisation:
    """With the data's own statistics, some of them changed."""
    source = open_source(data)
    statistics: Statistics = compute_statistics([source.episode(index) for index in source.episode_indices])
    changed = {key: scaled(of, *(change or {}).get(key, (1.0, 0.0))) for key, of in statistics.items()}
    return normalisation(_probe(data, cache_dir, changed), FITTED)


def _probe(data: Path, cache_dir: Path, statistics: Statistics) -> Probe:
    source = open_source(data)
    dataset = ChunkDataset(source, source.episode_indices, features=FEATURES, chunk_size=CHUNK, cache_dir=cache_dir)
    return Probe(Straight(told).eval(), Inputs(FITTED, FEATURES, statistics), FEATURES, dataset)


def test_with_the_datas_own_statistics_everything_fits(episodes: Path, cache_dir: Path) -> None:
    measured = measure(episodes, cache_dir)
    for of in measured.dimensions:
        if of.key != keys.ACTION:  # chunks see the end of an episode more often than its beginning
            assert of.mean == pytest.approx(0, abs=1e-5)
            assert of.std == pytest.approx(1, abs=1e-5)
    assert measured.round_trip < 1e-5
    finding = judge_normalisation(measured)
    assert finding.severity == "fine"
    assert [row["dimension"] for row in finding.evidence["table"]] == ["a", "b", "x", "y", "a", "b"]


def test_pictures_are_as_the_normaliser_makes_them_by_hand(episodes: Path, cache_dir: Path) -> None:
    probe = _probe(episodes, cache_dir, compute_statistics([open_source(episodes).episode(0)]))
    first = normalisation(probe, FITTED).colours[0]
    rows = np.unique(np.linspace(0, len(probe.dataset) - 1, 40).astype(int))
    raw = probe.raw(rows).images["overhead"].numpy() / 255
    by_hand = (raw - np.array(IMAGENET_MEAN)[:, None, None]) / np.array(IMAGENET_STD)[:, None, None]
    np.testing.assert_allclose(first.mean, by_hand.mean(axis=(0, 2, 3)), atol=1e-6)  # float32 constants
    np.testing.assert_allclose(first.std, by_hand.std(axis=(0, 2, 3)), atol=1e-6)
    assert (first.raw_high, first.wrong) == (255, "")


def test_degrees_for_radians_are_named_with_key_and_dimension(episodes: Path, cache_dir: Path) -> None:
    in_radians = {keys.STATE: (np.pi / 180, 0.0)}
    finding = judge_normalisation(measure(episodes, cache_dir, in_radians))
    assert finding.severity == "fault"
    assert "the statistics do not fit the data in 2 dimensions: state '" in finding.verdict
    assert "as if in degrees, where it was trained in radians" in finding.verdict
    assert {row["dimension"] for row in finding.evidence["table"] if row["fits"] == "no"} == {"a", "b"}


def test_another_zero_is_named(episodes: Path, cache_dir: Path) -> None:
    finding = judge_normalisation(measure(episodes, cache_dir, {keys.ACTION: (1.0, 1.5)}))
    assert finding.severity == "warning"
    assert "action 'a' has mean -" in finding.verdict or "action 'b' has mean -" in finding.verdict


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [(124.0, 58.0, "nearly even"), (0.5, 0.001, "the mean and deviation are wrong")],
    ids=["colours in 0..255", "much too small a deviation"],
)
def test_a_cameras_own_mean_and_deviation_that_are_wrong_are_named(
    mean: float, std: float, words: str, episodes: Path, cache_dir: Path
) -> None:
    source = open_source(episodes)
    statistics = dict(compute_statistics([source.episode(index) for index in source.episode_indices]))
    three = np.ones(3)
    statistics[keys.image_key("wrist")] = VectorStatistics(
        mean=mean * three, std=std * three, min=0 * three, max=three, q01=0 * three, q99=three, count=1
    )
    finding = judge_normalisation(normalisation(_probe(episodes, cache_dir, statistics), FITTED))
    assert finding.severity == "fault"
    assert f"image normalisation is wrong: the pictures of wrist are {words}" in finding.verdict.replace(
        "far outside of what colours become by their normalisation: ", ""
    )
    assert "overhead" not in finding.verdict


def test_actions_that_do_not_come_back_are_a_fault() -> None:
    broken = Normalisation(dimensions=(), colours=(), round_trip=0.5, in_frame=True, frames=1)
    finding = judge_normalisation(broken)
    assert finding.severity == "fault"
    assert finding.verdict == "there and back changes an action by 0.5 m of the hand"
