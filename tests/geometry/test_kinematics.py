"""Forward and inverse kinematics against MuJoCo's, and against laws of rotations."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreact.errors import UnreachableError
from foreact.geometry.kinematics import ForwardKinematics, rotation_matrix
from foreact.records import Arm
from foreact.sim.backend import mujoco
from foreact.sim.calibration import arm_of_model
from foreact.sim.env import REST_ARM
from foreact.sim.kinematics import Kinematics
from foreact.sim.layout import WORKSPACE
from foreact.sim.scene import build_arm
from foreact_runtime.kinematics import TOLERANCE, InverseKinematics, quaternion_matrix, rotation_vector

REST = np.array(REST_ARM)
PLANAR = Arm(
    joints=("first", "second"),
    positions=((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
    quaternions=((1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)),
    axes=((0.0, 0.0, 1.0), (0.0, 0.0, 1.0)),
    limits=((-3.0, 3.0), (-3.0, 3.0)),
    hand_position=(1.0, 0.0, 0.0),
    hand_quaternion=(1.0, 0.0, 0.0, 0.0),
)
"""Two links of a metre each that turn in the plane."""


@pytest.fixture(scope="module")
def arm() -> Arm:
    return arm_of_model(build_arm())


def random_angles(arm: Arm, n: int, seed: int = 0) -> np.ndarray:
    lower, upper = np.array(arm.limits).T
    return np.random.default_rng(seed).uniform(lower, upper, (n, len(arm.joints)))


def about(axis: int, angle: float) -> np.ndarray:
    """The rotation matrix about a coordinate axis, from the definition."""
    turn = np.eye(3)
    first, second = [(1, 2), (2, 0), (0, 1)][axis]
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[second, first], turn[first, second] = np.sin(angle), -np.sin(angle)
    return turn


def test_a_planar_arm_is_where_trigonometry_says() -> None:
    position, turn = InverseKinematics(PLANAR).forward(np.array([np.pi / 2, np.pi / 2]))
    np.testing.assert_allclose(position, (-1, 1, 0), atol=1e-12)
    np.testing.assert_allclose(turn, about(2, np.pi), atol=1e-12)


def test_forward_is_mujocos_on_raw_kinematics(arm: Arm) -> None:
    model = build_arm()
    data, site = mujoco.MjData(model), model.site("grip").id
    angles = random_angles(arm, 50)
    positions, turns = InverseKinematics(arm).forward(angles)
    for row, position, turn in zip(angles, positions, turns, strict=True):
        data.qpos[:5] = row
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(position, data.site_xpos[site], atol=1e-12)
        np.testing.assert_allclose(turn, data.site_xmat[site].reshape(3, 3), atol=1e-12)


def test_tensors_of_any_batch_shape_give_what_arrays_give(arm: Arm) -> None:
    angles = random_angles(arm, 12).reshape(3, 4, 5)
    position, turn = ForwardKinematics(arm)(torch.from_numpy(angles).float())
    expected_position, expected_turn = InverseKinematics(arm).forward(angles)
    assert (position.shape, turn.shape) == ((3, 4, 3), (3, 4, 3, 3))
    np.testing.assert_allclose(position, expected_position, atol=1e-6)  # float32
    np.testing.assert_allclose(turn, expected_turn, atol=1e-6)


def test_the_gradient_of_forward_is_mujocos_jacobian(arm: Arm) -> None:
    kinematics = ForwardKinematics(arm).double()
    simulated = Kinematics()
    for angles in random_angles(arm, 5):
        jacobian = torch.autograd.functional.jacobian(lambda q: kinematics(q)[0], torch.from_numpy(angles))
        # The chain's constants went through float32.
        np.testing.assert_allclose(jacobian, simulated.jacobian(angles)[:3], atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_inverse_then_forward_is_the_pose_asked_for(arm: Arm, seed: int) -> None:
    """Poses that the arm can have, asked for from a start nearby, as an executor does at each tick."""
    kinematics = InverseKinematics(arm)
    rng = np.random.default_rng(seed)
    lower, upper = kinematics.lower + 0.3, kinematics.upper - 0.3
    for angles in rng.uniform(lower, upper, (20, 5)):
        position, turn = kinematics.forward(angles)
        found = kinematics.inverse(position, turn, angles + rng.uniform(-0.15, 0.15, 5))
        reached, orientation = kinematics.forward(found)
        # Steps of less than 1e-5 rad end the search; the arm is half a metre long.
        np.testing.assert_allclose(reached, position, atol=1e-4)
        np.testing.assert_allclose(orientation, turn, atol=5e-3)


def test_the_experts_poses_over_the_workspace_are_found_from_the_rest_pose(arm: Arm) -> None:
    """The simulation's own inverse kinematics (MuJoCo's Jacobian) say which poses there are."""
    simulated, kinematics = Kinematics(), InverseKinematics(arm)
    (x0, y0), (x1, y1) = WORKSPACE
    for x in np.linspace(x0, x1, 3):
        for y in np.linspace(y0, y1, 4):
            for height in (0.011, 0.065):
                expert = simulated.inverse(np.array([x, y, height]), 0.2, REST)
                position, turn = kinematics.forward(expert)
                found = kinematics.inverse(position, turn, REST)
                np.testing.assert_allclose(kinematics.forward(found)[0], position, atol=1e-3)
                np.testing.assert_allclose(found, expert, atol=0.02)


def test_inverse_stays_within_the_limits_and_comes_as_near_as_it_can(arm: Arm) -> None:
    kinematics = InverseKinematics(arm)
    rng = np.random.default_rng(0)
    at_limit = 0
    for angles in random_angles(arm, 40):
        position, turn = kinematics.forward(angles)
        position = position + rng.normal(0, 0.01, 3)  # perhaps a little out of reach
        try:
            found = kinematics.inverse(position, turn, np.clip(angles, kinematics.lower, kinematics.upper))
        except UnreachableError:
            continue
        assert np.all((found >= kinematics.lower) & (found <= kinematics.upper))
        assert np.linalg.norm(kinematics.forward(found)[0] - position) <= TOLERANCE
        at_limit += bool(np.any((found == kinematics.lower) | (found == kinematics.upper)))
    assert at_limit >= 3, "the case that limits bind is among these"


def test_a_pose_beside_one_that_the_arm_has_is_missed_by_as_little_as_the_page_says(arm: Arm) -> None:
    """docs/conditioning.md, "What counts as reached"; its 1000 poses, of which fewer would do."""
    kinematics = InverseKinematics(arm)
    rng = np.random.default_rng(0)
    missed, free, refused = [], [], 0
    for _ in range(1000):
        angles = np.array([0.0, -0.6, 0.6, 1.4, 0.0]) + rng.uniform(-0.4, 0.4, 5)
        angles = np.clip(angles, kinematics.lower, kinematics.upper)
        position, turn = kinematics.forward(angles)
        position = position + rng.normal(0, 0.01, 3)
        turn = rotation_matrix(torch.from_numpy(rng.normal(0, 0.1, 3))).numpy() @ turn
        try:
            found = kinematics.inverse(position, turn, angles + rng.normal(0, 0.1, 5))
        except UnreachableError:
            refused += 1
            continue
        missed.append(float(np.linalg.norm(kinematics.forward(found)[0] - position)))
        if not np.any((found == kinematics.lower) | (found == kinematics.upper)):
            free.append(missed[-1])
    half, most = np.quantile(missed, [0.5, 0.9])
    assert half < 1e-4
    assert most < 6e-4
    assert 0.02 < np.mean(np.array(missed) > 5e-3) < 0.03
    assert max(free) < 5e-3
    assert refused == 0
    assert TOLERANCE == 0.02


def test_stretched_out_poses_are_found_from_a_start_far_away(arm: Arm) -> None:
    """Full steps overshoot there and run away to poses half a metre off."""
    kinematics = InverseKinematics(arm)
    shoulder = np.array([0.0388, 0.0, 0.116])
    rng = np.random.default_rng(0)
    for _ in range(40):
        start = rng.uniform((-1.0, -0.5, -1.6, -0.3, 0.0), (1.0, 0.5, -0.8, 0.3, 0.0))
        near, turn = kinematics.forward(start)
        goal = shoulder + 0.37 * (near - shoulder) / np.linalg.norm(near - shoulder)
        reached, _ = kinematics.forward(kinematics.inverse(goal, turn, start))
        # The arm reaches 40 cm from there in any direction; the orientation pulls by 2 mm.
        np.testing.assert_allclose(reached, goal, atol=4e-3)


def test_a_start_beyond_the_limits_is_brought_back(arm: Arm) -> None:
    kinematics = InverseKinematics(arm)
    position, turn = kinematics.forward(REST)
    found = kinematics.inverse(position, turn, REST + np.array([0, 0, 5, 0, 0]))
    assert np.all((found >= kinematics.lower) & (found <= kinematics.upper))


def test_out_of_reach_is_an_error_that_says_by_how_much() -> None:
    """Two metres of arm, asked for three: one metre is missing."""
    with pytest.raises(
        UnreachableError,
        match=r"cannot reach \(3\.000, 0\.000, 0\.000\) m: it stays 1000 mm away; the cue or the goal may be out",
    ):
        InverseKinematics(PLANAR).inverse(np.array([3.0, 0.0, 0.0]), np.eye(3), np.array([0.1, -0.1]))


def test_out_of_reach_names_the_joints_at_their_limit() -> None:
    stiff = replace(PLANAR, limits=((-0.1, 0.1), (-3.0, 3.0)))
    with pytest.raises(UnreachableError, match=r"mm away with first at the limit; the cue"):
        InverseKinematics(stiff).inverse(np.array([0.0, 2.0, 0.0]), about(2, np.pi / 2), np.array([0.0, 0.1]))


angles_below_pi = st.floats(0.0, 3.1)
directions = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1)


@settings(deadline=None, max_examples=100)
@given(direction=directions, angle=angles_below_pi)
def test_rotation_vectors_survive_the_way_to_a_matrix_and_back(
    direction: tuple[float, float, float], angle: float
) -> None:
    vector = angle * np.array(direction) / np.linalg.norm(direction)
    turn = rotation_matrix(torch.from_numpy(vector))
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3, dtype=torch.float64), atol=1e-12, rtol=0)
    assert float(torch.linalg.det(turn)) == pytest.approx(1.0)
    # An axis is known to eps over the sine that it is divided by; near pi that is 0.04.
    np.testing.assert_allclose(rotation_vector(turn), vector, atol=1e-10)
    np.testing.assert_allclose(rotation_vector(turn.numpy()), vector, atol=1e-10)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("angle", [-3.1, -1.0, 0.0, 1e-9, 1e-3, np.pi / 2, 3.1, np.pi - 1e-5])
def test_about_a_coordinate_axis_the_vector_is_that_axis_times_the_angle(axis: int, angle: float) -> None:
    expected = angle * np.eye(3)[axis]
    np.testing.assert_allclose(rotation_vector(about(axis, angle)), expected, atol=1e-9)
    np.testing.assert_allclose(rotation_matrix(torch.from_numpy(expected)), about(axis, angle), atol=1e-12)


def test_small_rotations_have_finite_gradients_both_ways() -> None:
    for size in (0.0, 1e-8, 1e-3):
        vector = torch.full((2, 3), size, dtype=torch.float64, requires_grad=True)
        back = rotation_vector(rotation_matrix(vector))
        back.sum().backward()
        assert vector.grad is not None
        # The way there and back is the identity, so its derivative is one.
        torch.testing.assert_close(vector.grad, torch.ones_like(vector), atol=1e-6, rtol=0)


def test_a_quaternions_matrix_is_mujocos() -> None:
    rng = np.random.default_rng(0)
    for quaternion in rng.normal(size=(10, 4)):
        expected = np.zeros(9)
        mujoco.mju_quat2Mat(expected, quaternion / np.linalg.norm(quaternion))
        np.testing.assert_allclose(quaternion_matrix(tuple(quaternion)), expected.reshape(3, 3), atol=1e-12)


def test_a_pose_that_is_not_a_number_is_unreachable() -> None:
    """A broken network must not make the arm hold still and say nothing."""
    arm = arm_of_model(build_arm())
    kinematics, start = InverseKinematics(arm), np.zeros(len(arm.joints))
    _, turn = kinematics.forward(start)
    with pytest.raises(UnreachableError):
        kinematics.inverse(np.full(3, np.nan), turn, start)
