"""Recording: same data whatever the processes and interruptions, and valid when it is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from foreact.data.sidecar import SIDECAR, read_sidecar
from foreact.data.source import open_source
from foreact.errors import ConfigError, DataError, SimulationError
from foreact.sim.record import RecordConfig, record, recorded_scenes
from foreact.sim.task import level

TASK = level("L1", overhead_size=(64, 64), wrist_size=(64, 64))


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
    options = ["--episodes", "4", "--seed", "5", "--cameras", "64x64", "--workers", "1"]
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


QUICK = replace(TASK, max_seconds=4.0)
"""Too little time for blocks far to the left: of the scenes from seed 5 on the second and the fourth are kept."""


def paired(root: Path, episodes: int, workers: int = 1) -> Path:
    result = record(RecordConfig(task=QUICK, episodes=episodes, seed=5, paired=True), root, workers=workers)
    assert result.finished
    return root


def lines(root: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (root / "meta" / "recording.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paired(tmp_path_factory.mktemp("paired") / "demos", episodes=4, workers=2)


def assert_same_pairs(first: Path, second: Path) -> None:
    assert_same(first, second)
    assert lines(first) == lines(second)
    assert (first / SIDECAR).read_text() == (second / SIDECAR).read_text()


def test_a_pair_shows_the_same_scene_with_the_other_block_as_target(pairs: Path) -> None:
    source, scenes, data = open_source(pairs), recorded_scenes(pairs), content(pairs)
    assert read_sidecar(pairs).scenes == (0, 0, 1, 1)
    assert source.scenes == {0: 0, 1: 0, 2: 1, 3: 1}
    for first, second in ((0, 1), (2, 3)):
        assert scenes[first]["seed"] == scenes[second]["seed"]
        assert [scenes[first]["target"]] == scenes[second]["confusers"]
        assert [scenes[second]["target"]] == scenes[first]["confusers"]
        (state, cue, _, *frames), (other_state, other_cue, _, *other_frames) = data[first], data[second]
        np.testing.assert_array_equal(state[0], other_state[0])
        for pictures, other_pictures in zip(frames, other_frames, strict=True):
            # Equal before they were coded (next test); how a first frame is coded depends on those that follow.
            assert np.abs(pictures[0].astype(float) - other_pictures[0]).mean() < 3
        for told, scene in ((cue, scenes[first]), (other_cue, scenes[second])):
            assert np.linalg.norm(told[0] - scene["target"]) < 0.04  # sigma is 1 cm
        noise = cue[0] - scenes[first]["target"], other_cue[0] - scenes[second]["target"]
        assert np.abs(noise[0] - noise[1]).max() > 1e-4, "the cue's noise is drawn anew"


def test_the_same_seed_with_another_target_begins_with_the_same_observation_but_for_the_cue() -> None:
    from foreact.sim.env import PickPlaceEnv

    env = PickPlaceEnv(TASK)
    observations = [env.reset(seed=6, options={"target": target})[0] for target in (0, 1)]
    unpaired, _ = env.reset(seed=6)
    env.close()
    for key, value in unpaired.items():
        np.testing.assert_array_equal(value, observations[0][key])
        if key == "observation.environment_state":
            assert np.linalg.norm(value - observations[1][key]) > 0.03
        else:
            np.testing.assert_array_equal(value, observations[1][key])


def test_in_every_episode_of_a_pair_the_cued_block_ends_in_the_bowl(pairs: Path) -> None:
    """Replayed without noise: the hand closes at the target of that episode, not at the other block."""
    from foreact.sim.env import PickPlaceEnv
    from foreact.sim.expert import Expert

    env = PickPlaceEnv(replace(QUICK, cameras=()))
    for scene in recorded_scenes(pairs):
        assert scene["outcome"] == "success"
        _, info = env.reset(seed=scene["seed"], options={"target": scene["block"]})
        np.testing.assert_array_equal(info["target"], scene["target"])
        expert = Expert(env)
        while info["outcome"] is None:
            *_, info = env.step(expert.act())
        assert info["success"]
        assert info["closing_target_mm"] < 15 < info["closing_confuser_mm"]
    env.close()


def test_a_scene_in_which_one_block_fails_is_left_out_whole(pairs: Path, tmp_path: Path) -> None:
    tried = lines(pairs)
    assert [(line["seed"], line["episode_index"]) for line in tried] == [
        (5, None), (6, 0), (6, 1), (7, None), (8, 2), (8, 3),
    ]  # fmt: skip
    # By itself, without its pair, each scene is the first of its two episodes.
    alone = RecordConfig(task=QUICK, episodes=2, seed=5)
    record(alone, tmp_path / "alone", workers=1)
    for index, other in ((0, 0), (1, 2)):
        for left, right in zip(content(tmp_path / "alone")[index], content(pairs)[other], strict=True):
            np.testing.assert_array_equal(left, right)


def test_paired_episodes_are_rounded_up_to_whole_scenes_and_go_on_where_they_ended(pairs: Path, tmp_path: Path) -> None:
    root = paired(tmp_path / "parts", episodes=1)
    assert read_sidecar(root).scenes == (0, 0)
    assert_same_pairs(paired(root, episodes=3), pairs)


def test_a_pair_that_was_cut_in_two_is_completed(pairs: Path, tmp_path: Path) -> None:
    """What a kill leaves between adding an episode and noting it: the data are ahead of the log and of the sidecar."""
    root = paired(tmp_path / "cut", episodes=4)
    log, settings = root / "meta" / "recording.jsonl", root / "meta" / "recording.json"
    log.write_text("".join(f"{line}\n" for line in log.read_text().splitlines()[:-1]))
    settings.write_text(settings.read_text().replace('"complete": true', '"complete": false'))
    sidecar = root / SIDECAR
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "scenes": [0, 0]}))
    assert_same_pairs(paired(root, episodes=4), pairs)


@pytest.mark.slow
def test_a_killed_recording_of_pairs_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "killed"
    options = ["--episodes", "5", "--seed", "5", "--cameras", "64x64", "--workers", "1", "--paired"]
    call = [sys.executable, "-m", "foreact.cli.main", "record", str(root), *options]
    process = subprocess.Popen(call, stderr=subprocess.DEVNULL, start_new_session=True)
    info = root / "meta" / "info.json"
    deadline = time.monotonic() + 120
    while not (info.exists() and json.loads(info.read_text())["total_episodes"] >= 3):
        assert time.monotonic() < deadline, "three episodes in two minutes"
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    content(root)  # every frame of every finished episode can be read
    done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "recorded 6 episodes (whole scenes, 5 asked for)" in done.stdout
    record(RecordConfig(task=TASK, episodes=6, seed=5, paired=True), tmp_path / "whole", workers=1)
    assert_same_pairs(root, tmp_path / "whole")


def test_paired_scenes_of_several_blocks_keep_every_block_apart_and_off_what_is_held_out() -> None:
    from foreact.sim.env import PickPlaceEnv

    held_out = ((0.2, 0.0), (0.18, 0.1))
    task = replace(level("L3", cameras=()), exclude=held_out, exclude_radius=0.02)
    env = PickPlaceEnv(task)
    for seed in range(10):
        _, info = env.reset(seed=seed, options={"target": 0})
        layout = env.layout
        blocks = np.array([info["target"], *info["confusers"]])
        apart = np.linalg.norm(blocks[:, None] - blocks, axis=-1)[np.triu_indices(len(blocks), k=1)]
        assert apart.min() >= task.min_separation
        assert np.linalg.norm(blocks[:, None] - np.array(held_out), axis=-1).min() >= task.exclude_radius
        for target in range(1, len(blocks)):
            _, info = env.reset(seed=seed, options={"target": target})
            swapped = [0, *range(1, len(blocks))]
            swapped[0], swapped[target] = target, 0
            np.testing.assert_array_equal([info["target"], *info["confusers"]], blocks[swapped])
            np.testing.assert_array_equal(env.layout.yaws, layout.yaws[swapped])
            np.testing.assert_array_equal(info["bowl"], layout.bowl)
    with pytest.raises(SimulationError, match="block 4 cannot be the target: this scene has blocks 0 to"):
        env.reset(seed=0, options={"target": 4})
    env.close()


def test_tasks_without_a_second_block_or_with_targets_at_given_places_cannot_be_paired() -> None:
    with pytest.raises(ConfigError, match=r"need two blocks or more in every scene, but task.confusers is \(0, 1\)"):
        RecordConfig(task=replace(TASK, confusers=(0, 1)), episodes=2, paired=True)
    with pytest.raises(ConfigError, match=r"choose task\.positions uniform"):
        RecordConfig(task=replace(TASK, positions=((0.2, 0.0),)), episodes=2, paired=True)
    with pytest.raises(ConfigError, match=r"choose task\.positions uniform"):
        RecordConfig(task=replace(TASK, positions="clusters", confusers=(1, 2)), episodes=2, paired=True)
    with pytest.raises(ConfigError, match=r"choose task\.positions uniform"):
        RecordConfig(task=replace(TASK, positions="target_clusters"), episodes=2, paired=True)
    RecordConfig(task=replace(TASK, positions="clusters"), episodes=2, paired=True)


def test_a_recording_of_an_older_version_gets_its_calibration_and_stays_as_it_is(
    recording: Path, tmp_path: Path
) -> None:
    root = tmp_path / "older"
    shutil.copytree(recording, root)
    (root / SIDECAR).unlink()
    settings = json.loads((root / "meta" / "recording.json").read_text())
    del settings["paired"]
    (root / "meta" / "recording.json").write_text(json.dumps(settings))
    record(RecordConfig(task=TASK, episodes=4, seed=5), root)
    assert (root / SIDECAR).read_text() == (recording / SIDECAR).read_text()
    with pytest.raises(DataError, match="was recorded with paired False, not True"):
        record(RecordConfig(task=TASK, episodes=4, seed=5, paired=True), root)
    assert_same(recording, root)
