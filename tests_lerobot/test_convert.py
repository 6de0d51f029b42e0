"""LeRobot 0.6.1 judges what `foreact convert` writes: values, frames, depth, merged, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from recording import FEATURES, FPS, LENGTHS, record

from foreact.data.convert import LOG, ConvertConfig, convert
from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.data.source import open_source
from foreact.records import Camera

CODEC_ERROR = 8
"""Levels of 255: encoded twice."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("source") / "data"
    record(root)
    return root


def open_theirs(root: Path) -> LeRobotDataset:
    return LeRobotDataset("local/converted", root=root, video_backend="pyav")


def assert_lerobot_reads(converted: Path, sources: list[tuple[Path, int]]) -> None:
    """Every row that LeRobot gives is that of an episode of a source, found by our own reader."""
    theirs = open_theirs(converted)
    assert theirs.num_episodes == len(sources)
    row = 0
    for number, (root, index) in enumerate(sources):
        source = open_source(root)
        episode = source.episode(index)
        frames = {camera.name: list(source.frames(index, camera.name)) for camera in FEATURES.cameras}
        for step in range(episode.length):
            item = theirs[row]
            row += 1
            assert (int(item["episode_index"]), int(item["frame_index"])) == (number, step)
            assert torch.equal(item["action"], torch.from_numpy(episode.action[step]))
            assert torch.equal(item["observation.state"], torch.from_numpy(episode.state[step]))
            coordinates = torch.from_numpy(episode.environment_state[step])
            assert torch.equal(item["observation.environment_state"], coordinates)
            assert item["task"] == episode.task
            assert float(item["timestamp"]) == pytest.approx(step / FPS)
            for camera, pictures in frames.items():
                theirs_levels = item[f"observation.images.{camera}"].permute(1, 2, 0).numpy() * 255
                assert np.abs(theirs_levels - pictures[step]).mean() < CODEC_ERROR
    assert row == len(theirs)


def test_lerobot_reads_a_conversion(source: Path, tmp_path: Path) -> None:
    convert([source], tmp_path / "out", workers=1)
    assert_lerobot_reads(tmp_path / "out", [(source, index) for index in range(len(LENGTHS))])
    meta = open_theirs(tmp_path / "out").meta
    assert (meta.fps, meta.robot_type) == (FPS, "so101_follower")
    assert meta.names["action"] == list(FEATURES.action_names)


def test_lerobot_reads_merged_sources(source: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    convert([source], second, ConvertConfig(episodes="1:"), workers=1)
    convert([source, second], tmp_path / "out", ConvertConfig(episodes="0,2:5"), workers=2)
    assert_lerobot_reads(tmp_path / "out", [(source, 0), (source, 2), (second, 0), (second, 1)])


def test_lerobot_reads_a_conversion_that_was_killed_and_resumed_like_one_in_one_go(
    source: Path, tmp_path: Path
) -> None:
    call = [sys.executable, __file__, str(source), str(tmp_path / "parts")]
    assert subprocess.run(call, check=False).returncode == -signal.SIGKILL
    n_before = len((tmp_path / "parts" / LOG).read_text().splitlines())
    assert 1 <= n_before < len(LENGTHS)
    convert([source], tmp_path / "parts", workers=1)
    convert([source], tmp_path / "whole", workers=1)
    assert_lerobot_reads(tmp_path / "parts", [(source, index) for index in range(len(LENGTHS))])
    parts, whole = open_theirs(tmp_path / "parts"), open_theirs(tmp_path / "whole")
    assert len(parts) == len(whole)
    for row in range(len(whole)):
        one, two = parts[row], whole[row]
        assert one.keys() == two.keys()
        for key, value in two.items():
            assert torch.equal(one[key], value) if isinstance(value, torch.Tensor) else one[key] == value, (row, key)
    stats = [json.loads((tmp_path / name / "meta/stats.json").read_text()) for name in ("parts", "whole")]
    assert stats[0] == stats[1]


def test_lerobot_reads_converted_depth_in_millimetres(tmp_path: Path) -> None:
    camera = Camera(name="wrist", height=64, width=64, depth_range=(0.01, 10.0))
    features = replace(FEATURES, cameras=(camera,), state_names=(), environment_names=())
    slope = np.linspace(0.3, 2.5, camera.width, dtype=np.float32) + np.zeros((camera.height, 1), np.float32)
    maps = [slope + np.float32(0.2) * step for step in range(8)]
    writer = DatasetWriter(tmp_path / "data", features=features, robot_type="x")
    frames = {"wrist": [np.full((camera.height, camera.width, 3), 90, np.uint8)] * 8}
    for _ in range(2):
        vectors = {"action": np.zeros((8, 2))}
        staged = stage_episode(writer.staging, task="go", vectors=vectors, frames=frames, fps=FPS, depth={camera: maps})
        writer.add(staged)
    writer.finish()
    convert([tmp_path / "data"], tmp_path / "out", workers=1)
    theirs = open_theirs(tmp_path / "out")
    assert theirs.meta.depth_keys == ["observation.images.wrist_depth"]
    for row in range(16):
        depth = theirs[row]["observation.images.wrist_depth"].numpy().reshape(camera.height, camera.width)
        # half a code is (d + 3.5 m) 0.00033 / 2, up to 1.2 mm here, and LeRobot rounds to whole millimetres
        np.testing.assert_allclose(depth / 1000, maps[row % 8], atol=0.0018)


def convert_and_die(source: Path, out: Path) -> None:
    def watch() -> None:
        while not ((out / LOG).exists() and (out / LOG).read_text().endswith("\n")):
            time.sleep(0.0005)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    convert([source], out, workers=1)


if __name__ == "__main__":
    convert_and_die(Path(sys.argv[1]), Path(sys.argv[2]))
