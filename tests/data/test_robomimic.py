"""robomimic's HDF5 files are read value by value, and damaged ones are refused by name."""

import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from data.robomimic_files import LENGTHS, actions_of, observations_of, write
from foreact.config import RunConfig, SourceConfig
from foreact.data.bad_episodes import read_episode
from foreact.data.dataset import find_bad_episodes
from foreact.data.robomimic import RobomimicSource
from foreact.data.source import EpisodeSource, open_source
from foreact.errors import ConfigError, DataError
from foreact.policy.checkpoint import find_checkpoint, read_meta, source_of
from foreact.train.run import train


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "image.hdf5")


def read_all(source: EpisodeSource) -> None:
    for index in source.episode_indices:
        source.episode(index)
        for camera in source.features.cameras:
            for _ in source.frames(index, camera.name):
                pass


def refused(path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_all(open_source(path))
    assert "\n" not in str(error.value)


def test_a_file_is_found_out_and_described(path: Path) -> None:
    source = open_source(path)
    assert isinstance(source, RobomimicSource)
    assert source.episode_indices == (0, 2, 10)
    assert source.lengths == LENGTHS
    assert set(source.tasks.values()) == {"Lift"}
    assert source.scenes == {0: 0, 2: 2, 10: 10}
    features = source.features
    assert features.fps == 20
    assert features.action_names == tuple(f"action.{i}" for i in range(7))
    assert features.state_names == (
        *(f"robot0_eef_pos.{i}" for i in range(3)),
        *(f"robot0_eef_quat.{i}" for i in range(4)),
        *(f"robot0_gripper_qpos.{i}" for i in range(2)),
    )
    assert features.environment_names == ()
    assert [(of.name, of.height, of.width, of.depth_range) for of in features.cameras] == [
        ("agentview_image", 32, 24, None)
    ]


def test_every_value_is_as_it_was_written(path: Path) -> None:
    config = SourceConfig(low_dim_keys=("robot0_joint_pos", "robot0_eef_pos"), environment_keys=("object",))
    source = open_source(path, config)
    assert source.features.environment_names == tuple(f"object.{i}" for i in range(10))
    assert source.features.state_names[6:8] == ("robot0_joint_pos.6", "robot0_eef_pos.0")
    for index, length in LENGTHS.items():
        episode, written = source.episode(index), observations_of(index, length)
        np.testing.assert_array_equal(episode.action, actions_of(index, length).astype("f4"))
        joints, hand = written["robot0_joint_pos"], written["robot0_eef_pos"]
        assert episode.state is not None
        np.testing.assert_array_equal(episode.state, np.concatenate([joints, hand], axis=1).astype("f4"))
        assert episode.environment_state is not None
        np.testing.assert_array_equal(episode.environment_state, written["object"].astype("f4"))
        frames = np.stack(list(source.frames(index, "agentview_image")))
        np.testing.assert_array_equal(frames, written["agentview_image"])


def test_a_folder_with_one_file_is_that_file_and_of_several_one_is_to_be_named(path: Path) -> None:
    assert open_source(path.parent).root == path
    shutil.copyfile(path, path.with_name("low_dim.hdf5"))
    refused(path.parent, r"found 2 HDF5 files; give one of them, for example '.*image.hdf5'")


@pytest.mark.parametrize(
    ("environment", "fps", "expected", "task"),
    [
        ({"env_name": "Can", "env_kwargs": {"control_freq": 10}}, None, 10, "Can"),
        ({"env_name": "Can", "env_kwargs": {"control_freq": 10}}, 15.0, 15, "Can"),
        ({"env_name": "Can"}, None, 20, "Can"),
        ({"env_name": "Can", "env_kwargs": {"control_freq": float("inf")}}, None, 20, "Can"),
        ({}, None, 20, ""),
        ([], None, 20, ""),
        (None, None, 20, ""),
    ],
)
def test_rate_and_task_are_those_of_the_environment(
    tmp_path: Path, environment: object, fps: float | None, expected: float, task: str
) -> None:
    source = open_source(write(tmp_path / "a.hdf5", environment), SourceConfig(fps=fps))
    assert (source.features.fps, source.tasks[2]) == (expected, task)


def rename(path: Path, names: dict[str, str]) -> None:
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            for old, new in names.items():
                demo.move(f"obs/{old}", f"obs/{new}")


def test_the_state_is_the_hand_of_each_robot_or_all_vectors_but_the_objects(path: Path) -> None:
    rename(path, {"robot0_joint_pos": "robot1_eef_pos"})
    names = open_source(path).features.state_names
    assert tuple(dict.fromkeys(name.rpartition(".")[0] for name in names)) == (
        "robot0_eef_pos",
        "robot0_eef_quat",
        "robot0_gripper_qpos",
        "robot1_eef_pos",
    )
    rename(path, {"robot0_eef_pos": "ee_pos", "robot0_eef_quat": "ee_quat", "robot0_gripper_qpos": "gripper"})
    rename(path, {"robot1_eef_pos": "joints"})
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            demo["obs/label"] = np.zeros((len(demo["actions"]), 2), np.int64)
            demo["obs/opening"] = np.arange(len(demo["actions"]), dtype=float)
    source = open_source(path)
    assert tuple(dict.fromkeys(name.rpartition(".")[0] for name in source.features.state_names)) == (
        "ee_pos",
        "ee_quat",
        "gripper",
        "joints",
        "opening",
    )
    state = source.episode(0).state
    assert state is not None
    np.testing.assert_array_equal(state[:, -1], np.arange(9))


def test_a_source_travels_to_other_processes_and_keeps_no_file_open(path: Path) -> None:
    source = open_source(path)
    begun = source.frames(2, "agentview_image")
    next(begun)
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.episode(2).action, source.episode(2).action)
    del begun
    with h5py.File(path, "r+"):
        pass  # h5py refuses to write to a file that is open for reading


