"""ALOHA's HDF5 episodes are read as the original codes read them, and damaged ones are refused by name."""

import io
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from PIL import Image

from data.aloha_files import CAMERAS, LENGTHS, SIZE, pictures_of, vectors_of, write, write_episode
from foreact.cli import train as train_command
from foreact.cli.main import run as main
from foreact.config import RunConfig, SourceConfig
from foreact.data.aloha import JOINTS, AlohaSource
from foreact.data.dataset import ChunkDataset, find_bad_episodes
from foreact.data.source import EpisodeSource, open_source
from foreact.diagnose.report import diagnose
from foreact.errors import ConfigError, DataError
from foreact.policy.checkpoint import find_checkpoint, read_meta, source_of
from foreact.train.run import read_run, train


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "aloha_sim_transfer_cube")


def read_all(source: EpisodeSource) -> None:
    for index in source.episode_indices:
        source.episode(index)
        for camera in source.features.cameras:
            for _ in source.frames(index, camera.name):
                pass
            if camera.depth_range is not None:
                for _ in source.depth(index, camera.name):
                    pass


def refused(root: Path, message: str, config: SourceConfig | None = None) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_all(open_source(root, config or SourceConfig()))
    assert "\n" not in str(error.value)


# --- what is read ----------------------------------------------------------------------------------------------------


def test_a_folder_of_episodes_is_found_out_and_described(root: Path) -> None:
    source = open_source(root)
    assert isinstance(source, AlohaSource)
    assert source.episode_indices == (0, 2, 10)
    assert source.lengths == LENGTHS
    assert set(source.tasks.values()) == {"aloha_sim_transfer_cube"}
    assert source.scenes == {0: 0, 2: 2, 10: 10}
    features = source.features
    assert features.fps == 50
    assert features.state_names == features.action_names == JOINTS
    assert (JOINTS[0], JOINTS[3], JOINTS[6], JOINTS[13]) == (
        "left_waist",
        "left_forearm_roll",
        "left_gripper",
        "right_gripper",
    )
    assert [(camera.name, camera.height, camera.width) for camera in features.cameras] == [
        ("cam_high", 32, 48),
        ("cam_left_wrist", 32, 48),
    ]
    assert features.environment_names == ()


def test_every_value_of_a_simulated_set_is_as_it_was_written(root: Path) -> None:
    source = open_source(root)
    for index, length in LENGTHS.items():
        episode, written = source.episode(index), vectors_of(index, length)
        assert episode.state is not None
        assert episode.state.dtype == episode.action.dtype == np.float32
        np.testing.assert_array_equal(episode.state, written["qpos"].astype("f4"))
        np.testing.assert_array_equal(episode.action, written["action"].astype("f4"))
        for number, camera in enumerate(CAMERAS):
            frames = np.stack(list(source.frames(index, camera)))
            assert frames.dtype == np.uint8
            np.testing.assert_array_equal(frames, pictures_of(index, number, length))


@pytest.mark.parametrize(
    ("sim", "lag", "expected"),
    [
        (True, None, [0, 1, 2, 3, 4]),
        (False, None, [0, 0, 1, 2, 3]),
        (None, None, [0, 0, 1, 2, 3]),
        (False, 0, [0, 1, 2, 3, 4]),
        (True, 2, [0, 0, 0, 1, 2]),
    ],
)
def test_real_robots_use_the_action_of_the_frame_before(
    tmp_path: Path, sim: bool | None, lag: int | None, expected: list[int]
) -> None:
    write_episode(tmp_path / "episode_0.hdf5", length=5, sim=sim)
    episode = open_source(tmp_path, SourceConfig(action_lag=lag)).episode(0)
    np.testing.assert_array_equal(episode.action, vectors_of(0, 5)["action"].astype("f4")[expected])
    assert episode.state is not None
    np.testing.assert_array_equal(episode.state, vectors_of(0, 5)["qpos"].astype("f4"))


