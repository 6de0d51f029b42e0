"""One planted fault of each kind is found and its episodes named; a clean set is not accused."""

import re
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from foreact.errors import ConfigError, DataError
from foreact.inspection.report import Report, inspect, to_json
from foreact.records import Calibration, Camera
from inspection.made_up import FAULTS, FEATURES, MadeUpSource, clean


@cache
def with_fault(name: str, seed: int) -> tuple[list[int], Report]:
    source = clean(seed)
    concerned = FAULTS[name].plant(source, np.random.default_rng(seed))
    return concerned, inspect(source.settle())


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_clean_set_is_not_accused(seed: int) -> None:
    report = inspect(clean(seed).settle())
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
        ("degrees in some", "observation.state: lift (degrees and radians)"),
        ("stale state", "12 frames, 0.6 s"),
        ("noise as action", "neither with the state"),
        ("joints permuted", "the action 'lift' goes with the state 'elbow'"),
        ("late state", "late: the state is where the action said only after 11"),
        ("action shifted in some", "usually after 1."),
        ("uneven timestamps", "uneven by up to"),
        ("another rate", "at 19.8 Hz, the metadata say 20"),
        ("gap in time", "the first of 0.55 s before frame 21"),
        ("uniform grey", "3 from frame 20 on"),
        ("red for blue", "red and blue exchanged: wrist"),
        ("upside down", "upside down: top"),
        ("camera moved", "top shows another view from episode 1"),
        ("half the rate", "wrist gave about 10 pictures a second"),
        ("a third of the rate", "wrist gave about 6."),
        ("a tenth of the rate", "at most 10 alike in a row; wrist gave about 2."),
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
    for name in ("NaN", "jump", "action shifted in some", "gap in time", "copy with noise", "depth in mm", "length"):
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


def test_every_finding_of_episodes_says_how_to_leave_them_out_and_one_command_does_it_all() -> None:
    source = clean(9)
    source.picture[3, "top"] = lambda number, frame: frame * 0
    source.shown_frame[7, "wrist"] = lambda number: min(number, 12)
    source.episodes[11] = replace(source.episodes[2], index=11)
    for key in ("state", "action", "environment_state"):
        values = getattr(source.episodes[5], key)
        waits = np.concatenate([np.repeat(values[:1], 40, axis=0), values])
        source.episodes[5] = replace(source.episodes[5], **{key: waits})  # type: ignore[arg-type]
    report = inspect(source.settle())
    assert report.finding("black").remedy.endswith("foreact convert made-up made-up-clean --episodes 0:3,4:24")
    assert report.finding("frozen").remedy.endswith("foreact convert made-up made-up-clean --episodes 0:7,8:24")
    assert report.finding("duplicates").remedy.endswith("foreact convert made-up made-up-clean --episodes 0:11,12:24")
    cleanup = report.finding("cleanup").remedy
    assert cleanup == "foreact convert made-up made-up-clean --episodes 0:3,4:7,8:11,12:24 --trim-idle"
    assert report.command.startswith(f"{cleanup} && foreact train compact --data made-up-clean ")
    # The accused pictures stand beside those of a usual episode.
    assert [of.caption for of in report.exhibits["black"]] == [
        "top, episode 0, as usual, frame 0",
        "top, episode 3, frame 0",
    ]
    assert report.exhibits["black"][1].picture.max() == 0
    first, *_, last = report.exhibits["frozen"]
    assert "as usual" in first.caption
    assert last.caption.startswith("wrist, episode 7, frame")


def test_a_set_where_most_episodes_are_bad_is_mended_not_emptied() -> None:
    source = clean(9, n_episodes=8)
    for index in source.episodes:
        source.picture[index, "top"] = lambda number, frame: frame * 0
    report = inspect(source.settle())
    assert report.finding("black").severity == "fault"
    assert "--episodes" not in report.finding("black").remedy
    assert report.finding("cleanup").remedy == ""


def test_what_was_not_looked_at_is_not_called_fine() -> None:
    """All but the first frames are black in an episode of which they are not decoded."""
    source = clean(10, n_episodes=6)
    source.picture[0, "top"] = lambda number, frame: frame * (number < 15)
    report = inspect(source.settle(), frames=5)
    assert report.finding("black").severity == "note"
    assert "in the " in report.finding("black").verdict
    assert "of them that were looked at" in report.finding("black").verdict
    assert "not all decoded" in report.finding("damaged").verdict
    assert inspect(source).finding("black").evidence["episodes"] == [0]


def test_one_rate_for_another_leaves_a_report_where_no_episode_can_be_read() -> None:
    source = clean(12, n_episodes=6)
    source.damaged = {index: f"episode {index}: another rate" for index in source.episodes}
    source.times = {index: lambda times: times * 20 / 19.4 for index in source.episodes}
    report = inspect(source.settle())
    assert {of.question for of in report.findings} == {"damaged", "timestamps", "lengths"}
    assert "at 19.4 Hz, the metadata say 20" in report.finding("timestamps").verdict