def test_the_fingerprint_follows_every_value_and_not_the_place(path: Path, tmp_path: Path) -> None:
    prints = {open_source(path).fingerprint()}
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.copyfile(path, tmp_path / "elsewhere" / path.name))
    assert open_source(moved).fingerprint() in prints
    places: dict[str, tuple[int, ...]] = {"actions": (3, 5), "obs/robot0_joint_pos": (0, 0), "obs/object": (1, 1)}
    for name, place in places.items():
        with h5py.File(moved, "r+") as file:
            file[f"data/demo_2/{name}"][place] += 1
        prints.add(open_source(moved).fingerprint())
    assert len(prints) == 4
    assert open_source(path, SourceConfig(fps=5)).fingerprint() in prints, "the cached frames stay valid"


# --- bad input -------------------------------------------------------------------------------------------------------


def edit(name: str, value: object) -> Callable[[Path], None]:
    """Put another dataset in the place of one of demo_2, or none."""

    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[f"data/demo_2/{name}"]
            if value is not None:
                file[f"data/demo_2/{name}"] = value

    return change


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_pictures(path: Path) -> None:
    """Overwrite a compressed chunk, as a bad disk does."""
    with h5py.File(path, "r") as file:
        chunk = file["data/demo_2/obs/agentview_image"].id.get_chunk_info(1)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * chunk.size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut, r"'.*image.hdf5' is damaged \(.*truncated file.*\); copy or record it again"),
        (lambda path: path.write_text("nothing"), "is not an HDF5 file; copy or download it again"),
        (
            lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
            "image.hdf5' is a git-lfs pointer",
        ),
        (spoil_pictures, r"episode 2 \('.*image.hdf5', demo_2\) is damaged \(.*filter.*\)"),
        (edit("actions", None), r"episode 2 \('.*image.hdf5', demo_2\) has no dataset 'actions'"),
        (edit("obs/robot0_eef_pos", None), "has no dataset 'obs/robot0_eef_pos'"),
        (edit("obs/agentview_image", None), "has no dataset '.*obs/agentview_image'"),
        (edit("obs/robot0_eef_pos", np.zeros((5, 3))), "'obs/robot0_eef_pos' has 5 rows for 12 actions"),
        (
            edit("obs/robot0_eef_pos", np.zeros((12, 2))),
            "'obs/robot0_eef_pos' has 2 dimensions, in most episodes 3",
        ),
        (edit("obs/agentview_image", np.zeros((5, 32, 24, 3), "u1")), "agentview_image' has 5 rows for 12 actions"),
        (edit("obs/agentview_image", np.zeros((12, 8, 8, 3), "u1")), r"frame 0 has shape \(8, 8, 3\) of uint8"),
        (edit("actions", np.zeros((0, 7))), "episode 2 .* has no frames: 'actions' is empty"),
        (edit("actions", np.zeros((12, 6))), "'actions' has 6 dimensions, in most episodes 7"),
    ],
)
def test_a_damaged_demonstration_is_refused_by_file_and_number(
    path: Path, change: Callable[[Path], None], message: str
) -> None:
    change(path)
    refused(path, message)


