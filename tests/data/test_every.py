"""Every n-th frame of every kind of source is what slicing gives, and the frames between are checked all the same."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import behavior_files
from data import aloha_files, robomimic_files
from data.damage import cut_video
from data.lerobot_v2_files import write_v2
from data.recordings import record
from foreact.data.mixed import open_sources
from foreact.data.renamed import RenamedSource
from foreact.data.source import EpisodeSource, open_source
from foreact.data.video import VideoReader, encode_video
from foreact.errors import DataError

KINDS: dict[str, Callable[[Path], EpisodeSource]] = {
    "LeRobot v3.0": lambda folder: open_source(record(folder / "data")),
    "LeRobot v2.1 with pictures, videos and depth": lambda folder: open_source(write_v2(folder / "data")),
    "BEHAVIOR 2025": lambda folder: open_source(behavior_files.write_2025(folder / "data", {10: 9})),
    "BEHAVIOR 2026": lambda folder: open_source(behavior_files.write_2026(folder / "data")),
    "ALOHA": lambda folder: open_source(aloha_files.write(folder / "data", depth=_millimetres())),
    "compressed ALOHA": lambda folder: open_source(aloha_files.write(folder / "data", order="as it is")),
    "robomimic": lambda folder: open_source(robomimic_files.write(folder / "data.hdf5")),
    "mixed": lambda folder: open_sources([record(folder / "a"), record(folder / "b", 2)]),
    "renamed": lambda folder: RenamedSource(open_source(record(folder / "data")), {"wrist": "hand"}),
}


def _millimetres() -> np.ndarray:
    """Of the one episode whose length it has; the others of the folder are not looked at."""
    return np.random.default_rng(0).integers(0, 5000, (9, *aloha_files.SIZE)).astype(np.uint16)


@pytest.mark.parametrize("kind", KINDS)
def test_every_nth_frame_is_what_slicing_gives(kind: str, tmp_path: Path) -> None:
    source = KINDS[kind](tmp_path)
    index = source.episode_indices[0]
    looked_at = 0
    for camera in source.features.cameras:
        readers = [source.frames, source.depth] if camera.depth_range is not None else [source.frames]
        for read in readers:
            whole = np.stack(list(read(index, camera.name)))
            for every in (1, 3, 4, len(whole), len(whole) + 5):
                np.testing.assert_array_equal(np.stack(list(read(index, camera.name, every))), whole[::every])
            looked_at += 1
    assert looked_at


def test_frames_that_are_not_given_are_checked_for_time_number_and_damage(tmp_path: Path) -> None:
    frames = [np.full((32, 48, 3), 20 + 6 * number, np.uint8) for number in range(30)]
    path = tmp_path / "video.mp4"
    encode_video(path, frames, 10)
    with pytest.raises(DataError, match="ends after 30 of 31 frames"):
        list(VideoReader(path).read(0.0, 31, 10, "x", 50))
    with pytest.raises(DataError, match=r"frame 1 lies at 0.1000 s"):
        list(VideoReader(path).read(0.0, 30, 30, "x", 50))
    rng = np.random.default_rng(0)
    encode_video(path, rng.integers(0, 256, (30, 32, 48, 3), dtype=np.uint8), 10)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle + 200 : middle + 500] = rng.integers(0, 256, 300, dtype=np.uint8).tobytes()
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x: frame 1\d: video '.*video.mp4' is damaged"):
        list(VideoReader(path).read(0.0, 30, 10, "x", 50))


def test_the_next_episode_is_read_on_from_where_the_last_frame_was(tmp_path: Path) -> None:
    encode_video(tmp_path / "video.mp4", [np.full((32, 48, 3), 20 + 6 * k, np.uint8) for k in range(30)], 10)
    reader = VideoReader(tmp_path / "video.mp4")
    for first, n in ((0, 7), (7, 11), (18, 12)):
        read = [round((float(frame.mean()) - 20) / 6) for frame in reader.read(first / 10, n, 10, "x", 3)]
        assert read == list(range(first, first + n, 3))


def test_damaged_pictures_between_are_found_in_every_format(tmp_path: Path) -> None:
    root = record(tmp_path / "lerobot", 2, finish=False)
    cut_video(root, 1)
    with pytest.raises(DataError, match=r"episode 1: video '.*' is damaged"):
        list(open_source(root).frames(1, "wrist", 100))
    aloha = aloha_files.write(tmp_path / "aloha", order="as it is")
    with h5py.File(aloha / "episode_0.hdf5", "r+") as file:
        file["observations/images/cam_high"][4, 20:] = 0
    with pytest.raises(DataError, match="frame 4 is "):
        list(open_source(aloha).frames(0, "cam_high", 100))
    robomimic = robomimic_files.write(tmp_path / "image.hdf5")
    with h5py.File(robomimic, "r+") as file:
        del file["data/demo_0/obs/agentview_image"]
        file["data/demo_0/obs/agentview_image"] = np.zeros((3, *robomimic_files.SIZE, 3), np.uint8)
    with pytest.raises(DataError, match="'obs/agentview_image' has 3 rows for"):
        list(open_source(robomimic).frames(0, "agentview_image", 100))
