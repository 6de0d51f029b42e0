"""We read what LeRobot 0.6.1 wrote: AV1 video, embedded images, depth video and depth images."""

import numpy as np
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from foreact.data.source import EpisodeSource, open_source

LENGTHS = (7, 9)
SHAPE = (64, 96)


@pytest.fixture(scope="session")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> LeRobotDataset:
    root = tmp_path_factory.mktemp("theirs") / "data"
    picture = {"shape": (*SHAPE, 3), "names": ["height", "width", "channels"]}
    depth = {"shape": (*SHAPE, 1), "names": ["height", "width", "channels"], "info": {"is_depth_map": True}}
    features = {
        "observation.state": {"dtype": "float32", "shape": (3,), "names": {"motors": ["a", "b", "c"]}},
        "action": {"dtype": "float32", "shape": (1,), "names": None},
        "observation.images.top": {"dtype": "video", **picture},
        "observation.image": {"dtype": "image", **picture},
        "observation.images.top_depth": {"dtype": "video", **depth},
        "observation.image_depth": {"dtype": "image", **depth},
    }
    dataset = LeRobotDataset.create("local/theirs", fps=10, features=features, root=root)
    rng = np.random.default_rng(0)
    ramp = np.linspace(0.2, 4.0, SHAPE[1], dtype=np.float32) * np.ones((SHAPE[0], 1), np.float32)
    for length in LENGTHS:
        for step in range(length):
            dataset.add_frame(
                {
                    "observation.state": rng.normal(size=3).astype(np.float32),
                    "action": np.array([step], np.float32),
                    "observation.images.top": np.full((*SHAPE, 3), 30 + 10 * step, np.uint8),
                    "observation.image": rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8),
                    "observation.images.top_depth": (ramp + 0.1 * step)[..., None],
                    "observation.image_depth": ((ramp + 0.2 * step)[..., None] * 1000).astype(np.uint16),
                    "task": "look",
                }
            )
        dataset.save_episode()
    dataset.finalize()
    return LeRobotDataset("local/theirs", root=root, video_backend="pyav")


@pytest.fixture(scope="session")
def source(theirs: LeRobotDataset) -> EpisodeSource:
    return open_source(theirs.root)


def test_names_and_sizes_come_from_the_features(source: EpisodeSource) -> None:
    assert source.features.state_names == ("a", "b", "c")
    assert source.features.action_names == ("action_0",)
    cameras = {camera.name: (camera.height, camera.width, camera.channels) for camera in source.features.cameras}
    assert cameras == {"top": (*SHAPE, 4), "observation.image": (*SHAPE, 4)}
    assert source.lengths == dict(enumerate(LENGTHS))


def test_vectors_and_pictures_are_what_lerobot_returns(theirs: LeRobotDataset, source: EpisodeSource) -> None:
    row = 0
    for index in source.episode_indices:
        episode = source.episode(index)
        pictures = {camera: list(source.frames(index, camera)) for camera in ("top", "observation.image")}
        for step in range(episode.length):
            item = theirs[row]
            row += 1
            assert episode.state is not None
            assert torch.equal(item["observation.state"], torch.from_numpy(episode.state[step]))
            assert item["action"].item() == episode.action[step, 0]
            for camera, key in (("top", "observation.images.top"), ("observation.image", "observation.image")):
                other = (item[key] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
                np.testing.assert_array_equal(other, pictures[camera][step])


def test_depth_is_what_lerobot_returns_in_millimetres(theirs: LeRobotDataset, source: EpisodeSource) -> None:
    for camera, key in (("top", "observation.images.top_depth"), ("observation.image", "observation.image_depth")):
        row = 0
        for index in source.episode_indices:
            for metres in source.depth(index, camera):
                other = theirs[row][key].squeeze().numpy()
                row += 1
                # LeRobot rounds to whole millimetres
                np.testing.assert_allclose(metres * 1000, other, atol=0.51)


def test_depth_is_what_was_recorded_to_the_width_of_a_code(source: EpisodeSource) -> None:
    ramp = np.linspace(0.2, 4.0, SHAPE[1], dtype=np.float32)
    for step, metres in enumerate(source.depth(0, "top")):
        # 4095 codes over ln(3.51) .. ln(13.5): (d + 3.5) * 0.000329 metres a code, half of it by rounding
        assert (np.abs(metres - (ramp + 0.1 * step)) <= (ramp + 0.1 * step + 3.5) * 0.000329 / 2 + 1e-5).all()
