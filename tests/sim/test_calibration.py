"""The calibration that a recording carries, against MuJoCo's own pictures and kinematics."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foreact.data.sidecar import read_sidecar
from foreact.data.source import open_source
from foreact.geometry.kinematics import ForwardKinematics
from foreact.geometry.projection import project
from foreact.sim.backend import mujoco
from foreact.sim.calibration import arm_of_model, calibration_of_camera, calibration_of_task
from foreact.sim.env import PickPlaceEnv
from foreact.sim.record import RecordConfig, record
from foreact.sim.scene import ACTION_NAMES, BLOCK_SIZE, block_name, build_arm
from foreact.sim.task import level

SIZE = (240, 320)


class Segmentation:
    """MuJoCo's own answer to which body each pixel shows."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._renderer = mujoco.Renderer(model, *SIZE)
        self._renderer.enable_segmentation_rendering()

    def bodies(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """Body of each pixel (H, W), -1 where there is none."""
        self._renderer.update_scene(data, camera)
        geom, kind = np.moveaxis(self._renderer.render(), -1, 0)
        is_geom = kind == int(mujoco.mjtObj.mjOBJ_GEOM)
        return np.where(is_geom, self._model.geom_bodyid[np.where(is_geom, geom, 0)], -1)

    def close(self) -> None:
        self._renderer.close()


@pytest.fixture(scope="module")
def env() -> Iterator[PickPlaceEnv]:
    """Four blocks on the table."""
    env = PickPlaceEnv(level("L2", confusers=(3, 3), cameras=()))
    yield env
    env.close()


@pytest.fixture(scope="module")
def segmentation(env: PickPlaceEnv) -> Iterator[Segmentation]:
    segmentation = Segmentation(env.model)
    yield segmentation
    segmentation.close()


def move_arm(env: PickPlaceEnv, seed: int) -> np.ndarray:
    """Bring the arm to a random pose above the table; returns the state that would be observed."""
    env.reset(seed=seed)
    over_the_table = np.array([0.0, -0.6, 0.6, 1.4, 0.0])
    env.data.qpos[:5] = over_the_table + np.random.default_rng(seed).uniform(-0.35, 0.35, 5)
    mujoco.mj_forward(env.model, env.data)
    return env.data.qpos[:6].astype(np.float32)


def pixels_of(env: PickPlaceEnv, camera: str, state: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project points (N, 3) with what a recording says: the camera's calibration, the hand from the state."""
    hand = ForwardKinematics(arm_of_model(env.model))(torch.from_numpy(state[None, :5]))
    calibration = calibration_of_camera(env.model, camera, SIZE)
    pixels, in_front = project(calibration, torch.from_numpy(points).float()[None], SIZE, hand)
    return pixels[0].numpy(), in_front[0].numpy()


def touches_border(shown: np.ndarray) -> bool:
    return bool(shown[[0, -1]].any() or shown[:, [0, -1]].any())


@pytest.mark.parametrize("camera", ["overhead", "wrist"])
def test_the_projected_centre_of_each_block_lies_on_its_pixels(
    env: PickPlaceEnv, segmentation: Segmentation, camera: str
) -> None:
    on_block = hidden = 0
    for seed in range(20):
        state = move_arm(env, seed)
        bodies = segmentation.bodies(env.data, camera)
        pixels, in_front = pixels_of(env, camera, state, env.block_positions())
        for index, (column, row) in enumerate(np.floor(pixels).astype(int)):
            block = env.model.body(block_name(index)).id
            if not (in_front[index] and 0 <= row < SIZE[0] and 0 <= column < SIZE[1]):
                whole = (bodies == block).any() and not touches_border(bodies == block)
                assert not whole, f"scene {seed}: block {index} is in the picture, not at {column}, {row}"
                continue
            shown = bodies[row, column]
            name = env.model.body(shown).name if shown >= 0 else "nothing"
            # Where something nearer hides it, it is the arm or another block, never what is below or behind.
            assert name not in ("world", "bowl", "nothing"), f"scene {seed}: {name} where block {index} should be"
            on_block += shown == block
            hidden += shown != block
    print(f"{camera}: {on_block} blocks seen, {hidden} skipped because the arm or a block hides their centre")
    assert on_block >= 30
    assert hidden <= 8


@pytest.mark.parametrize("camera", ["overhead", "wrist"])
def test_the_projection_is_mujocos_to_a_hundredth_of_a_pixel(env: PickPlaceEnv, camera: str) -> None:
    for seed in range(5):
        state = move_arm(env, seed)
        points = np.random.default_rng(seed).uniform((0.1, -0.2, 0.0), (0.3, 0.2, 0.02), (10, 3))
        pixels, in_front = pixels_of(env, camera, state, points)
        for point, pixel, seen in zip(points, pixels, in_front, strict=True):
            expected = env.project(point, camera, SIZE)
            assert seen == (expected is not None)
            if expected is not None and max(np.abs(expected)) < 1000:  # grazing points run off to infinity
                np.testing.assert_allclose(pixel, expected, atol=0.01)


def test_the_arm_alone_and_the_whole_scene_have_the_same_chain(env: PickPlaceEnv) -> None:
    assert arm_of_model(env.model) == arm_of_model(build_arm())


def test_only_the_wrist_camera_is_on_the_hand(env: PickPlaceEnv) -> None:
    mounted = {camera: calibration_of_camera(env.model, camera, SIZE).mounted_on for camera in ("overhead", "wrist")}
    assert mounted == {"overhead": "base", "wrist": "hand"}


def test_where_looks_vary_the_calibration_is_that_of_the_mean_camera() -> None:
    """Each episode's camera is drawn around it: the projection errs by no more than the draws explain."""
    task = level("L3", cameras=("overhead",), overhead_size=SIZE)
    calibration = calibration_of_task(task).cameras["overhead"]
    env = PickPlaceEnv(replace(task, cameras=()))
    point = np.array([0.2, 0.05, BLOCK_SIZE / 2])
    seen = []
    for seed in range(100):
        env.reset(seed=seed)
        pixel = env.project(point, "overhead", SIZE)
        assert pixel is not None
        seen.append(pixel)
    env.close()
    mean, _ = project(calibration, torch.tensor(point[None]).float(), SIZE)
    # 1.5 cm of shift at about half a metre is some 9 pixels of 240, of its mean over 100 draws about one.
    np.testing.assert_allclose(mean[0], np.mean(seen, axis=0), atol=3)
    fixed = calibration_of_task(replace(task, looks="fixed")).cameras["overhead"]
    assert calibration.focal[0] < fixed.focal[0], "the field of view only ever grows"


def test_a_recordings_calibration_is_read_back_with_its_data(tmp_path: Path) -> None:
    task = level("L0", overhead_size=(32, 48), wrist_size=(32, 32))
    record(RecordConfig(task=task, episodes=1), tmp_path / "demos", workers=1)
    sidecar = read_sidecar(tmp_path / "demos")
    assert sidecar == calibration_of_task(task)
    assert sidecar.arm is not None
    assert (*sidecar.arm.joints, sidecar.arm.gripper) == ACTION_NAMES
    assert sidecar.environment_height == pytest.approx(0.0125)
    assert sidecar.scenes is None
    assert {name: of.size for name, of in sidecar.cameras.items()} == {"overhead": (32, 48), "wrist": (32, 32)}
    features = open_source(tmp_path / "demos").features
    assert features.arm == sidecar.arm
    assert {camera.name: camera.calibration for camera in features.cameras} == dict(sidecar.cameras)
