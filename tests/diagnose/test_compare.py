"""Ranking without a robot: figures known by hand, who is better and who cannot be told apart, and the command."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diagnose.closed_form import ARM
from diagnose.replays import CHUNK, policy, replay_of, shown
from foreact.cli.main import run as foreact
from foreact.config import RunConfig
from foreact.diagnose.compare import (
    Candidate,
    candidates,
    common_episodes,
    compare,
    first_chunk_errors,
    gripper_offsets,
    hand_errors,
    rank,
    summary,
)
from foreact.diagnose.compare_page import write_comparison
from foreact.errors import ConfigError
from foreact.policy.policy import Policy
from foreact.records import Episode, Features
from foreact.train.run import train
from spots import write_dataset

GRIPPING = Features(
    action_names=("a", "b", "gripper"),
    state_names=("a", "b", "gripper"),
    fps=10,
    arm=replace(ARM, gripper="gripper"),
)


def reaching(length: int = 12) -> Episode:
    """Two links turn; the gripper shuts at frame 6."""
    t = np.arange(length, dtype=np.float32)
    action = np.stack([0.05 * t, 0.1 * t, np.where(t < 6, 1.0, 0.0)], axis=1).astype(np.float32)
    return Episode(index=0, task="reach", action=action, state=action)


def arm_policy() -> Policy:
    return policy(features=GRIPPING)


def hand(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Over the table, by hand: links of 0.3 and 0.2 m."""
    return np.stack([0.3 * np.cos(a) + 0.2 * np.cos(a + b), 0.3 * np.sin(a) + 0.2 * np.sin(a + b)], axis=-1)


def test_start_and_aim_are_the_hands_distances_in_millimetres() -> None:
    of, episode = arm_policy(), reaching()
    off = np.array([0.02, 0.0, 0.0])
    replays = [replay_of(of, episode, shown(episode, off=off))]
    errors = hand_errors(of, replays, CHUNK)
    a, b, _ = episode.action.T.astype(np.float64)
    away = 1000 * np.linalg.norm(hand(a + 0.02, b) - hand(a, b), axis=-1)
    assert errors["start"] == pytest.approx([away[:CHUNK].mean()], rel=1e-4)
    assert errors["aim"] == pytest.approx([away[6]], rel=1e-4)  # every chunk before puts the hand there
    assert errors["hand"] == pytest.approx([np.concatenate([away[t : t + CHUNK] for t in range(12)]).mean()], rel=1e-4)
    never = replace(episode, action=episode.action * np.array([1, 1, 0], np.float32))
    assert np.isnan(hand_errors(of, [replay_of(of, never, shown(never))], CHUNK)["aim"]).all()


def test_the_first_chunks_error_and_the_grippers_offset_are_as_counted_by_hand() -> None:
    of, episode = arm_policy(), reaching()
    off = np.array([0.02, 0.0, 0.0])
    replays = [replay_of(of, episode, shown(episode, off=off))]
    std = episode.action.std(axis=0)
    assert first_chunk_errors(of, replays, CHUNK) == pytest.approx([0.02 / std[0] / 3], rel=1e-4)
    quick = policy(features=GRIPPING, n_action_steps=1)
    assert gripper_offsets(quick, [replay_of(quick, episode, shown(episode, 2))]) == pytest.approx([0.2])
    open_always = replay_of(quick, episode, lambda frames: np.ones((*frames.shape, 3)))
    assert gripper_offsets(quick, [open_always]) == pytest.approx([1.0])  # one missed: as if a second off


def made(name: str, start: np.ndarray) -> Candidate:
    return Candidate(name=name, run=name, step=1, values={"start": start, "first_chunk": 0.01 * start})


def test_the_best_comes_first_and_those_that_differ_by_less_than_chance_are_not_told_apart() -> None:
    rng = np.random.default_rng(0)
    hard, noise = rng.uniform(5, 50, 40), rng.normal(0, 3, 40)  # some episodes are harder for all
    good, same, bad = made("good", hard), made("same", hard + noise - noise.mean() + 0.2), made("bad", 1.3 * hard)
    ranked = rank([bad, same, good], data="d", episodes=40, held_out=40)
    assert [of.name for of in ranked.places] == ["good", "same", "bad"]
    # compared episode by episode, 1.3 times is told apart though the intervals overlap widely
    assert ranked.places[0].high > ranked.places[2].low
    assert [of.like_the_one_before for of in ranked.places] == [False, True, False]
    assert ranked.like_the_best == ("same",)
    assert summary(ranked).startswith(f"best: good: hand along the first chunk {hard.mean():.1f} mm (")
    assert summary(ranked).endswith("on these 40 episodes it cannot be told from same")
    of = ranked.places[0]
    assert of.low < hard.mean() < of.high
    # the bootstrap's interval against the normal approximation's
    assert of.high - of.low == pytest.approx(2 * 1.96 * hard.std() / np.sqrt(40), rel=0.1)


