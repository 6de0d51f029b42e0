import math

import numpy as np
import pytest

from foreact.errors import SimulationError
from foreact.sim.backend import mujoco
from foreact.sim.env import REST_ARM, PickPlaceEnv
from foreact.sim.kinematics import Kinematics
from foreact.sim.layout import WORKSPACE
from foreact.sim.meshes import robot_directory
from foreact.sim.scene import GRIP_IN_GRIPPER
from foreact.sim.task import level

REST = np.array(REST_ARM)


@pytest.fixture(scope="module")
def kinematics() -> Kinematics:
    return Kinematics()


def random_arms(kinematics: Kinematics, n: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(kinematics.lower, kinematics.upper, size=(n, 5))


def test_forward_agrees_with_the_packages_own_model(kinematics: Kinematics) -> None:
    model = mujoco.MjModel.from_xml_path(str(robot_directory() / "so101_new_calib.xml"))
    data = mujoco.MjData(model)
    for arm in random_arms(kinematics, 20):
        data.qpos[:5] = arm
        mujoco.mj_kinematics(model, data)
        body = data.body("gripper")
        expected = body.xpos + body.xmat.reshape(3, 3) @ GRIP_IN_GRIPPER
        np.testing.assert_allclose(kinematics.forward(arm).position, expected, atol=1e-12)


def test_forward_agrees_with_the_environment(kinematics: Kinematics) -> None:
    env = PickPlaceEnv(level("L1", cameras=()))
    observation, _ = env.reset(seed=0)
    pose = kinematics.forward(observation["observation.state"][:5])
    np.testing.assert_allclose(pose.position, env.grip_position(), atol=1e-6)  # the state is float32


def test_the_jacobian_is_the_derivative_of_forward(kinematics: Kinematics) -> None:
    step = 1e-6
    for arm in random_arms(kinematics, 10):
        differences = [
            (kinematics.forward(arm + nudge).position - kinematics.forward(arm - nudge).position) / (2 * step)
            for nudge in step * np.eye(5)
        ]
        # Central differences err by step**2 and by rounding / step, about 1e-10.
        np.testing.assert_allclose(kinematics.jacobian(arm)[:3], np.transpose(differences), atol=1e-8)


def test_yaw_grows_with_the_base_joint_turned_backwards(kinematics: Kinematics) -> None:
    arm = kinematics.inverse(np.array([0.2, 0.0, 0.03]), 0.0, REST)
    turned = kinematics.forward(arm - [0.1, 0, 0, 0, 0])  # the package's pan joint turns clockwise
    assert turned.yaw == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize("height", [0.011, 0.06])
def test_inverse_then_forward_is_the_pose_asked_for_all_over_the_workspace(
    kinematics: Kinematics, height: float
) -> None:
    (x0, y0), (x1, y1) = WORKSPACE
    for x in np.linspace(x0, x1, 4):
        for y in np.linspace(y0, y1, 5):
            for yaw in (-math.pi / 4, 0.0, math.pi / 4):
                arm = kinematics.inverse(np.array([x, y, height]), yaw, REST)
                pose = kinematics.forward(arm)
                np.testing.assert_allclose(pose.position, (x, y, height), atol=1e-3)
                assert pose.yaw == pytest.approx(yaw, abs=0.02)
                assert pose.tilt < 0.2
                assert np.all((arm >= kinematics.lower) & (arm <= kinematics.upper))


def test_the_jaws_point_straight_down_where_the_wrist_allows_it(kinematics: Kinematics) -> None:
    arm = kinematics.inverse(np.array([0.2, 0.05, 0.02]), 0.3, REST)
    assert kinematics.forward(arm).tilt < 1e-3


def test_inverse_changes_nothing_at_its_own_solution(kinematics: Kinematics) -> None:
    position = np.array([0.21, 0.04, 0.03])
    arm = kinematics.inverse(position, 0.1, REST)
    np.testing.assert_allclose(kinematics.inverse(position, 0.1, arm), arm, atol=1e-5)


def test_out_of_reach_is_an_error_that_says_by_how_much(kinematics: Kinematics) -> None:
    with pytest.raises(SimulationError, match=r"cannot reach \(0.600, 0.000, 0.050\) m with yaw 0.00 rad: it stays"):
        kinematics.inverse(np.array([0.6, 0.0, 0.05]), 0.0, REST)
