"""An imported policy with --data is guarded as a trained one is, and knows where its data are; without it says so."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from deploy.lerobot_files import PLAIN, statistics
from foreact import load_policy
from foreact.cli.main import run
from foreact.deploy.import_checkpoint import import_checkpoint
from foreact.deploy.lerobot_export import export_lerobot
from foreact.deploy.unsaid import Unsaid
from foreact.policy.checkpoint import read_meta, save_policy
from foreact.policy.policy import Policy
from foreact.policy.settings import _say_once
from foreact_runtime.bundle import read_bundle
from spots import FEATURES


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """LeRobot's ACT for the robot of the small data set, whose files know no names."""
    stats = {key: of for key, of in statistics().items() if key != "observation.state"}
    stats["observation.state"] = stats["action"]
    torch.manual_seed(0)
    policy = Policy(config=replace(PLAIN, vision_backbone="resnet18"), features=FEATURES, statistics=stats)
    save_policy(tmp_path / "ours", policy)
    export_lerobot(tmp_path / "ours", tmp_path / "theirs")
    return tmp_path / "theirs"


def recorded(dataset: Path, key: str) -> list[np.ndarray]:
    """Each episode's vectors, read without our readers."""
    table = pq.read_table(sorted((dataset / "data").rglob("*.parquet")))
    episode = table["episode_index"].to_numpy()
    values = np.array(table[key].to_pylist(), np.float64)
    return [values[episode == index] for index in np.unique(episode)]


def test_limits_alarm_names_and_provenance_are_those_of_the_data(theirs: Path, dataset: Path, tmp_path: Path) -> None:
    import_checkpoint(str(theirs), tmp_path / "guarded", Unsaid(data=dataset))
    meta = read_meta(tmp_path / "guarded")
    assert (meta.features.action_names, meta.features.state_names, meta.features.fps) == (("a", "b"), ("a", "b"), 10)
    assert meta.provenance["data"]["path"] == str(dataset.resolve())
    assert meta.provenance["data"]["training"] == [0, 1, 2, 3, 4, 5]
    settings = load_policy(tmp_path / "guarded").executor_settings
    actions, states = recorded(dataset, "action"), recorded(dataset, "observation.state")
    fastest = [np.abs(np.diff(of, axis=0)).max(axis=0) for of in actions]
    expected = 2 * 10 * np.quantile(fastest, 0.99, axis=0)  # the margin of 0.5 on both sides doubles the range
    np.testing.assert_allclose(np.array(settings.limits.velocity, float), expected, rtol=1e-6)
    away = [np.abs(action - state).max(axis=0) for action, state in zip(actions, states, strict=True)]
    np.testing.assert_allclose(np.array(settings.limits.lead, float), 2 * np.quantile(away, 0.99, axis=0), rtol=1e-6)
    low, high = np.quantile(np.concatenate(states), (0.01, 0.99), axis=0)
    ends = np.array([low - (high - low) / 2, high + (high - low) / 2]).T
    np.testing.assert_allclose(np.array(settings.alarm.state, float), ends, rtol=1e-6)


def test_the_chunk_is_as_it_was_without_the_data(theirs: Path, dataset: Path, tmp_path: Path) -> None:
    import_checkpoint(str(theirs), tmp_path / "plain", Unsaid())
    import_checkpoint(str(theirs), tmp_path / "guarded", Unsaid(data=dataset))
    rng = np.random.default_rng(0)
    seen = {
        key: rng.uniform(0, 1, 2).astype(np.float32) for key in ("observation.state", "observation.environment_state")
    }
    seen |= {f"observation.images.{of}": np.full((32, 32, 3), 60, np.uint8) for of in ("overhead", "wrist")}
    plain, guarded = (load_policy(tmp_path / name) for name in ("plain", "guarded"))
    np.testing.assert_array_equal(guarded.predict_chunk(seen), plain.predict_chunk(seen))


def test_export_and_tune_executor_find_the_data_again(
    theirs: Path, dataset: Path, tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["import", str(theirs), str(tmp_path / "guarded"), "--data", str(dataset)]) == 0
    assert "limits and alarm are learned" in capsys.readouterr().out
    assert run(["export", str(tmp_path / "guarded"), str(tmp_path / "bundle")]) == 0
    assert f"frames of {dataset.resolve()}" in capsys.readouterr().out.replace("\n", " ")
    assert run(["tune-executor", str(tmp_path / "guarded"), "--data-episodes", "1", "--cache-dir", str(cache_dir)]) == 0
    assert "recommended: " in capsys.readouterr().out


def test_without_data_what_is_not_limited_is_said_and_may_be_declared(
    theirs: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert run(["import", str(theirs), str(tmp_path / "plain")]) == 0
    assert "do not say how fast its robot was moved: give --data" in capsys.readouterr().out
    _say_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        load_policy(tmp_path / "plain")
    assert "nothing limits the action's velocity and jump: " in caplog.text
    declared = ["--velocity-limits", "0.5", "inf", "--position-limits", "-1", "1", "-2", "2", "--jump-limits", "3", "3"]
    assert run(["export", str(tmp_path / "plain"), str(tmp_path / "bundle"), "--data", str(dataset), *declared]) == 0
    limits = read_bundle(tmp_path / "bundle").settings.limits
    assert (limits.velocity, limits.jump) == ((0.5, None), (3.0, 3.0))
    assert (limits.lower, limits.upper) == ((-1.0, -2.0), (1.0, 2.0))