def test_chunks_of_a_real_robot_begin_where_those_of_the_original_code_do(tmp_path: Path) -> None:
    """ACT's `EpisodicDataset`, by hand: from frame t on, the actions `action[max(0, t - 1):]`."""
    write_episode(tmp_path / "episode_0.hdf5", length=6, sim=False)
    source = open_source(tmp_path)
    samples = ChunkDataset(source, (0,), features=replace(source.features, cameras=()), chunk_size=3)
    written = vectors_of(0, 6)["action"].astype("f4")
    for t in (1, 2, 3):
        chunk = samples[t].action
        assert chunk is not None
        np.testing.assert_array_equal(chunk[0], written[max(0, t - 1) :][:3])


@pytest.mark.parametrize(("base_action", "dim"), [("smoothed", 16), ("recorded", 16), ("none", 14)])
@pytest.mark.parametrize("length", [3, 8])
def test_the_base_of_mobile_aloha_follows_the_arms(tmp_path: Path, base_action: str, dim: int, length: int) -> None:
    write_episode(tmp_path / "episode_0.hdf5", length=length, base=True)
    source = open_source(tmp_path, SourceConfig(base_action=base_action))  # type: ignore[arg-type]
    assert source.features.action_names == JOINTS + ("linear_vel", "angular_vel")[: dim - 14]
    action = source.episode(0).action
    written = vectors_of(0, length)
    np.testing.assert_array_equal(action[:, :14], written["action"].astype("f4"))
    base = written["base"].astype("f4")
    if base_action == "recorded":
        np.testing.assert_array_equal(action[:, 14:], base)
    if base_action == "smoothed":
        # By hand: a fifth of each of the five neighbours that exist.
        by_hand = [sum(base[max(0, t - 2) : t + 3].astype(float)) / 5 for t in range(length)]
        np.testing.assert_allclose(action[:, 14:], by_hand, rtol=0, atol=1e-7)
        if length >= 5:  # ACT++'s own words; for shorter episodes they give 5 rows
            convolved = [np.convolve(base[:, i], np.ones(5) / 5, mode="same") for i in (0, 1)]
            np.testing.assert_allclose(action[:, 14:], np.stack(convolved, axis=1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", ["as it is", "turned"])
def test_compressed_pictures_have_the_colours_that_were_handed_to_opencv(tmp_path: Path, order: str) -> None:
    root = write(tmp_path / "data", order=order)
    source = open_source(root)
    with h5py.File(root / "episode_2.hdf5") as file:
        rows = file["observations/images/cam_high"][()]
    frames = np.stack(list(source.frames(2, "cam_high")))
    # Both decoders are libjpeg's, but may round the last bit of a colour conversion differently.
    by_opencv = np.array([cv2.imdecode(row, cv2.IMREAD_COLOR) for row in rows])
    assert np.abs(frames.astype(int) - by_opencv).max() <= 2
    # Quality 50 blurs colours by some grey values; red for blue would be off by 150.
    handed = pictures_of(2, 0, 12)[..., :: 1 if order == "as it is" else -1]
    assert np.abs(frames.astype(int) - handed).mean() < 8
    standard = open_source(root, SourceConfig(jpeg_colours="standard"))
    np.testing.assert_array_equal(np.stack(list(standard.frames(2, "cam_high"))), frames[..., ::-1])


def test_both_recorders_give_red_where_red_was(tmp_path: Path) -> None:
    """An RGB array handed to OpenCV needs `opencv`, a picture written as OpenCV means it needs `standard`."""
    for order, colours in (("as it is", "opencv"), ("turned", "standard")):
        root = write(tmp_path / order, order=order)
        source = open_source(root, SourceConfig(jpeg_colours=colours))  # type: ignore[arg-type]
        frame = next(source.frames(0, "cam_left_wrist"))
        assert np.abs(frame.astype(int) - pictures_of(0, 1, 1)[0]).mean() < 8


@pytest.mark.parametrize("png", [False, True], ids=["plain", "png"])
def test_depth_is_in_metres(tmp_path: Path, png: bool) -> None:
    millimetres = (np.arange(8 * 32 * 48) * 5 % 60000).astype(np.uint16).reshape(8, 32, 48)
    stored = millimetres
    if png:
        rows = [cv2.imencode(".png", of)[1].ravel() for of in millimetres]
        stored = np.stack([np.pad(row, (0, max(map(len, rows)) - len(row))) for row in rows])
    write_episode(tmp_path / "episode_0.hdf5", depth=stored)
    source = open_source(tmp_path)
    assert [camera.depth_range for camera in source.features.cameras] == [(0.01, 10.0), None]
    depth = np.stack(list(source.depth(0, "cam_high")))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, millimetres / 1000, rtol=1e-6)


def test_other_arms_have_numbered_joints_and_another_rate(tmp_path: Path) -> None:
    write_episode(tmp_path / "episode_0.hdf5", dim=7)
    features = open_source(tmp_path, SourceConfig(fps=30)).features
    assert features.action_names == features.state_names == tuple(f"joint.{i}" for i in range(7))
    assert features.fps == 30


def test_cameras_and_episodes_can_be_read_side_by_side(root: Path) -> None:
    source = open_source(root)
    pairs = list(zip(source.frames(2, "cam_high"), source.frames(0, "cam_left_wrist"), strict=False))
    source.episode(10)
    for t, (high, wrist) in enumerate(pairs):
        np.testing.assert_array_equal(high, pictures_of(2, 0, 12)[t])
        np.testing.assert_array_equal(wrist, pictures_of(0, 1, 9)[t])


def test_a_source_in_use_travels_to_other_processes(root: Path) -> None:
    source = open_source(root)
    begun = source.frames(2, "cam_high")
    next(begun)
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.episode(2).action, source.episode(2).action)
    del begun
    with h5py.File(root / "episode_2.hdf5", "r+"):
        pass  # h5py refuses to write to a file that is open for reading


