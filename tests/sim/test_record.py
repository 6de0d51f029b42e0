"""Recording: same data whatever the processes and interruptions, and valid when it is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from foreact.data.source import open_source
from foreact.errors import DataError
from foreact.sim.record import RecordConfig, record, recorded_scenes
from foreact.sim.task import level

TASK = level("L1", overhead_size=(32, 32), wrist_size=(32, 32))


def content(root: Path) -> list[tuple[np.ndarray, ...]]:
    source = open_source(root)
    episodes = []
    for index in source.episode_indices:
        episode = source.episode(index)
        assert episode.state is not None
        assert episode.environment_state is not None
        frames = [np.stack(list(source.frames(index, camera))) for camera in ("overhead", "wrist")]
        episodes.append((episode.state, episode.environment_state, episode.action, *frames))
    return episodes


def assert_same(first: Path, second: Path) -> None:
    one, two = content(first), content(second)
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("recording") / "demos"
    result = record(RecordConfig(task=TASK, episodes=4, seed=5), root, workers=2)
    assert (result.recorded, result.finished) == (4, True)
    return root


def test_the_data_do_not_depend_on_the_number_of_processes(recording: Path, tmp_path: Path) -> None:
    record(RecordConfig(task=TASK, episodes=4, seed=5), tmp_path / "one", workers=1)
    assert_same(recording, tmp_path / "one")


def test_a_recording_goes_on_where_it_ended(recording: Path, tmp_path: Path) -> None:
    record(RecordConfig(task=TASK, episodes=2, seed=5), tmp_path / "parts", workers=1)
    record(RecordConfig(task=TASK, episodes=4, seed=5), tmp_path / "parts", workers=1)
    assert_same(recording, tmp_path / "parts")
    assert [scene["seed"] for scene in recorded_scenes(tmp_path / "parts")] == [5, 6, 7, 8]


def test_a_complete_recording_is_left_as_it_is(recording: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in recording.rglob("*") if path.is_file()}
    again = record(RecordConfig(task=TASK, episodes=4, seed=5), recording)
    assert (again.recorded, again.finished) == (4, True)
    assert {path: path.stat().st_mtime_ns for path in recording.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_killed_recording_is_valid_and_goes_on(recording: Path, tmp_path: Path) -> None:
    root = tmp_path / "killed"
    options = ["--episodes", "4", "--seed", "5", "--cameras", "32x32", "--workers", "1"]
    call = [sys.executable, "-m", "foreact.cli.main", "record", str(root), *options]
    process = subprocess.Popen(call, stderr=subprocess.DEVNULL, start_new_session=True)
    info = root / "meta" / "info.json"
    deadline = time.monotonic() + 120
    while not (info.exists() and json.loads(info.read_text())["total_episodes"] >= 2):
        assert time.monotonic() < deadline, "two episodes in two minutes"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = open_source(root)
    assert 2 <= len(finished.episode_indices) <= 4
    content(root)  # every frame of every finished episode can be read
    done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "recorded 4 episodes" in done.stdout
    assert_same(recording, root)


def test_the_clean_action_is_recorded_and_noise_is_executed(recording: Path) -> None:
    """Replaying the recorded actions of a noisy episode leads elsewhere; of a clean one, to the same states."""
    from foreact.sim.env import PickPlaceEnv

    source = open_source(recording)
    env = PickPlaceEnv(replace(TASK, cameras=()))
    repeats = []
    for scene in recorded_scenes(recording):
        episode = source.episode(scene["episode_index"])
        observation, _ = env.reset(seed=scene["seed"])
        states = [observation["observation.state"]]
        for action in episode.action[:-1]:
            states.append(env.step(action)[0]["observation.state"])
        assert episode.state is not None
        repeats.append(bool(np.array_equal(states, episode.state)))
        noisy = np.random.default_rng([scene["seed"], 1]).random() < 0.6
        assert repeats[-1] != noisy
    env.close()
    assert set(repeats) == {True, False}, "the seeds cover both kinds"


def test_the_cue_is_constant_in_an_episode_and_the_true_position_is_kept_beside(recording: Path) -> None:
    source = open_source(recording)
    for scene in recorded_scenes(recording):
        cue = source.episode(scene["episode_index"]).environment_state
        assert cue is not None
        assert (cue == cue[0]).all()
        distance = np.linalg.norm(cue[0] - scene["target"])
        assert 0 < distance < 0.05  # sigma is 1 cm


def test_the_data_set_names_its_dimensions_and_holds_its_statistics(recording: Path) -> None:
    info = json.loads((recording / "meta" / "info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert info["fps"] == 10
    assert info["features"]["action"]["names"][0] == "shoulder_pan.pos"
    stats = json.loads((recording / "meta" / "stats.json").read_text())
    rows = pq.read_table(sorted((recording / "data").rglob("*.parquet"))[0]).column("action").to_pylist()
    np.testing.assert_allclose(stats["action"]["mean"], np.mean(rows, axis=0), atol=1e-5)


def test_the_state_is_the_joints_that_its_names_say_and_actions_are_absolute_goals(recording: Path) -> None:
    """Traps 11 and 12: replayed in MuJoCo, the state is qpos by name, and each action is where the joints then go."""
    from foreact.sim.env import PickPlaceEnv

    source = open_source(recording)
    env = PickPlaceEnv(replace(TASK, cameras=()))
    scene = recorded_scenes(recording)[0]
    episode = source.episode(scene["episode_index"])
    assert episode.state is not None
    env.reset(seed=scene["seed"])
    for dim, name in enumerate(source.features.state_names):
        qpos = env.data.joint(name.removesuffix(".pos")).qpos[0]
        assert episode.state[0, dim] == np.float32(qpos), name
    env.close()
    arm = slice(0, 5)  # the gripper squeezes, so it does not arrive
    to_goal = np.abs(episode.action[:-1, arm] - episode.state[1:, arm]).mean()
    moved = np.abs(episode.action[:-1, arm] - episode.state[:-1, arm]).mean()
    assert to_goal < 0.5 * moved, "the next state lies at the action, not a step beside it"
    assert np.abs(episode.action[:, arm]).mean() > 5 * moved, "an angle, not a difference of angles"


def test_other_settings_or_a_foreign_folder_are_refused(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"was recorded with cue_sigma 0.01, not 0.0; choose another folder"):
        record(RecordConfig(task=replace(TASK, cue_sigma=0.0), episodes=4, seed=5), recording)
    with pytest.raises(DataError, match="was recorded with seed 5, not 6"):
        record(RecordConfig(task=TASK, episodes=4, seed=6), recording)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="is not empty and not a recording"):
        record(RecordConfig(task=TASK, episodes=1), tmp_path)
