"""A camera on the hand: what the network sees of the cue, against MuJoCo's own projection at two poses of the arm.

Where the hand is follows from the joints, or from the recorded pose, which is MuJoCo's.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foreact.config import PolicyConfig
from foreact.errors import ConfigError
from foreact.geometry.kinematics import ForwardKinematics
from foreact.geometry.recorded_pose import RecordedHandPose
from foreact.model.act import ACT
from foreact.policy.checkpoint import load_policy, save_policy
from foreact.policy.inputs import Inputs
from foreact.policy.policy import Policy
from foreact.records import Batch, Camera, Features, RecordedPose, Statistics, VectorStatistics
from foreact.sim.backend import mujoco
from foreact.sim.calibration import arm_of_model, calibration_of_camera
from foreact.sim.env import PickPlaceEnv
from foreact.sim.scene import ACTION_NAMES, BLOCK_SIZE
from foreact.sim.task import level
from tiny import TINY

SIZE = (96, 128)
POSES = ((0.0, -0.6, 0.6, 1.4, 0.0), (0.3, -0.4, 0.5, 1.2, 0.2))
"""Of the arm above the table [rad]."""
OFFSETS = ((0.01, 0.0), (-0.01, 0.015))
"""Of the cue from below the jaws [m], a pose each."""
HEIGHT = BLOCK_SIZE / 2
PLACE, TURN = ("hand.x", "hand.y", "hand.z"), ("hand.qw", "hand.qx", "hand.qy", "hand.qz")


@pytest.fixture(scope="module")
def env() -> Iterator[PickPlaceEnv]:
    env = PickPlaceEnv(level("L1", cameras=()))
    env.reset(seed=0)
    yield env
    env.close()


def put(env: PickPlaceEnv, pose: int) -> None:
    env.data.qpos[:5] = POSES[pose]
    mujoco.mj_forward(env.model, env.data)


def mujocos_pose(env: PickPlaceEnv) -> np.ndarray:
    """Position and quaternion wxyz (7,) of the hand."""
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, env.data.site("grip").xmat)
    return np.concatenate([env.data.site("grip").xpos, quaternion])


def state(env: PickPlaceEnv, how: str) -> np.ndarray:
    """The joints, or a pose whose quaternion is neither of length 1 nor of the usual sign."""
    joints = env.data.qpos[:6]
    pose = mujocos_pose(env)
    return (joints if how == "joints" else np.concatenate([pose[:3], -1.7 * pose[3:]])).astype(np.float32)


def cue(env: PickPlaceEnv, pose: int) -> np.ndarray:
    return env.grip_position()[:2] + OFFSETS[pose]


def features(env: PickPlaceEnv, how: str) -> Features:
    recorded = how == "recorded"
    calibration = calibration_of_camera(env.model, "wrist", SIZE)
    return Features(
        action_names=ACTION_NAMES,
        state_names=(*PLACE, *TURN) if recorded else ACTION_NAMES,
        environment_names=("x", "y"),
        cameras=(Camera(name="wrist", height=SIZE[0], width=SIZE[1], calibration=calibration),),
        environment_height=HEIGHT,
        arm=None if recorded else arm_of_model(env.model),
        recorded_pose=RecordedPose(position=PLACE, quaternion=TURN) if recorded else None,
    )


def statistics(of: Features) -> Statistics:
    def unit(dim: int) -> VectorStatistics:
        zeros, ones = np.zeros(dim), np.ones(dim)
        return VectorStatistics(mean=zeros, std=ones, min=-ones, max=ones, q01=-ones, q99=ones, count=10)

    dims = {"action": of.action_dim, "observation.state": of.state_dim, "observation.environment_state": 2}
    return {key: unit(dim) for key, dim in dims.items()}


def ramps() -> torch.Tensor:
    """A picture whose red is the column and whose green is the row (3, H, W), so that a crop says where it is from."""
    rows, columns = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    return torch.stack([columns, rows, torch.zeros_like(rows)]).to(torch.uint8)


def prepared(env: PickPlaceEnv, how: str, *ways: Any, **options: Any) -> tuple[Batch, dict[str, torch.Tensor]]:
    """Both poses as one batch, as the network sees it; and where its cells look in their pictures."""
    states, cues = [], []
    for pose in range(len(POSES)):
        put(env, pose)
        states.append(state(env, how))
        cues.append(cue(env, pose).astype(np.float32))
    raw = Batch(
        images={"wrist": ramps().expand(len(POSES), -1, -1, -1)},
        state=torch.from_numpy(np.stack(states)),
        environment_state=torch.from_numpy(np.stack(cues)),
    )
    settings = replace(TINY, conditioning=("token", *ways), **options)
    of = features(env, how)
    inputs = Inputs(settings, of, statistics(of))
    cells = ACT(settings, inputs.network_features).cell_middles
    return inputs.prepare(raw, cells=cells), cells()


def mujocos_pixel(env: PickPlaceEnv, pose: int) -> np.ndarray:
    """Where MuJoCo's camera sees the cue, well inside of the picture."""
    put(env, pose)
    pixel = env.project(np.array([*cue(env, pose), HEIGHT]), "wrist", SIZE)
    assert pixel is not None
    assert 20 < pixel[0] < SIZE[1] - 20
    assert 20 < pixel[1] < SIZE[0] - 20
    return np.array(pixel)


BOTH = pytest.mark.parametrize("how", ["joints", "recorded"])


def test_the_cue_is_elsewhere_in_the_picture_at_the_other_pose(env: PickPlaceEnv) -> None:
    assert np.linalg.norm(mujocos_pixel(env, 0) - mujocos_pixel(env, 1)) > 3