# --- what tells data sets apart --------------------------------------------------------------------------------------


def test_the_fingerprint_follows_every_value_and_not_the_place(root: Path, tmp_path: Path) -> None:
    before = open_source(root).fingerprint()
    moved = Path(shutil.copytree(root, tmp_path / "elsewhere", copy_function=shutil.copyfile))
    assert open_source(moved).fingerprint() == before
    prints = {before, open_source(moved, SourceConfig(jpeg_colours="standard")).fingerprint()}
    places: dict[str, tuple[int, ...]] = {
        "action": (3, 5),
        "observations/qpos": (0, 0),
        "observations/images/cam_high": (4, 7, 9, 1),
    }
    for name, place in places.items():
        with h5py.File(moved / "episode_2.hdf5", "r+") as file:
            file[name][place] += 1
        prints.add(open_source(moved).fingerprint())
    (moved / "episode_10.hdf5").rename(moved / "episode_3.hdf5")
    prints.add(open_source(moved).fingerprint())
    assert len(prints) == 6


def test_a_changed_number_in_a_large_file_is_noticed(tmp_path: Path) -> None:
    """Files over 16 MiB are not read as a whole, their numbers are."""
    write_episode(tmp_path / "episode_0.hdf5")
    with h5py.File(tmp_path / "episode_0.hdf5", "r+") as file:
        action = file["action"][()]
        del file["action"]
        file.create_dataset("before", data=np.zeros(9 * 2**20, np.uint8))
        file.create_dataset("action", data=action)
        file.create_dataset("after", data=np.zeros(9 * 2**20, np.uint8))
    before = open_source(tmp_path).fingerprint()
    with h5py.File(tmp_path / "episode_0.hdf5", "r+") as file:
        file["action"][2, 2] += 1
    assert open_source(tmp_path).fingerprint() != before


# --- bad input -------------------------------------------------------------------------------------------------------


