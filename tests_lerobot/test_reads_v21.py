"""We read what LeRobot 0.3.3 wrote in v2.1: AV1 video of two cameras, embedded images, and its chunks of actions."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from foreact.data.dataset import ChunkDataset
from foreact.data.source import EpisodeSource, open_source

FPS = 10
LENGTHS = (12, 7, 15)
TASKS = ("pick the block", "stack the cups", "pick the block")
CHUNK = 5
SIZES = {"top": (64, 96), "wrist": (48, 64), "observation.image": (40, 56)}
KEYS = {"top": "observation.images.top", "wrist": "observation.images.wrist", "observation.image": "observation.image"}


def picture_of(camera: str, number: int, step: int) -> np.ndarray:
    """Grey that tells camera, episode and step apart, with a darker corner."""
    height, width = SIZES[camera]
    level = 50 + 20 * list(SIZES).index(camera) + 10 * step + 3 * number
    picture = np.full((height, width, 3), level, np.uint8)
    picture[: height // 2, : width // 2] -= 30
    return picture


def vectors_of(number: int, length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    return {
        "observation.state": rng.normal(size=(length, 3)).astype(np.float32),
        "observation.environment_state": np.tile(rng.normal(size=2), (length, 1)),  # float64
        "action": np.stack([np.full(length, number), np.arange(length)], axis=1).astype(np.float32),
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("theirs") / "data"
    axes = ["height", "width", "channels"]
    features = {
        "observation.state": {"dtype": "float32", "shape": (3,), "names": {"motors": ["lift", "bend", "grip"]}},
        "observation.environment_state": {"dtype": "float64", "shape": (2,), "names": ["x", "y"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["a", "b"]},
        "observation.images.top": {"dtype": "video", "shape": (*SIZES["top"], 3), "names": axes},
        "observation.images.wrist": {"dtype": "video", "shape": (*SIZES["wrist"], 3), "names": axes},
        "observation.image": {"dtype": "image", "shape": (*SIZES["observation.image"], 3), "names": axes},
    }
    dataset = LeRobotDataset.create("local/theirs", fps=FPS, features=features, root=root, video_backend="pyav")
    for number, (length, task) in enumerate(zip(LENGTHS, TASKS, strict=True)):
        vectors = vectors_of(number, length)
        for step in range(length):
            frame = {key: values[step] for key, values in vectors.items()}
            frame |= {KEYS[camera]: picture_of(camera, number, step) for camera in SIZES}
            dataset.add_frame(frame, task=task)
        dataset.save_episode()
    return root


@pytest.fixture(scope="module")
def theirs(root: Path) -> LeRobotDataset:
    ahead = {"action": [step / FPS for step in range(CHUNK)]}
    return LeRobotDataset("local/theirs", root=root, delta_timestamps=ahead, video_backend="pyav")


@pytest.fixture(scope="module")
def source(root: Path) -> EpisodeSource:
    return open_source(root)


def test_the_set_is_v2_1_with_a_file_an_episode(root: Path) -> None:
    assert json.loads((root / "meta/info.json").read_text())["codebase_version"] == "v2.1"
    assert len(list(root.rglob("*.parquet"))) == len(LENGTHS)
    assert len(list(root.rglob("*.mp4"))) == 2 * len(LENGTHS)


def test_names_sizes_lengths_and_tasks_are_theirs(theirs: LeRobotDataset, source: EpisodeSource) -> None:
    features = source.features
    assert features.state_names == ("lift", "bend", "grip")
    assert features.environment_names == ("x", "y")
    assert features.action_names == ("a", "b")
    assert {camera.name: (camera.height, camera.width) for camera in features.cameras} == SIZES
    assert features.fps == theirs.fps
    assert source.lengths == {index: of["length"] for index, of in theirs.meta.episodes.items()}
    assert source.tasks == dict(enumerate(TASKS))


def test_vectors_are_what_was_recorded(source: EpisodeSource) -> None:
    for number, length in enumerate(LENGTHS):
        episode, recorded = source.episode(number), vectors_of(number, length)
        assert episode.state is not None
        assert episode.environment_state is not None
        np.testing.assert_array_equal(episode.state, recorded["observation.state"])
        np.testing.assert_array_equal(
            episode.environment_state, recorded["observation.environment_state"].astype(np.float32)
        )
        np.testing.assert_array_equal(episode.action, recorded["action"])


def test_pictures_are_what_was_recorded_but_for_the_codec(source: EpisodeSource) -> None:
    for number, length in enumerate(LENGTHS):
        for camera in SIZES:
            frames = np.array(list(source.frames(number, camera)), int)
            recorded = np.array([picture_of(camera, number, step) for step in range(length)], int)
            assert frames.shape == recorded.shape
            error = np.abs(frames - recorded).mean(axis=(1, 2, 3)).max()
            # Steps differ by 10; PNG is exact, AV1 at crf 30 is not.
            assert error == 0 if camera == "observation.image" else error < 4


def test_frames_states_chunks_and_pad_masks_are_what_they_return(
    theirs: LeRobotDataset, source: EpisodeSource, tmp_path: Path
) -> None:
    """Each camera has a size of its own."""
    ours = ChunkDataset(
        source, source.episode_indices, features=source.features, chunk_size=CHUNK, cache_dir=tmp_path
    ).__getitems__(range(sum(LENGTHS)))
    assert len(theirs) == sum(LENGTHS)
    for row in range(len(theirs)):
        item = theirs[row]
        for key, value in (
            ("observation.state", ours.state),
            ("observation.environment_state", ours.environment_state),
            ("action", ours.action),
            ("action_is_pad", ours.action_is_pad),
            ("episode_index", ours.episode_index),
        ):
            assert value is not None
            assert torch.equal(item[key].to(value.dtype), value[row]), key
        for camera, key in KEYS.items():
            pixels = (item[key] * 255).round().to(torch.uint8)
            assert torch.equal(pixels, ours.images[camera][row]), camera
        assert item["task"] == source.tasks[int(item["episode_index"])]
