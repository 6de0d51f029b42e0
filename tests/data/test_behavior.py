"""BEHAVIOR-1K sets of both years, made from FORMATS.md: numbers by their places there, pictures and depth as drawn."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import behavior_files as files
from foreact.config import PolicyConfig, RunConfig
from foreact.data.behavior import BehaviorSource
from foreact.data.convert import ConvertConfig, convert
from foreact.data.depth import decode_depth
from foreact.data.frame_cache import cache_frames
from foreact.data.lerobot_info import DepthCode
from foreact.data.lerobot_v3 import LeRobotV3Source
from foreact.data.mixed import open_sources
from foreact.data.r1pro import ACTION_NAMES, STATE_NAMES, select_state
from foreact.data.selection import select_features
from foreact.data.source import open_source
from foreact.data.video import VideoReader
from foreact.errors import ConfigError, DataError
from foreact.normalizer import Normalizer
from foreact.policy.checkpoint import load_policy
from foreact.policy.observation import read_observations
from foreact.presets import preset
from foreact.records import Batch, Features
from foreact.train.run import train

CAMERAS = ("left_wrist", "right_wrist", "head")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("behavior")
    return {2025: files.write_2025(folder / "demos-2025"), 2026: files.write_2026(folder / "demos-2026")}


@pytest.fixture(params=[2025, 2026])
def root(request: pytest.FixtureRequest, roots: dict[int, Path]) -> Path:
    return roots[request.param]


def lengths_of(root: Path) -> dict[int, int]:
    return files.EPISODES_2025 if root.name == "demos-2025" else files.EPISODES_2026


def dim_of(root: Path) -> int:
    return 256 if root.name == "demos-2025" else 61


@pytest.mark.parametrize("dim", [256, 61])
def test_the_state_is_taken_from_the_places_of_the_table_of_its_length(dim: int) -> None:
    """Numbered entries: the state then says where each number came from."""
    state = select_state(np.arange(dim))
    assert state.shape == (37,)
    assert state.dtype == np.float32
    expected = files.state_by_hand(np.arange(dim, dtype=np.float32)[None])[0]
    assert state.tolist() == expected.tolist()
    by_name = dict(zip(STATE_NAMES, state.tolist(), strict=True))
    torso, left_z = {256: (236, 188), 61: (53, 19)}[dim]
    assert by_name["torso_1"] == torso
    assert by_name["left_eef_z"] == left_z
    assert by_name["left_gripper"] == {256: 193.5, 61: 24.5}[dim]


def test_a_proprioception_of_another_length_is_refused_not_cut(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has 258 dimensions, expected 256 .* or 61 .*v3.7.0, with two grasp flags"):
        select_state(np.zeros((5, 258)))
    with pytest.raises(DataError, match=r"has 32 dimensions, expected 256 .* or 61 .*; is the robot an R1Pro"):
        select_state(np.zeros(32))
    old = files.write_2025(tmp_path / "old", {10: 4}, proprioception=258)
    with pytest.raises(DataError, match=r"'observation.state' of '.*info.json' has 258 dimensions"):
        open_source(old)


def test_both_years_are_told_from_other_lerobot_sets_and_have_the_same_features(
    roots: dict[int, Path], dataset: Path
) -> None:
    first, second = open_source(roots[2025]), open_source(roots[2026])
    assert type(first) is type(second) is BehaviorSource
    assert type(open_source(dataset)) is LeRobotV3Source
    assert first.features == second.features
    assert first.features.state_names == STATE_NAMES
    assert first.features.action_names == ACTION_NAMES
    assert first.features.fps == 30
    assert [(of.name, of.height, of.width) for of in first.features.cameras] == [
        (name, size, size) for name, size in files.SIZES.items()
    ]
    assert {camera.depth_range for camera in first.features.cameras} == {(0.0, 10.0)}


def test_cameras_that_were_not_downloaded_are_left_out_aloud(
    roots: dict[int, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(roots[2025], tmp_path / "part", ignore=shutil.ignore_patterns("*.depth.*", "*.left_wrist"))
    shutil.copytree(roots[2026], tmp_path / "colour", ignore=shutil.ignore_patterns("*.depth_linear.*"))
    part = open_source(tmp_path / "part")
    said = capsys.readouterr().err
    for key in ("rgb.left_wrist", "depth.left_wrist", "depth.right_wrist", "depth.head"):
        assert f"observation.images.{key}" in said
    assert "part' has no videos of " in said
    colour = open_source(tmp_path / "colour")
    assert [(camera.name, camera.depth_range) for camera in part.features.cameras] == [
        ("right_wrist", None),
        ("head", None),
    ]
    assert [(camera.name, camera.depth_range) for camera in colour.features.cameras] == [
        (name, None) for name in CAMERAS
    ]
    assert len(list(part.frames(20010, "head"))) == 16
    shutil.rmtree(tmp_path / "part" / "videos")
    with pytest.raises(DataError, match="so that no episode is complete"):
        open_source(tmp_path / "part")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": 5}, "has shape .* with names 5; expected height and width among them; correct it there"),
        ({"shape": 5}, "has shape 5 with names .*; expected height and width among them"),
        ({"info": ["libx265"]}, r"has info = \['libx265'\], expected a mapping; remove it there"),
    ],
)
@pytest.mark.parametrize("kind", ["rgb", "depth"])
def test_an_info_file_that_cannot_be_is_refused(
    roots: dict[int, Path], tmp_path: Path, change: dict[str, object], message: str, kind: str
) -> None:
    root = shutil.copytree(roots[2025], tmp_path / "data")
    info = json.loads((root / "meta/info.json").read_text())
    info["features"][f"observation.images.{kind}.head"].update(change)
    (root / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(DataError, match=f"feature 'observation.images.{kind}.head' of '.*info.json' {message}"):
        open_source(root)


def test_a_converted_set_is_mixed_with_one_as_it_was_recorded(roots: dict[int, Path], tmp_path: Path) -> None:
    """A conversion keeps the 37 and 23 numbers, but not how they are cut into groups."""
    converted = tmp_path / "converted"
    convert([roots[2026]], converted, ConvertConfig(episodes="1:"), workers=1)
    for paths in ([roots[2025], converted], [converted, roots[2025]]):
        mixed = open_sources(paths)
        assert len(mixed.episode_indices) == len(files.EPISODES_2025) + 2
        assert mixed.features.action_names == ACTION_NAMES


def test_numbers_tasks_and_gaps_in_the_indices_are_those_of_the_files(root: Path) -> None:
    source, lengths = open_source(root), lengths_of(root)
    assert dict(source.lengths) == lengths
    assert source.episode_indices == tuple(lengths)
    for index, length in lengths.items():
        episode = source.episode(index)
        expected = files.state_by_hand(files.proprioception_of(index, length, dim_of(root)))
        np.testing.assert_array_equal(episode.state, expected)
        np.testing.assert_array_equal(episode.action, files.action_of(index, length))
        assert source.tasks[index] == ("turning_on_radio" if dim_of(root) == 61 else f"task number {index // 10000}")


def test_pictures_are_those_drawn_within_the_codecs_error(root: Path) -> None:
    """A stripe moves 4 pixels a step, so a neighbouring picture would be far more than 4 levels off."""
    source = open_source(root)
    for index, length in lengths_of(root).items():
        for camera in CAMERAS:
            frames = list(source.frames(index, camera))
            assert len(frames) == length
            for step, frame in enumerate(frames):
                assert frame.shape == (files.SIZES[camera],) * 2 + (3,)
                error = np.abs(frame.astype(float) - files.picture_of(camera, index, step)).mean()
                other = np.abs(frame.astype(float) - files.picture_of(camera, index, step + 1)).mean()
                assert error < 4 < 0.8 * other


DEPTH_ERROR = {
    # Mean and largest [m]. FORMATS.md 4.8 measured 1.3 and 4.3 cm; FFmpeg 8 is off by up to 0.71 of a level where it
    # WRITES 10 bits, which makes 1.5 and 5.9 cm. Reading adds nothing: a level is 75 codes, read within 1.
    2025: (0.015, 0.06),
    # A code is at most 4.5 mm; x265 with crf 0 is not lossless in 12 bits and blurs the step from 10 m to 0 m.
    2026: (0.005, 0.07),
}


def test_depth_is_in_metres_within_what_its_code_keeps(roots: dict[int, Path]) -> None:
    for year, root in roots.items():
        source, mean, largest = open_source(root), *DEPTH_ERROR[year]
        for camera in CAMERAS:
            index = source.episode_indices[1]
            depths = list(source.depth(index, camera))
            assert len(depths) == source.lengths[index]
            for step, depth in enumerate(depths):
                assert depth.dtype == np.float32
                error = np.abs(depth - files.depth_of(camera, index, step))
                assert error.mean() < mean
                assert error.max() < largest


def test_14_bit_codes_give_back_the_metres_that_they_stand_for() -> None:
    code = DepthCode(near=0.0, max_code=16383)
    metres = np.linspace(0, 10, 50)
    np.testing.assert_allclose(decode_depth(files.quantise(metres, 0.0, 16383), code), metres, atol=6e-4)
    assert decode_depth(np.array([0, 16383, 20000]), code).tolist() == pytest.approx([0.0, 10.0, 10.0], abs=1e-6)


def test_each_frame_of_a_video_with_far_key_frames_is_decoded_once_and_in_order(
    roots: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """262 frames with key frames at 0 and 250: the decoder is asked 263 times, the last time for the end."""
    calls = {"frames": 0, "seeks": 0}
    advance, seek = VideoReader._advance, VideoReader._seek

    def counted_advance(self: VideoReader) -> object:
        calls["frames"] += 1
        return advance(self)

    def counted_seek(self: VideoReader, time: float) -> None:
        calls["seeks"] += 1
        seek(self, time)

    monkeypatch.setattr(VideoReader, "_advance", counted_advance)
    monkeypatch.setattr(VideoReader, "_seek", counted_seek)
    source = open_source(roots[2025])
    assert sum(1 for _ in source.frames(10, "head")) == 262
    assert calls == {"frames": 263, "seeks": 0}
    assert sum(1 for _ in source.depth(10, "head")) == 262
    assert calls == {"frames": 526, "seeks": 0}


def test_the_cache_holds_every_third_picture_and_depth_map(root: Path, tmp_path: Path) -> None:
    source = open_source(root)
    index, start = source.episode_indices[1], -(-source.lengths[source.episode_indices[0]] // 3)
    options = {"camera": "left_wrist", "size": (64, 64), "downsample_factor": 3, "cache_dir": tmp_path}
    colour = cache_frames(source, [index], **options)  # type: ignore[arg-type]
    depth = cache_frames(source, [index], depth=True, **options)  # type: ignore[arg-type]
    for row, step in enumerate(range(0, source.lengths[index], 3)):
        picture = files.picture_of("left_wrist", index, step)
        assert np.abs(colour.array[start + row].astype(float) - picture).mean() < 4
        assert np.abs(depth.array[start + row] / 1000 - files.depth_of("left_wrist", index, step)).mean() < 0.02


def test_a_gripper_is_open_or_not_by_the_same_rule_in_training_and_on_the_robot() -> None:
    """Fingers at 0.03 m: not open by the data set code's 0.04, open by the server's 0.025 (FORMATS.md 4.6)."""
    recipe = preset("r1pro").policy
    recorded = Features(action_names=ACTION_NAMES, state_names=STATE_NAMES, fps=30.0)
    features = select_features(recorded, recipe)
    proprioception = np.full((3, 61), 0.1, np.float32)
    proprioception[:, 24:26] = [[0.02, 0.04], [0.04, 0.04], [0.045, 0.045]]
    proprioception[:, 49:51] = [[0.05, 0.05], [0.0, 0.0], [0.03, 0.03]]
    states = select_state(proprioception)
    grippers = [STATE_NAMES.index(f"{side}_gripper") for side in ("left", "right")]
    for threshold, expected in ((0.04, [[-1, 1], [-1, -1], [1, -1]]), (0.025, [[1, 1], [1, -1], [1, 1]])):
        normalizer = Normalizer(replace(recipe, binary_state_threshold=threshold), features, {})
        training = normalizer.normalize(Batch(state=torch.from_numpy(states))).state
        assert training is not None
        assert training[:, grippers].tolist() == expected
        observed = [{"observation.state": state} for state in states]
        inference = normalizer.normalize(read_observations(observed, features)).state
        assert inference is not None
        assert inference.tolist() == training.tolist()
        # The joint at 0.1 rad between -1.1345 and 1.8326, by hand.
        torso = training[0, STATE_NAMES.index("torso_1")].item()
        assert torso == pytest.approx(2 * (0.1 + 1.1345) / (1.8326 + 1.1345) - 1, abs=1e-6)


def test_a_binary_state_that_does_not_exist_is_named() -> None:
    features = Features(action_names=("a",), state_names=("arm", "claw"))
    identity = PolicyConfig(action_normalization="identity", state_normalization="identity")
    with pytest.raises(ConfigError, match=r"policy.binary_state names 'gripper'; the state has: arm, claw"):
        Normalizer(replace(identity, binary_state=("gripper",)), features, {})


def shrunken_r1pro(tiny: RunConfig) -> RunConfig:
    """The preset with a small network and pictures: keys, ranges, gripper rule and rate are untouched."""
    small = ("vision_backbone", "pretrained_backbone_weights", "backbone_norm", "dim_model", "n_heads", "latent_dim")
    layers = ("dim_feedforward", "n_encoder_layers", "n_decoder_layers", "n_vae_encoder_layers")
    sizes = {name: getattr(tiny.policy, name) for name in (*small, *layers)}
    policy = replace(preset("r1pro").policy, **sizes, image_size=(40, 40), crop_size=(32, 32))
    return replace(tiny, policy=policy, train=replace(tiny.train, steps=2, warmup_steps=1, val_every=2, save_every=2))


def test_the_preset_trains_on_both_years_and_the_policy_acts_at_10_hz(
    root: Path, tiny_run: RunConfig, tmp_path: Path
) -> None:
    run = shrunken_r1pro(tiny_run)
    result = train(run, data=root, out=tmp_path / "run", cache_dir=tmp_path / "cache")
    policy = load_policy(result.checkpoint)
    assert policy.config == run.policy  # ranges, gripper rule and threshold among them
    assert policy.features.fps == 10.0
    assert [(camera.name, camera.channels) for camera in policy.features.cameras] == [(name, 4) for name in CAMERAS]

    dim = dim_of(root)
    observation: dict[str, object] = {"observation.state": select_state(files.proprioception_of(0, 1, dim)[0])}
    for camera in CAMERAS:
        observation[f"observation.images.{camera}"] = files.picture_of(camera, 0, 0)
        observation[f"observation.depth.{camera}"] = files.depth_of(camera, 0, 0)
    parts = policy.split_action(policy.act(observation))
    assert {name: part.shape for name, part in parts.items()} == {
        "base": (3,),
        "torso": (4,),
        "left_arm": (7,),
        "left_gripper": (1,),
        "right_arm": (7,),
        "right_gripper": (1,),
    }
    assert abs(parts["left_gripper"].item()) == abs(parts["right_gripper"].item()) == 1.0