@BOTH
def test_the_heat_map_is_about_the_pixel_where_mujoco_sees_the_cue(env: PickPlaceEnv, how: str) -> None:
    seen, _ = prepared(env, how, "heatmap", cue_map_sigma=0.05)
    for pose in range(len(POSES)):
        column, row = mujocos_pixel(env, pose)
        rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
        expected = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * (0.05 * SIZE[0]) ** 2))
        # A hundredth of a pixel moves a map of sigma 4.8 pixels by 0.0013 at most.
        np.testing.assert_allclose(seen.images["wrist"][pose, 3], expected, atol=2e-3)


@BOTH
def test_the_crop_is_cut_out_around_the_pixel_where_mujoco_sees_the_cue(env: PickPlaceEnv, how: str) -> None:
    seen, _ = prepared(env, how, "crop", cue_crop=0.25, cue_crop_cameras=("wrist",))
    whole, _ = prepared(env, how)
    assert set(seen.images) == {"wrist@cue"}
    for pose in range(len(POSES)):
        crop, ramp = seen.images["wrist@cue"][pose].numpy(), whole.images["wrist"][pose].numpy()
        assert crop.shape[1:] == (24, 24)
        # Normalised colours are linear in the column and the row that they stand for; pixels have their middle at 0.5.
        columns = np.interp(crop[0].mean(), ramp[0, 0], np.arange(SIZE[1]) + 0.5)
        rows = np.interp(crop[1].mean(), ramp[1, :, 0], np.arange(SIZE[0]) + 0.5)
        np.testing.assert_allclose((columns, rows), mujocos_pixel(env, pose), atol=0.02)


@BOTH
def test_mujoco_sees_the_point_that_a_cell_looks_at_in_the_cells_middle(env: PickPlaceEnv, how: str) -> None:
    seen, cells = prepared(env, how, "world")
    points = seen.cell_points["wrist"].numpy()
    for pose in range(len(POSES)):
        put(env, pose)
        checked = 0
        for point, middle in zip(points[pose], cells["wrist"].reshape(-1, 2).tolist(), strict=True):
            if np.isfinite(point).all() and np.linalg.norm(point) < 1:  # the rest looks at or past the horizon
                pixel = env.project(np.array([*point, HEIGHT]), "wrist", SIZE)
                assert pixel is not None
                np.testing.assert_allclose(pixel, middle, atol=0.02)
                checked += 1
        assert checked >= 12


def test_the_recorded_pose_is_the_one_of_the_joints(env: PickPlaceEnv) -> None:
    joints, poses = [], []
    for arm in np.random.default_rng(0).uniform(-0.5, 0.5, (20, 5)):
        env.data.qpos[:5] = np.array(POSES[0]) + arm
        mujoco.mj_forward(env.model, env.data)
        joints.append(env.data.qpos[:5].copy())
        poses.append(mujocos_pose(env))
    position, turn = ForwardKinematics(arm_of_model(env.model))(torch.tensor(np.array(joints)).float())
    recorded = RecordedHandPose(RecordedPose(position=PLACE, quaternion=TURN), (*TURN, "gripper", *PLACE))
    pose = np.array(poses)
    scaled = pose[:, 3:] * np.random.default_rng(1).choice([-2.0, -0.5, 0.5, 3.0], (20, 1))
    found = recorded(torch.tensor(np.concatenate([scaled, np.zeros((20, 1)), pose[:, :3]], axis=1)).float())
    np.testing.assert_allclose(found[0], position, atol=1e-5)
    np.testing.assert_allclose(found[1], turn, atol=1e-5)


def test_a_recorded_pose_goes_before_the_joints_and_nothing_is_taken_for_it(env: PickPlaceEnv) -> None:
    of = features(env, "recorded")
    both = replace(of, arm=arm_of_model(env.model), state_names=(*of.state_names, *ACTION_NAMES))
    settings = replace(TINY, conditioning=("token", "heatmap"))
    maps = []
    for joints in (0.0, 0.7):
        put(env, 0)
        raw = Batch(
            images={"wrist": ramps()[None]},
            state=torch.from_numpy(np.concatenate([state(env, "recorded"), np.full(6, joints)]).astype(np.float32))[
                None
            ],
            environment_state=torch.from_numpy(cue(env, 0).astype(np.float32))[None],
        )
        maps.append(Inputs(settings, both, statistics(both)).prepare(raw).images["wrist"][:, 3])
    assert torch.equal(*maps)
    with pytest.raises(ConfigError, match=r"recorded_pose: unknown dimension of the state 'hand.x'; .*choices: a, b"):
        RecordedHandPose(RecordedPose(position=PLACE, quaternion=TURN), ("a", "b"))


def test_a_checkpoint_keeps_the_recorded_pose(env: PickPlaceEnv, tmp_path: Path) -> None:
    of = features(env, "recorded")
    settings: PolicyConfig = replace(TINY, conditioning=("token", "heatmap", "world"))
    policy = Policy(config=settings, features=of, statistics=statistics(of), device="cpu")
    save_policy(tmp_path / "policy", policy)
    put(env, 1)
    observation = {
        "observation.state": state(env, "recorded"),
        "observation.environment_state": cue(env, 1).astype(np.float32),
        "observation.images.wrist": ramps().permute(1, 2, 0).numpy(),
    }
    again = load_policy(tmp_path / "policy")
    assert again.features == of
    np.testing.assert_array_equal(again.predict_chunk(observation), policy.predict_chunk(observation))