@pytest.mark.parametrize(("size", "seed"), [(8, 31), (10, 32), (10, 33), (20, 34), (30, 35)])
def test_small_clean_sets_are_not_accused(size: int, seed: int) -> None:
    assert inspect(clean(seed, n_episodes=size).settle(), frames=0).is_clean


@pytest.mark.parametrize(("later", "said"), [(0, "the action is the state itself"), (-2, "told to go back")])
def test_an_action_that_does_not_lead_is_named(later: int, said: str) -> None:
    source = clean(13, n_episodes=6)
    for index, of in source.episodes.items():
        assert of.state is not None
        action = np.roll(of.state, -later, axis=0)[3:-3]
        state, place = of.state[3:-3], of.environment_state
        assert place is not None
        source.episodes[index] = replace(of, state=state, action=action, environment_state=place[3:-3])
    assert said in inspect(source.settle(), frames=0).finding("action").verdict


@pytest.mark.parametrize("seed", [700, 701, 702])
def test_displacements_are_told_from_a_state_that_is_late(seed: int) -> None:
    for name, is_delta in (("delta actions", True), ("late state", False)):
        source = clean(seed, n_episodes=20)
        FAULTS[name].plant(source, np.random.default_rng(1000 + seed))
        report = inspect(source.settle(), frames=0)
        assert (report.finding("action_kind").severity == "warning") == is_delta
        assert ("late" in report.finding("action").verdict) != is_delta


def test_an_inverted_joint_is_named() -> None:
    source = clean(14, n_episodes=6)
    for index, of in source.episodes.items():
        source.episodes[index] = replace(of, action=(of.action * [1, 1, 1, -1, 1]).astype(np.float32))
    assert "the action 'roll' goes against its state" in inspect(source.settle(), frames=0).finding("action").verdict


def test_the_table_of_dimensions_has_every_one_with_its_remark() -> None:
    rows = with_fault("jump", seed=21)[1].finding("dimensions").evidence["dimensions"]
    assert len(rows) == 12
    assert [row["name"] for row in rows if row["remark"] == "jumps"] == ["elbow"]
    values = np.concatenate([of.action[:, 1] for of in clean(1).episodes.values()])
    row = next(
        row
        for row in inspect(clean(1).settle(), frames=0).finding("dimensions").evidence["dimensions"]
        if (row["key"], row["name"]) == ("action", "lift")
    )
    assert (row["mean"], row["std"]) == pytest.approx((values.mean(), values.std()), rel=1e-4)


def test_the_json_has_numbers_only_that_json_knows() -> None:
    import json

    content = json.loads(to_json(with_fault("NaN", seed=21)[1]))
    assert content["schema_version"] == 2
    assert {of["question"] for of in content["findings"]} >= {"coverage", "recommendation", "numbers"}
    assert not {"contact", "exhibits"} & content.keys()


def above(camera: Camera, **options: Any) -> Camera:
    calibration = Calibration(
        size=(camera.height, camera.width),
        focal=(50.0, 50.0),
        center=(camera.width / 2, camera.height / 2),
        position=(0.3, 0.0, 1.0),
        quaternion=(0.0, 1.0, 0.0, 0.0),
    )
    return replace(camera, calibration=replace(calibration, **options))


TOP, WRIST = FEATURES.cameras


@pytest.mark.parametrize(
    ("cameras", "options", "lacking"),
    [
        ((above(TOP), WRIST), {}, None),
        ((TOP, WRIST), {}, "camera top: not calibrated"),
        ((TOP, above(WRIST, mounted_on="hand")), {}, None),
        ((above(TOP), WRIST), {"arm": None}, "kinematics"),
        ((TOP, above(WRIST, mounted_on="hand")), {"arm": None}, "nor a recorded pose"),
        ((above(TOP), WRIST), {"environment_names": ("x", "y", "z")}, "2 dimensions .* not 3: x, y, z"),
    ],
)
def test_the_grounded_recipe_is_proposed_where_training_takes_it_and_else_what_is_lacking_is_said(
    cameras: tuple[Camera, ...], options: dict[str, Any], lacking: str | None
) -> None:
    source = clean(3)
    source.features = replace(source.features, cameras=cameras, **options)
    n = source.features.environment_dim
    for index, episode in source.episodes.items():
        assert episode.environment_state is not None
        told = np.zeros((episode.length, n), np.float32)
        told[:, :2] = episode.environment_state
        source.episodes[index] = replace(episode, environment_state=told)
    finding = inspect(source.settle(), frames=0).finding("recommendation")
    assert finding.evidence["preset"] == ("compact-grounded" if lacking is None else "compact")
    assert lacking is None or re.search(f"compact-grounded is not possible: .*{lacking}", str(finding))