@pytest.mark.parametrize("odd", LENGTHS)
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("obs/agentview_image", None, "has no dataset '.*obs/agentview_image'"),
        ("obs/agentview_image", np.zeros((99, 8, 8, 3), "u1"), "agentview_image' has 99 rows for"),
        ("obs/agentview_image", np.uint8(1), "agentview_image' has 0 rows for"),
        ("obs/robot0_gripper_qpos", None, "has no dataset 'obs/robot0_gripper_qpos'"),
        ("obs/robot0_gripper_qpos", np.zeros((99, 6)), "gripper_qpos' has 6 dimensions, in most episodes 2"),
        ("obs", None, "has no dataset 'obs/robot0_eef_pos'"),
        ("actions", np.float64(1), r"'actions' has shape \(\) of float64, expected numbers"),
        ("", np.zeros(3), "has no group 'data/demo_"),
    ],
)
def test_the_odd_demonstration_is_the_bad_one_even_if_it_is_the_first(
    path: Path, odd: int, name: str, value: object, message: str
) -> None:
    """Once a first one without pictures, gripper or observations decided for all."""
    whole = open_source(path).features
    with h5py.File(path, "r+") as file:
        place = f"data/demo_{odd}/{name}".rstrip("/")
        del file[place]
        if value is not None:
            file[place] = value
    source = open_source(path)
    assert source.features == whole
    bad: dict[int, str] = {}
    find_bad_episodes(source, features=source.features, keep_frames=False, on_bad=bad.__setitem__)
    assert list(bad) == [odd]
    assert re.match(rf"episode {odd} \('{path}', demo_{odd}\).*{message}", bad[odd]), bad[odd]


def test_nan_is_refused_by_file_and_number(path: Path, tmp_path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["data/demo_2/actions"][3, 1] = np.inf
    with pytest.raises(DataError, match=r"episode 2 \('.*image.hdf5'\): 'action' is inf at frame 3, dimension 1"):
        read_episode(open_source(path.parent), 2)


def test_a_file_of_another_kind_says_what_it_holds(path: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["weights"] = np.zeros(3)
    refused(tmp_path / "other.hdf5", "is not a robomimic file: expected a group 'data', found weights")
    with h5py.File(tmp_path / "none.hdf5", "w") as file:
        file.create_group("data")
    refused(tmp_path / "none.hdf5", "has no demonstrations: expected 'data/demo_0'")
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            del demo["obs"]
    refused(path, "episode 0 .* has no observations; make them with robomimic's dataset_states_to_obs.py")
    refused(write(tmp_path / "json.hdf5", "{"), "attribute 'env_args' of 'data' is not JSON")


def test_unknown_keys_cameras_and_episodes_are_named(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source\.low_dim_keys: unknown observation 'robot0_eef_po'; did you mean"):
        open_source(path, SourceConfig(low_dim_keys=("robot0_eef_po",)))
    with pytest.raises(ConfigError, match=r"source\.environment_keys: unknown observation 'block'"):
        open_source(path, SourceConfig(environment_keys=("block",)))
    source = open_source(path)
    with pytest.raises(DataError, match="unknown camera 'agentview'; did you mean 'agentview_image'"):
        next(source.frames(0, "agentview"))
    with pytest.raises(DataError, match="has no episode 1; it has 3, from 0 to 10"):
        source.episode(1)
    with pytest.raises(DataError, match="camera 'agentview_image' has no depth in metres"):
        source.depth(0, "agentview_image")


def test_two_steps_of_training_on_a_file(path: Path, tmp_path: Path, tiny_run: RunConfig, cache_dir: Path) -> None:
    config = SourceConfig(environment_keys=("object",))
    budget = replace(tiny_run.train, steps=2, warmup_steps=0, val_every=2, save_every=2)
    result = train(replace(tiny_run, train=budget, source=config), data=path, out=tmp_path / "run", cache_dir=cache_dir)
    meta = read_meta(find_checkpoint(tmp_path / "run"))
    assert (result.step, meta.features.environment_dim, meta.features.action_dim) == (2, 10, 7)
    assert source_of(meta) == config
