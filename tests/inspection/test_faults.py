"""One planted fault of each kind is found and its episodes named; a clean set is not accused."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from foreact.errors import ConfigError, DataError
from foreact.inspection.report import Report, inspect, to_json
from inspection.made_up import FAULTS, MadeUpSource, clean

FRAMES = 40


@cache
def with_fault(name: str, seed: int) -> tuple[list[int], Report]:
    source = clean(seed)
    concerned = FAULTS[name].plant(source, np.random.default_rng(seed))
    return concerned, inspect(source.settle(), frames=FRAMES)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_clean_set_is_not_accused(seed: int) -> None:
    report = inspect(clean(seed).settle(), frames=FRAMES)
    assert [(of.question, of.verdict) for of in report.findings if of.severity in ("fault", "warning")] == []
    assert report.is_clean


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_its_episodes_named(name: str) -> None:
    concerned, report = with_fault(name, seed=21)
    finding = report.finding(FAULTS[name].question)
    assert finding.severity in ("fault", "warning")
    assert finding.remedy
    if concerned:
        named = finding.evidence["episodes"]
        assert set(concerned) <= set(named)
        if len(concerned) < 12:
            assert named == concerned, "and no others"
    assert not report.is_clean


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("constant dimension", "never move: observation.state: roll"),
        ("NaN", "2 NaN or infinite numbers in episodes"),
        ("saturated joint", "observation.state: pan at 0.6"),
        ("jump", "observation.state: elbow by"),
        ("out of joint range", "elbow"),
        ("action is state", "the action is the state itself"),
        ("delta actions", "displacements"),
        ("black frames", "top in episodes"),
        ("frozen camera", "wrist in episodes"),
        ("doubled frames", "wrist in episodes"),
        ("swapped cameras", "top and wrist in episodes"),
        ("one camera twice", "top and wrist in episodes"),
        ("depth in mm", "millimetres were taken for metres"),
        ("depth / 1000", "metres were taken for millimetres"),
        ("damaged", "has 3 rows in 'x.parquet'"),
        ("two clusters", "2 clusters of places"),
    ],
)
def test_a_verdict_names_the_dimension_or_camera(name: str, said: str) -> None:
    report = with_fault(name, seed=21)[1]
    assert said in report.finding(FAULTS[name].question).verdict


def test_the_place_to_record_next_lies_in_the_gap_between_two_clusters() -> None:
    """The clusters are squares of +-0.08 m around (-0.3, -0.3) and (0.3, 0.3)."""
    evidence = with_fault("two clusters", seed=21)[1].finding("coverage").evidence
    x, y, radius = evidence["record_next"][0]
    assert abs(x) < 0.2
    assert abs(y) < 0.2
    assert 0.1 < radius < 0.45
    assert sorted(len(group) for group in evidence["clusters"]) == [12, 12]


def test_damaged_episodes_are_left_out_and_the_others_looked_at() -> None:
    concerned, report = with_fault("damaged", seed=21)
    assert len(report.finding("outliers").evidence["distance_to_nearest_in_std"]) == 24 - len(concerned)


def test_a_fault_of_one_episode_leaves_the_other_verdicts_fine() -> None:
    for name in ("NaN", "jump", "swapped cameras", "depth in mm", "length"):
        report = with_fault(name, seed=21)[1]
        others = [of.question for of in report.findings if of.severity in ("fault", "warning")]
        assert others == [FAULTS[name].question], name


def test_duplicates_on_one_side_of_the_split_do_not_leak() -> None:
    """Episodes of one scene stay together, so a copy that is declared as such never leaks."""
    source = clean(3)
    n = len(source.episodes)
    for index in range(n):
        source.episodes[n + index] = replace(source.episodes[index], index=n + index)
    source.scenes = {index: index % n for index in source.episodes}
    report = inspect(source.settle(), frames=0)
    assert report.finding("duplicates").severity == "warning"
    assert report.finding("leakage").severity == "fine"


def test_a_set_without_state_arm_and_cameras_is_inspected_too() -> None:
    source = clean(4)
    bare = replace(source.features, state_names=(), environment_names=(), cameras=(), arm=None)
    episodes = {i: replace(of, state=None, environment_state=None) for i, of in source.episodes.items()}
    report = inspect(MadeUpSource(episodes=episodes, features=bare, seed=4, scenes=source.scenes).settle())
    assert report.is_clean
    assert report.looked_at == "all numbers; no pictures"
    assert report.finding("coverage").severity == "note"


def test_a_single_episode_is_inspected() -> None:
    source = clean(6)
    source.episodes = {7: replace(source.episodes[0], index=7)}
    assert inspect(source.settle(), frames=3).episodes == 1


def test_nothing_readable_and_nothing_at_all_are_errors() -> None:
    source = clean(7)
    source.damaged = dict.fromkeys(source.episodes, "episode is cut short")
    with pytest.raises(DataError, match="episode is cut short"):
        inspect(source.settle())
    source.episodes = {}
    with pytest.raises(DataError, match="has no episodes"):
        inspect(source.settle())
    with pytest.raises(ConfigError, match="--frames is -1"):
        inspect(clean(7).settle(), frames=-1)


def test_the_json_has_numbers_only_that_json_knows() -> None:
    import json

    content = json.loads(to_json(with_fault("NaN", seed=21)[1]))
    assert content["schema_version"] == 1
    assert {of["question"] for of in content["findings"]} >= {"coverage", "recommendation", "numbers"}
    assert "contact" not in content
