"""Inputs outside the training range."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foreact.data.dataset import ChunkDataset
from foreact.data.source import open_source
from foreact.diagnose.out_of_range import judge_out_of_range, measure_out_of_range, outside_of
from foreact.diagnose.pictures import draw
from foreact.policy.policy import Policy
from foreact.records import Episode, VectorStatistics
from made_policy import STATISTICS, small_policy
from spots import FEATURES
from tiny import TINY


def uniform(low: float, high: float) -> VectorStatistics:
    """Of one dimension."""
    of = {"min": low, "q01": low, "mean": (low + high) / 2, "q99": high, "max": high, "std": (high - low) / 12**0.5}
    return VectorStatistics(**{name: np.array([value]) for name, value in of.items()}, count=100)


def test_the_share_outside_is_counted_by_hand() -> None:
    values = np.array([-0.3, -0.2, 0.0, 0.5, 1.0, 1.2, 1.24, 1.26, 3.0, 0.4], np.float32)[:, None]
    episode = Episode(index=0, task="", action=values, state=values)
    of = outside_of("observation.state", ("a",), uniform(0, 1), [episode], 0.01)[0]
    assert of.share == 0.3  # -0.3, 1.26 and 3.0 are more than a quarter of the range away
    assert (of.low, of.high, of.seen_low, of.seen_high) == pytest.approx((-0.25, 1.25, -0.3, 3.0))
    assert outside_of("observation.state", ("a",), uniform(-np.inf, np.inf), [episode], 0.01) == []


@pytest.fixture(scope="module")
def samples(dataset: Path, cache_dir: Path) -> ChunkDataset:
    source = open_source(dataset)
    return ChunkDataset(source, source.episode_indices, features=FEATURES, chunk_size=6, cache_dir=cache_dir)


def test_inputs_as_trained_on_are_fine_and_another_unit_is_a_fault_that_names_the_dimension(
    samples: ChunkDataset,
) -> None:
    finding = judge_out_of_range(measure_out_of_range(small_policy(), samples))
    assert finding.severity == "fine"
    key = "observation.environment_state"
    far = replace(STATISTICS[key], **{n: getattr(STATISTICS[key], n) * 57.3 for n in ("min", "max", "q01", "q99")})
    policy = Policy(config=TINY, features=FEATURES, statistics={**STATISTICS, key: far})
    finding = judge_out_of_range(measure_out_of_range(policy, samples))
    assert finding.severity == "fine", "a wider range holds them"
    narrow = replace(far, **{n: getattr(far, n) + 60 for n in ("min", "max", "q01", "q99")})
    policy = Policy(config=TINY, features=FEATURES, statistics={**STATISTICS, key: narrow})
    finding = judge_out_of_range(measure_out_of_range(policy, samples))
    assert finding.severity == "fault"
    assert "x (coordinates) is outside the training range in 100 % of the frames" in finding.verdict
    assert "degrees or radians" in finding.remedy


def test_a_checkpoint_without_statistics_has_nothing_to_draw(samples: ChunkDataset, tmp_path: Path) -> None:
    policy = small_policy()
    policy.statistics = {}
    finding = judge_out_of_range(measure_out_of_range(policy, samples))
    assert "the checkpoint has no statistics of it" in finding.verdict
    assert not draw(finding, tmp_path / "out_of_range.png")
    assert not list(tmp_path.iterdir())


def test_pictures_of_another_brightness_are_named_where_the_checkpoint_knows_the_training_ones(
    samples: ChunkDataset,
) -> None:
    images = samples.__getitems__(range(len(samples))).images["wrist"].numpy() / 255
    mean, std = images.mean(axis=(0, 2, 3)), images.std(axis=(0, 2, 3))
    own = VectorStatistics(mean=mean, std=std, min=0 * mean, max=0 * mean + 1, q01=mean, q99=mean, count=1)
    bright = replace(own, mean=mean + 2 * std)
    for of, severity in ((own, "fine"), (bright, "warning")):
        statistics = {**STATISTICS, "observation.images.wrist": of}
        policy = Policy(config=TINY, features=FEATURES, statistics=statistics)
        finding = judge_out_of_range(measure_out_of_range(policy, samples))
        assert finding.severity == severity
    assert "camera 'wrist' is" in finding.verdict
    assert "% darker" in finding.verdict
    colours = finding.evidence["mean_colour_by_camera"]
    assert colours["overhead"]["trained_on"] is None
    assert colours["wrist"]["standard_deviations_off"] == pytest.approx(2.0, abs=0.1)
