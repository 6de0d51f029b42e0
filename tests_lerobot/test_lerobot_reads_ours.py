"""LeRobot 0.6.1 opens what our writer wrote and agrees with our loader on every number."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from lerobot.configs.video import RGBEncoderConfig
from lerobot.datasets.compute_stats import aggregate_stats, compute_episode_stats
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from recording import FEATURES, FPS, LENGTHS, record

from foreact.data.dataset import ChunkDataset
from foreact.data.source import open_source

CHUNK = 5


@pytest.fixture(scope="session", params=["finished", "killed"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp(request.param) / "data"
    if request.param == "finished":
        record(root)
    else:
        killed = subprocess.run([sys.executable, Path(__file__).with_name("recording.py"), root], check=False)
        assert killed.returncode == -9
        assert (root / "data/chunk-500").is_dir()  # files an episode: nothing was merged
    return root


def open_theirs(root: Path) -> LeRobotDataset:
    ahead = {"action": [step / FPS for step in range(CHUNK)]}
    return LeRobotDataset("local/ours", root=root, delta_timestamps=ahead, video_backend="pyav")


def test_frames_states_chunks_and_pad_masks_are_equal(root: Path, tmp_path: Path) -> None:
    source = open_source(root)
    ours = ChunkDataset(
        source, source.episode_indices, features=source.features, chunk_size=CHUNK, cache_dir=tmp_path
    ).__getitems__(range(sum(LENGTHS)))
    theirs = open_theirs(root)
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
            assert torch.equal(item[key], value[row]), key
        for camera in FEATURES.cameras:
            theirs_uint8 = (item[f"observation.images.{camera.name}"] * 255).round().to(torch.uint8)
            assert torch.equal(theirs_uint8, ours.images[camera.name][row]), camera.name
        assert item["task"] == source.tasks[int(item["episode_index"])]
        last = item["frame_index"] == LENGTHS[int(item["episode_index"])] - 1
        assert bool(item["next.success"]) == bool(last)


def test_torchcodec_gives_nearly_our_frames(root: Path) -> None:
    try:
        import torchcodec  # noqa: F401
    except RuntimeError:
        pytest.skip("torchcodec needs FFmpeg's shared libraries, and this system has none")
    source = open_source(root)
    theirs = LeRobotDataset("local/ours", root=root, video_backend="torchcodec")
    frames = list(source.frames(1, "overhead"))
    for number, frame in enumerate(frames):
        other = theirs[LENGTHS[0] + number]["observation.images.overhead"].permute(1, 2, 0).numpy() * 255
        # another conversion from YUV: rounding, and interpolated colour at edges
        assert np.abs(other - frame).mean() < 2


def test_metadata_are_what_lerobot_expects(root: Path) -> None:
    meta = open_theirs(root).meta
    assert (meta.total_episodes, meta.total_frames, meta.fps) == (3, sum(LENGTHS), FPS)
    assert meta.robot_type == "so101_follower"
    assert meta.camera_keys == ["observation.images.overhead", "observation.images.wrist"]
    assert meta.names["observation.state"] == list(FEATURES.state_names)
    assert list(meta.tasks.index) == ["task 0", "task 1"]
    assert meta.features["observation.images.overhead"]["shape"] == (64, 96, 3)


def test_statistics_are_those_that_lerobot_computes(root: Path) -> None:
    rows = open_theirs(root).hf_dataset.with_format("numpy")
    vectors = ("observation.state", "observation.environment_state", "action", "timestamp", "index", "task_index")
    features = {key: {"dtype": "float32", "shape": (2,)} for key in vectors}
    episodes = []
    for episode in range(len(LENGTHS)):
        of_episode = rows.select(np.flatnonzero(np.asarray(rows["episode_index"]) == episode))
        episodes.append(compute_episode_stats({key: np.asarray(of_episode[key]) for key in vectors}, features))
    theirs, ours = aggregate_stats(episodes), json.loads((root / "meta/stats.json").read_text())
    for key in vectors:
        for name in ("min", "max", "mean", "std", "count"):
            np.testing.assert_allclose(ours[key][name], theirs[key][name], atol=1e-5, err_msg=f"{key} {name}")


def test_files_have_the_columns_that_lerobot_writes(root: Path, tmp_path: Path) -> None:
    """The same episodes written by LeRobot: same columns, types and keys of info.json."""
    info = json.loads((root / "meta/info.json").read_text())
    features = {key: dict(spec) for key, spec in info["features"].items() if "." in key or key == "action"}
    for spec in features.values():
        spec.pop("info", None)
    encoder = RGBEncoderConfig(vcodec="h264")
    theirs = LeRobotDataset.create(
        "local/theirs", fps=FPS, features=features, root=tmp_path / "theirs", robot_type="x", rgb_encoder=encoder
    )
    zeros = {
        key: np.zeros(spec["shape"], np.uint8 if spec["dtype"] == "video" else spec["dtype"])
        for key, spec in features.items()
    }
    for _ in range(LENGTHS[0]):
        theirs.add_frame({**zeros, "task": "wait"})
    theirs.save_episode()
    theirs.finalize()
    for kind in ("data", "meta/episodes"):
        ours, others = (sorted((place / kind).glob("*/*.parquet"))[0] for place in (root, tmp_path / "theirs"))
        assert dict(_types(ours)) == dict(_types(others)), kind
    assert _types(root / "meta/tasks.parquet") == _types(tmp_path / "theirs/meta/tasks.parquet")
    reference = json.loads((tmp_path / "theirs/meta/info.json").read_text())
    assert list(info) == list(reference)
    for key, spec in reference["features"].items():
        assert {name: value for name, value in spec.items() if name != "info"} == {
            name: value for name, value in info["features"][key].items() if name != "info"
        }


def _types(path: Path) -> list[tuple[str, str]]:
    schema = pq.read_schema(path)
    return [(field.name, str(field.type)) for field in schema]