def edit(name: str, value: object) -> Callable[[Path], None]:
    """Put another dataset in the place of one, or none."""

    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]
            if value is not None:
                file[name] = value

    return change


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(path: Path) -> None:
    """The beginning of every object header and B-tree."""
    content = path.read_bytes()
    path.write_bytes(content[:96] + content[96:].replace(b"TREE", b"XXXX").replace(b"SNOD", b"XXXX"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut, r"episode 2 \('.*episode_2.hdf5'\) is damaged \(.*truncated file.*\); copy or record it again"),
        (scramble, r"episode 2 \('.*episode_2.hdf5'\) (is damaged|has no dataset)"),
        (lambda path: path.write_text("nothing"), r"episode_2.hdf5'\) is not an HDF5 file; copy or download it again"),
        (
            lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
            r"episode_2.hdf5' is a git-lfs pointer.*git lfs pull",
        ),
        (edit("action", None), r"episode 2 \('.*episode_2.hdf5'\) has no dataset 'action'"),
        (edit("observations/qpos", None), "has no dataset 'observations/qpos'"),
        (edit("observations/images/cam_high", None), "has no dataset 'observations/images/cam_high'"),
        (
            edit("observations/qpos", np.zeros((5, 14))),
            r"'observations/qpos' has 5 rows for 12 actions; leave the epis",
        ),
        (edit("observations/images/cam_high", np.zeros((5, 32, 48, 3), "u1")), r"cam_high' has 5 rows for 12 actions"),
        (edit("action", np.zeros((12, 7))), "'action' has 7 dimensions, in most episodes 14"),
        (edit("observations/qpos", np.zeros((12, 7))), "qpos' has 7 dimensions, in most episodes 14"),
        (edit("action", np.zeros((0, 14))), r"episode 2 \('.*'\) has no frames: 'action' is empty"),
        (edit("action", np.zeros((12, 14, 2))), r"'action' has shape \(12, 14, 2\) of float64, expected numbers"),
        (edit("action", np.array([b"a"] * 12)), r"'action' has shape \(12,\) of \|S1, expected numbers"),
        (edit("observations/images/cam_high", np.zeros((12, 16, 16, 3), "u1")), r"frame 0 has shape \(16, 16, 3\)"),
        (edit("observations/images/cam_high", np.zeros((12, 32, 48, 3))), "of float64, expected .* of uint8"),
        (edit("observations/images/cam_high", np.zeros(12, "u1")), r"has shape \(12,\) of uint8, expected uint8"),
        (edit("observations/images/cam_high", np.zeros((12, 99), "u1")), "frame 0 is not a JPEG or PNG"),
    ],
)
def test_a_damaged_episode_is_refused_by_file_and_number(
    root: Path, change: Callable[[Path], None], message: str
) -> None:
    change(root / "episode_2.hdf5")
    refused(root, message)


@pytest.mark.parametrize("first", [0, 2])
def test_the_other_episodes_of_a_set_with_a_cut_file_are_read(root: Path, first: int) -> None:
    cut(root / f"episode_{first}.hdf5")
    source = open_source(root)
    assert source.lengths == LENGTHS | {first: 0}
    np.testing.assert_array_equal(source.episode(10).action, vectors_of(10, 7)["action"].astype("f4"))
    with pytest.raises(DataError, match=f"episode_{first}.hdf5.*truncated"):
        source.episode(first)


def test_cameras_are_described_by_episodes_whose_pictures_can_be_seen(root: Path) -> None:
    edit("observations/images/cam_high", np.zeros((9, 99), "u1"))(root / "episode_0.hdf5")
    edit("observations/images/cam_high", np.zeros((12, 99), "u1"))(root / "episode_2.hdf5")
    source = open_source(root)
    assert source.lengths == LENGTHS
    assert source.features.cameras[0].height == SIZE[0]
    assert source.episode(0).length == 9


