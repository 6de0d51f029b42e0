"""Projection and its inverse against OpenCV's, and against each other."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreact.geometry.projection import camera_pose, plane_points, project
from foreact.records import Calibration
from foreact_runtime.kinematics import quaternion_matrix

LENS = (-0.28, 0.09, 0.0012, -0.0008, -0.01)
"""k1, k2, p1, p2, k3 of a common webcam."""
DOWN = Calibration(
    size=(480, 640),
    focal=(610.0, 605.0),
    center=(322.0, 238.0),
    position=(0.2, 0.05, 0.6),
    quaternion=(0.0, 1.0, 0.0, 0.0),
)
"""Straight down from 60 cm: the picture's right is +x, its bottom is -y."""


def tilted(distortion: tuple[float, ...] = ()) -> Calibration:
    """Half a metre up, looking down at an angle."""
    quaternion = np.array([0.05, 0.97, 0.12, -0.2])
    unit = (quaternion / np.linalg.norm(quaternion)).tolist()
    return replace(DOWN, quaternion=(unit[0], unit[1], unit[2], unit[3]), distortion=distortion)


def random_points(n: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform((0.05, -0.15, 0.0), (0.35, 0.2, 0.05), (n, 3)))


def test_by_hand_a_camera_that_looks_straight_down() -> None:
    below = torch.tensor([[0.2, 0.05, 0.0], [0.26, 0.05, 0.0], [0.2, 0.11, 0.0], [0.2, 0.05, 0.7]])
    pixels, in_front = project(DOWN, below, (480, 640))
    # 6 cm at 60 cm are a tenth of the focal length.
    torch.testing.assert_close(pixels[:3], torch.tensor([[322.0, 238.0], [383.0, 238.0], [322.0, 177.5]]))
    assert in_front.tolist() == [True, True, True, False]


def test_a_resized_picture_has_its_pixels_at_the_same_share() -> None:
    points = random_points(5)
    full, _ = project(tilted(LENS), points, (480, 640))
    small, _ = project(tilted(LENS), points, (96, 64))
    torch.testing.assert_close(small, full * torch.tensor([0.1, 0.2]).double())


@pytest.mark.parametrize("distortion", [(), LENS])
def test_projection_is_opencvs(distortion: tuple[float, ...]) -> None:
    calibration = tilted(distortion)
    points = random_points(50)
    turn = quaternion_matrix(calibration.quaternion)
    expected, _ = cv2.projectPoints(
        points.numpy(),
        cv2.Rodrigues(turn.T)[0],
        -turn.T @ np.array(calibration.position),
        np.array([[610.0, 0, 322.0], [0, 605.0, 238.0], [0, 0, 1]]),
        np.array(distortion or (0.0,) * 5),
    )
    pixels, in_front = project(calibration, points, (480, 640))
    assert in_front.all()
    np.testing.assert_allclose(pixels, expected[:, 0], atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(
    lens=st.tuples(*[st.floats(-s, s) for s in (0.15, 0.05, 0.002, 0.002, 0.01)]),
    x=st.floats(0.05, 0.35),
    y=st.floats(-0.15, 0.2),
    height=st.floats(0.0, 0.1),
)
def test_a_pixel_of_a_point_leads_back_to_it(lens: tuple[float, ...], x: float, y: float, height: float) -> None:
    point = torch.tensor([[x, y, height]], dtype=torch.float64)
    for distortion in ((), lens):
        pixels, _ = project(tilted(distortion), point, (480, 640))
        back = plane_points(tilted(distortion), pixels, (480, 640), height)
        # Ten fixed-point iterations of the lens leave well under a tenth of a millimetre.
        torch.testing.assert_close(back[0], point[:, :2], atol=1e-4, rtol=0)


def test_a_strong_lens_is_inverted_as_well_as_opencv_inverts_it() -> None:
    pixels = np.random.default_rng(0).uniform((60, 60), (580, 420), (30, 2))
    matrix = np.array([[610.0, 0, 322.0], [0, 605.0, 238.0], [0, 0, 1]])
    rays = cv2.undistortPoints(pixels[:, None], matrix, np.array(LENS))[:, 0]
    ours = plane_points(replace(DOWN, distortion=LENS), torch.from_numpy(pixels), (480, 640), 0.0)[0]
    expected = np.array([0.2, 0.05]) + 0.6 * rays * (1, -1)
    np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_a_ray_that_does_not_meet_the_plane_gives_no_point() -> None:
    pixels = torch.tensor([[322.0, 238.0]])
    assert plane_points(DOWN, pixels, (480, 640), height=0.7).isnan().all()  # the plane is above the camera
    level = replace(DOWN, quaternion=(0.5, 0.5, 0.5, 0.5))  # looks along the horizon
    assert plane_points(level, pixels, (480, 640), height=0.0).isnan().all()


def test_each_sample_of_a_camera_on_the_hand_has_its_own_pose() -> None:
    """By law: moving hand and points together changes no pixel."""
    mounted = replace(DOWN, position=(0.0, 0.05, 0.02), mounted_on="hand")
    points = random_points(3)[:, None].expand(3, 4, 3) + torch.tensor([0.0, 0.0, -0.3])
    turn = torch.from_numpy(quaternion_matrix((0.9, 0.1, 0.2, 0.1)))
    shift = torch.tensor([0.1, -0.2, 0.3]).double()
    hand = torch.zeros(3, 3).double(), torch.eye(3).double().expand(3, 3, 3)
    moved = shift.expand(3, 3), turn.expand(3, 3, 3)
    still, _ = project(mounted, points, (480, 640), hand)
    after, _ = project(mounted, points @ turn.mT + shift, (480, 640), moved)
    torch.testing.assert_close(after, still)
    # And with the hand in the base it is the camera on the base.
    fixed, _ = project(replace(mounted, mounted_on="base"), points, (480, 640))
    torch.testing.assert_close(fixed, still)


def test_plane_points_of_a_camera_on_the_hand_are_one_set_a_sample() -> None:
    mounted = replace(DOWN, mounted_on="hand")
    positions = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]).double()
    hand = positions, torch.eye(3).double().expand(2, 3, 3)
    points = plane_points(mounted, torch.tensor([[322.0, 238.0]]).double(), (480, 640), 0.0, hand)
    torch.testing.assert_close(points[:, 0], torch.tensor([[0.2, 0.05], [0.3, 0.05]]).double())


def test_a_camera_on_the_hand_needs_the_hand() -> None:
    with pytest.raises(ValueError, match="give the hand's pose"):
        camera_pose(replace(DOWN, mounted_on="hand"), None, torch.zeros(1))