def test_of_a_few_episodes_nobody_is_told_apart() -> None:
    few, enough = np.array([9.0, 11.0, 10.0, 12.0]), np.array([9.0, 11.0, 10.0, 12.0, 8.0])
    for values, told in ((few, False), (enough, True)):
        n = len(values)
        ranked = rank([made("good", values), made("bad", values + 3)], data="d", episodes=n, held_out=n)
        assert ranked.places[0].name == "good"
        assert ranked.places[1].like_the_one_before is not told
        assert ranked.like_the_best == (() if told else ("bad",))


def test_without_a_hand_the_first_chunks_error_ranks() -> None:
    one, other = made("one", np.full(5, 2.0)), made("other", np.full(5, 1.0))
    blind = replace(one, values={"first_chunk": one.values["first_chunk"]})
    ranked = rank([blind, other], data="d", episodes=5, held_out=5)
    assert ranked.score == "first_chunk"
    assert [of.name for of in ranked.places] == ["other", "one"]
    assert ranked.places[1].figures["start"] is None
    with pytest.raises(ConfigError, match="is known of all of them"):
        rank([replace(one, values={}), other], data="d", episodes=5, held_out=5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("compare") / "spots", lengths=(12,) * 12)


@pytest.fixture
def runs(tiny_run: RunConfig, data: Path, cache_dir: Path, tmp_path: Path) -> list[Path]:
    """Two runs of two checkpoints each, with different held-out episodes."""
    folders = []
    for seed in (0, 1):
        schedule = replace(tiny_run.train, steps=4, save_every=2, val_every=2, val_fraction=0.5, seed=seed, keep_last=4)
        train(replace(tiny_run, train=schedule), data=data, out=tmp_path / f"run{seed}", cache_dir=cache_dir)
        folders.append(tmp_path / f"run{seed}")
    return folders


def test_checkpoints_are_ranked_on_episodes_that_none_was_trained_on(
    runs: list[Path], data: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen, held_out, _ = common_episodes(candidates(runs, "last"), None, 50)
    configs = [json.loads(next(run.glob("checkpoints/*/config.json")).read_text()) for run in runs]
    trained = [set(config["provenance"]["data"]["training"]) for config in configs]
    fresh = set(range(12)) - trained[0] - trained[1]
    assert set(chosen[:held_out]) == fresh
    capsys.readouterr()
    out = tmp_path / "out"
    words = ["compare", *map(str, runs), "--checkpoints", "all", "--cache-dir", str(cache_dir), "--out", str(out)]
    assert foreact(words) == 0
    printed = capsys.readouterr().out
    content = json.loads((out / "comparison.json").read_text())
    assert {of["name"] for of in content["places"]} == {f"{run.name}@{step}" for run in runs for step in (2, 4)}
    scores = [of["figures"][content["score"]] for of in content["places"]]
    assert scores == sorted(scores)
    assert content["score"] == "first_chunk", "the kinematics of these data are not known"
    assert content["places"][0]["name"] in printed.split("best: ")[1]
    assert (content["episodes"], content["held_out"]) == (len(chosen), held_out)
    page = (out / "comparison.html").read_text()
    assert "http" not in page
    assert page.count("data:image/png;base64,") == 2
    # the same policy under two names cannot be told apart
    twice = compare([runs[0], next(iter(candidates([runs[0]], "last").values()))], cache_dir=cache_dir)
    assert twice.places[1].like_the_one_before
    assert len(twice.like_the_best) == 1
    assert write_comparison(twice, tmp_path / "twice").exists()


def test_what_cannot_be_compared_is_refused_in_one_line(
    runs: list[Path], data: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert foreact(["compare", str(runs[0])]) == 1
    assert "there is one checkpoint to compare; give several runs, or --checkpoints all" in capsys.readouterr().err
    config = next(runs[1].glob("checkpoints/*4/config.json"))
    other = write_dataset(tmp_path / "other", lengths=(12,) * 3, seed=1)
    moved = json.loads(config.read_text())
    moved["provenance"]["data"]["path"] = str(other)
    config.write_text(json.dumps(moved))
    manifest = config.with_name("manifest.json")
    content = json.loads(manifest.read_text())
    content["sha256"]["config.json"] = hashlib.sha256(config.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(content))
    assert foreact(["compare", *map(str, runs), "--cache-dir", str(cache_dir)]) == 1
    assert "give one data set for all with --data" in capsys.readouterr().err