def test_a_set_whose_pictures_can_nowhere_be_seen_is_refused_and_not_read_without_them(root: Path) -> None:
    for index, length in LENGTHS.items():
        edit("observations/images/cam_high", np.zeros((length, 99), "u1"))(root / f"episode_{index}.hdf5")
    refused(root, r"episode 0 .*: frame 0 of 'observations/images/cam_high' is not a JPEG or PNG")


@pytest.mark.parametrize("odd", LENGTHS)
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("observations/images", None, "has no dataset 'observations/images/cam_high'"),
        ("observations/images", np.zeros((3, 3)), "(has no dataset|is damaged).*"),
        ("observations/images/cam_high", None, "has no dataset 'observations/images/cam_high'"),
        ("observations/images/cam_high", np.zeros((0, 40), "u1"), "cam_high' has 0 rows for"),
        ("observations/images/cam_high", np.zeros((0, 32, 48, 3), "u1"), "cam_high' has 0 rows for"),
        ("observations/images/cam_high", np.zeros((9, 32, 48), "u1"), r"has shape \(9, 32, 48\) .* width, 3\)"),
        ("observations/images/cam_high", np.zeros((99, 16, 16, 3), "u1"), "cam_high' has 99 rows for"),
        ("observations/qpos", np.zeros((99, 7)), "qpos' has 7 dimensions, in most episodes 14"),
        ("action", np.float64(3), r"'action' has shape \(\) of float64, expected numbers"),
    ],
)
def test_the_odd_episode_is_the_bad_one_even_if_it_is_the_first(
    root: Path, odd: int, name: str, value: object, message: str
) -> None:
    """Once it was the others, or nobody noticed and the policy was trained without its eyes."""
    whole = open_source(root).features
    edit(name, value)(root / f"episode_{odd}.hdf5")
    source = open_source(root)
    assert source.features == whole
    bad: dict[int, str] = {}
    find_bad_episodes(source, features=source.features, keep_frames=False, on_bad=bad.__setitem__)
    assert list(bad) == [odd]
    where = re.escape(f"episode {odd} ('{root}/episode_{odd}.hdf5')")
    assert re.match(f"{where}.*{message}", bad[odd]), bad[odd]


def test_a_first_episode_of_another_size_is_the_odd_one_with_compressed_pictures_too(tmp_path: Path) -> None:
    root = write(tmp_path / "data", order="as it is")
    small = [cv2.imencode(".jpg", np.zeros((16, 24, 3), np.uint8))[1].ravel()] * 9
    edit("observations/images/cam_high", np.stack(small))(root / "episode_0.hdf5")
    source = open_source(root)
    assert {(of.height, of.width) for of in source.features.cameras} == {SIZE}
    with pytest.raises(DataError, match=r"episode 0 .*frame 0 has shape \(16, 24, 3\).* as in most episodes"):
        next(source.frames(0, "cam_high"))


def test_a_base_that_only_the_first_episode_lacks_makes_that_one_bad(tmp_path: Path) -> None:
    root = write(tmp_path / "data", base=True)
    write_episode(root / "episode_0.hdf5", 0, 9)
    source = open_source(root)
    assert source.episode(2).action.shape == (12, 16)
    with pytest.raises(DataError, match=r"episode 0 .* has no 'base_action', unlike most episodes"):
        source.episode(0)


def test_a_camera_that_few_episodes_have_is_left_out_aloud(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in (0, 2):
        edit("observations/images/cam_high", None)(root / f"episode_{index}.hdf5")
    assert [camera.name for camera in open_source(root).features.cameras] == ["cam_left_wrist"]
    said = capsys.readouterr().err
    assert "only 1 of 3 episodes have 'observations/images/cam_high', so it is left out" in said


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_cut_jpeg_is_refused_by_episode_camera_and_frame(tmp_path: Path, share: float) -> None:
    """Padded with zeros it decodes without an error, the rest of the picture grey."""
    root = write(tmp_path / "data", order="as it is")
    with h5py.File(root / "episode_10.hdf5", "r+") as file:
        rows = file["observations/images/cam_left_wrist"]
        row = rows[3]
        row[int(share * len(row.tobytes().rstrip(b"\0"))) :] = 0
        rows[3] = row
    refused(
        root, r"episode 10 \('.*episode_10.hdf5'\), camera 'cam_left_wrist': frame 3 is a (damaged JPEG|JPEG without)"
    )


def test_nan_is_refused_where_the_samples_are_made(root: Path, tmp_path: Path) -> None:
    with h5py.File(root / "episode_2.hdf5", "r+") as file:
        file["action"][4, 3] = np.nan
    source = open_source(root)
    message = r"episode 2 \('.*episode_2.hdf5'\): 'action' is nan at frame 4, dimension 3; leave the episode out"
    with pytest.raises(DataError, match=message):
        ChunkDataset(source, (0, 2), features=source.features, chunk_size=2, cache_dir=tmp_path / "cache")


def test_a_set_without_a_readable_episode_says_what_the_first_lacks(root: Path) -> None:
    for path in root.iterdir():
        cut(path)
    refused(root, r"episode 0 \('.*episode_0.hdf5'\) is damaged")


def test_two_files_of_one_number_are_refused(root: Path) -> None:
    shutil.copyfile(root / "episode_2.hdf5", root / "episode_02.hdf5")
    refused(root, "has 'episode_02.hdf5' and 'episode_2.hdf5', both number 2; rename one of them")


def test_a_base_that_only_some_episodes_have_is_refused(root: Path) -> None:
    write_episode(root / "episode_2.hdf5", 2, 12, base=True)
    refused(root, r"episode 2 .* has a 'base_action', unlike most episodes; leave the episode out, or all base")
    read_all(open_source(root, SourceConfig(base_action="none")))


def test_unknown_cameras_and_episodes_are_named(root: Path) -> None:
    source = open_source(root)
    with pytest.raises(DataError, match="unknown camera 'cam_hihg'; did you mean 'cam_high'"):
        next(source.frames(0, "cam_hihg"))
    with pytest.raises(DataError, match=r"has no episode 1; it has 3, from 0 to 10"):
        source.episode(1)
    with pytest.raises(DataError, match="has no dataset 'observations/images_depth/cam_high'"):
        next(source.depth(0, "cam_high"))


def test_one_episode_is_not_a_data_set(root: Path) -> None:
    refused(
        root / "episode_0.hdf5", r"is one episode of an ALOHA data set; give the folder '.*aloha_sim_transfer_cube'"
    )


def test_a_grey_jpeg_is_a_picture_too(tmp_path: Path) -> None:
    root = write(tmp_path / "data", order="as it is")
    content = io.BytesIO()
    Image.fromarray(np.full(SIZE, 77, np.uint8)).save(content, "JPEG")
    row = np.frombuffer(content.getvalue(), np.uint8)
    edit("observations/images/cam_high", np.tile(row, (12, 1)))(root / "episode_2.hdf5")
    frame = next(open_source(root).frames(2, "cam_high"))
    assert frame.shape == (*SIZE, 3)
    assert np.abs(frame.astype(int) - 77).max() <= 1


# --- the options travel with the run ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0}, "source.fps is 0; it must be positive"),
        ({"fps": float("nan")}, "source.fps is nan"),
        ({"action_lag": -1}, "source.action_lag is -1; it must not be negative"),
        ({"jpeg_colours": "bgr"}, "unknown value of jpeg_colours 'bgr'"),
        ({"base_action": "on"}, "unknown value of base_action 'on'"),
        ({"low_dim_keys": ["a", "a"]}, "source.low_dim_keys has a name twice: a, a"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SourceConfig(**options)  # type: ignore[arg-type]


def small(run: RunConfig, config: SourceConfig) -> RunConfig:
    return replace(run, train=replace(run.train, steps=2, warmup_steps=0, val_every=2, save_every=2), source=config)


def test_two_steps_of_training_keep_the_options_for_all_that_follows(
    tmp_path: Path, tiny_run: RunConfig, cache_dir: Path
) -> None:
    root = write(tmp_path / "data", order="as it is", base=True, sim=False)
    config = SourceConfig(fps=25, action_lag=0, base_action="none", jpeg_colours="standard")
    run = small(tiny_run, config)
    result = train(run, data=root, out=tmp_path / "run", cache_dir=cache_dir)
    meta = read_meta(find_checkpoint(tmp_path / "run"))
    assert (result.step, meta.features.fps, meta.features.action_dim) == (2, 25, 14)
    assert read_run(tmp_path / "run") == run
    assert source_of(meta) == config
    # Read with the defaults, the same files have 16 dimensions of action, which would be refused.
    assert diagnose(tmp_path / "run", episodes=1, cache_dir=cache_dir).episodes == 1
    with pytest.raises(ConfigError, match=r"source\.action_lag is None, but the run to resume was started with 0"):
        train(
            small(tiny_run, replace(config, action_lag=None)),
            data=root,
            out=tmp_path / "run",
            cache_dir=cache_dir,
            resume=True,
        )


def test_training_goes_on_without_a_cut_file(root: Path, tmp_path: Path, tiny_run: RunConfig, cache_dir: Path) -> None:
    cut(root / "episode_2.hdf5")
    run = small(tiny_run, SourceConfig())
    result = train(run, data=root, out=tmp_path / "run", cache_dir=cache_dir, skip_bad=True)
    assert result.step == 2
    assert list(result.left_out) == [2]
    assert "truncated file" in result.left_out[2]


@pytest.mark.parametrize("command", ["train", "convert"])
def test_a_first_episode_without_pictures_stops_training_and_conversion_instead_of_blinding_them(
    root: Path, tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    edit("observations/images", None)(root / "episode_0.hdf5")
    out = str(tmp_path / "out")
    small_run = ["--policy.image-size", "32", "32", "--policy.crop-size", "None", "--policy.chunk-size", "4"]
    small_run += ["--policy.n-action-steps", "2", "--train.steps", "1", "--train.warmup-steps", "0"]
    small_run += ["--train.batch-size", "2", "--train.accelerator", "cpu", "--cache-dir", str(cache_dir)]
    calls = {
        "train": ["train", "compact", "--data", str(root), "--out", out, *small_run],
        "convert": ["convert", str(root), out, "--workers", "1"],
    }
    assert main(calls[command]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: episode 0 (")
    assert "has no dataset 'observations/images/cam_high'" in error
    assert "--skip-bad" in error
    assert main([*calls[command], "--skip-bad"]) == 0
    said = capsys.readouterr()
    assert "left out 1 of 3 episodes: 0" in said.out
    if command == "train":
        assert "cameras: cam_high 32x48 as 32x32, cam_left_wrist 32x48 as 32x32" in said.err


def test_the_options_are_given_on_the_command_line_and_kept_by_a_resumed_run(
    tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "data", order="as it is", sim=False)
    words = ["compact", "--data", str(root), "--out", str(tmp_path / "run"), "--cache-dir", str(cache_dir)]
    policy = ["--policy.chunk-size", "4", "--policy.n-action-steps", "2", "--policy.image-size", "32", "32"]
    crop = ["--policy.crop-size", "None"]
    budget = [
        "--train.warmup-steps",
        "0",
        "--train.steps",
        "1",
        "--train.val-every",
        "1",
        "--train.save-every",
        "1",
        "--train.batch-size",
        "2",
    ]
    source = ["--source.jpeg-colours", "standard", "--source.action-lag", "0"]
    assert train_command.run([*words, *policy, *crop, *budget, "--train.accelerator", "cpu", *source]) == 0
    expected = SourceConfig(jpeg_colours="standard", action_lag=0)
    assert read_run(tmp_path / "run").source == expected
    assert train_command.run([*words, "--resume", "--train.steps", "2"]) == 0
    assert source_of(read_meta(find_checkpoint(tmp_path / "run"))) == expected
    capsys.readouterr()
