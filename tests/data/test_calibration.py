"""Calibration files, and fits of a camera whose place is known."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.cameras import SIZE, looking, picture_of_board, project, turn_of
from data.test_sidecar import ARM, OVERHEAD, POSE, WRIST
from foreact.data.calibration import (
    Intrinsics,
    quaternion_of,
    read_calibration,
    read_intrinsics,
    write_calibration,
    write_camera,
)
from foreact.data.camera_fit import (
    Board,
    fit_intrinsics,
    fit_pose,
    fit_pose_and_focal,
    focal_uncertainty,
    residuals,
    simple_intrinsics,
)
from foreact.data.sidecar import Sidecar
from foreact.errors import DataError
from foreact.records import Calibration

YAML = """\
cameras:
  overhead:
    size: [480, 640]
    fx: 600
    fy: 610.5
    cx: 320
    cy: 240
    position: [0.46, -0.02, 0.5]
    look_at: [0.16, -0.02, 0.1]
    up: [-1, 0, 0]
arm: so101
joint_unit: deg
gripper: gripper.pos
gripper_closed: 20
environment_height: 0.0125
"""


def read(path: Path, text: str) -> Sidecar:
    path.write_text(text)
    return read_calibration(path)


# --- the file


def test_a_file_says_where_a_camera_looks(tmp_path: Path) -> None:
    """By hand: 45 degrees or so down towards the base, which is at the top: right of the picture is +y."""
    calibration = read(tmp_path / "rig.yaml", YAML)
    camera = calibration.cameras["overhead"]
    assert (camera.size, camera.focal, camera.center) == ((480, 640), (600.0, 610.5), (320.0, 240.0))
    assert (camera.mounted_on, camera.distortion) == ("base", ())
    turn = turn_of(camera)
    np.testing.assert_allclose(turn[:, 2], [-0.6, 0, -0.8], atol=1e-12)
    np.testing.assert_allclose(turn[:, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(np.cross(turn[:, 0], turn[:, 1]), turn[:, 2], atol=1e-12)
    np.testing.assert_allclose(project(camera, np.array([[0.16, -0.02, 0.1]])), [[320, 240]], atol=1e-9)
    assert project(camera, np.array([[0.15, -0.02, 0.1]]))[0, 1] < 240, "what lies in the direction up is above"
    assert calibration.environment_height == 0.0125
    assert calibration.arm is not None
    assert (calibration.arm.unit, calibration.arm.gripper, calibration.arm.gripper_closed) == ("deg", "gripper.pos", 20)


def test_a_whole_arm_and_a_wrist_camera_come_back_as_written(tmp_path: Path) -> None:
    rig = Sidecar(cameras={"overhead": OVERHEAD, "wrist": WRIST}, arm=ARM, environment_height=0.0125)
    write_calibration(tmp_path / "rig.yaml", rig)
    assert read_calibration(tmp_path / "rig.yaml") == rig  # every number has fewer than 9 decimals


def test_an_empty_file_calibrates_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "rig.yaml", "") == Sidecar()


@pytest.mark.parametrize(("order", "names"), [("wxyz", "[qw, qx, qy, qz]"), ("xyzw", "[qx, qy, qz, qw]")])
def test_a_recorded_pose_says_the_order_of_its_quaternion(tmp_path: Path, order: str, names: str) -> None:
    text = f"recorded_pose: {{position: [x, y, z], quaternion: {names}, order: {order}}}\n"
    rig = read(tmp_path / "rig.yaml", text)
    assert rig == Sidecar(recorded_pose=POSE)
    write_calibration(tmp_path / "again.yaml", rig)
    assert read_calibration(tmp_path / "again.yaml") == rig


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{position: [x, y, z], quaternion: [a, b, c, d]}", r"recorded_pose: 'order' is missing"),
        ("{position: [x, y, z], quaternion: [a, b, c, d], order: wxzy}", r"'order' is 'wxzy', expected wxyz or xyzw"),
        ("{position: [x, y], quaternion: [a, b, c, d], order: wxyz}", r"'position' is \['x', 'y'\], expected 3 names"),
        ("{position: [x, y, z], quaternion: [a, b, c], order: wxyz}", r"'quaternion' is .*, expected 4 names"),
        ("{position: [x, x, z], quaternion: [a, b, c, d], order: wxyz}", r"expected names that differ"),
        ("{orientation: [x]}", r"rig.yaml', recorded_pose: unknown key 'orientation'"),
    ],
)
def test_a_wrong_recorded_pose_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "rig.yaml", f"recorded_pose: {text}\n")


def test_the_joints_of_the_so101_may_have_other_names_in_the_data(tmp_path: Path) -> None:
    names = [f"main_{joint}" for joint in ("pan", "lift", "elbow", "flex", "roll")]
    arm = read(tmp_path / "rig.yaml", f"arm: so101\njoint_unit: rad\njoints: [{', '.join(names)}]\n").arm
    assert arm is not None
    assert arm.joints == tuple(names)
    assert arm.gripper is None
    with pytest.raises(DataError, match=r"rig.yaml': 'joints' has 2 names, the arm has 5 joints"):
        read(tmp_path / "rig.yaml", "arm: so101\njoint_unit: rad\njoints: [a, b]\n")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "joint_unit",
            "joint_units",
            r"rig.yaml': unknown key 'joint_units'; did you mean 'joint_unit'\? choices: arm",
        ),
        ("joint_unit: deg\n", "", r"rig.yaml': 'joint_unit' is missing"),
        ("joint_unit: deg", "joint_unit: degrees", r"'joint_unit' is 'degrees', expected deg or rad"),
        ("arm: so101", "arm: so100", r"rig.yaml': unknown arm 'so100'; did you mean 'so101'\?"),
        ("arm: so101\n", "", r"'joint_unit' needs 'arm'"),
        ("arm: so101", "arm: {joints: [a]}", r"rig.yaml', arm: 'limits' is missing"),
        ("arm: so101", "arm: {unit: deg}", r"rig.yaml', arm: unknown key 'unit'"),
        ("gripper: gripper.pos\n", "", r"'gripper' and 'gripper_closed' belong together, one is missing"),
        ("    fx: 600\n", "", r"rig.yaml', camera 'overhead': 'fx' is missing"),
        ("fx: 600", "fx: -600", r"camera 'overhead': 'fx' and 'fy' are -600 and 610.5, expected positive"),
        ("fx: 600", "fx: wide", r"camera 'overhead': 'fx' is 'wide', expected a number"),
        ("    fx", "    f", r"camera 'overhead': unknown key 'f'; .*choices: cx, cy"),
        ("[480, 640]", "[480, 640, 3]", r"'size' is \[480, 640, 3\], expected 2 positive whole numbers"),
        ("[0.16, -0.02, 0.1]", "[0.16, -0.02]", r"'look_at' is \[0.16, -0.02\], expected 3 numbers"),
        ("    up: [-1, 0, 0]\n", "", r"camera 'overhead': 'up' is missing"),
        ("up: [-1, 0, 0]", "up: [3, 0, 4]", r"'up' is along the line from 'position' to 'look_at'"),
        ("    look_at", "    quaternion: [1, 0, 0, 0]\n    look_at", r"give either 'quaternion' or 'look_at' and 'up'"),
        ("    position: [0.46, -0.02, 0.5]\n", "", r"'position' is missing; type foreact calibrate points"),
        ("cameras:", "cameras: 3\nx:", r"rig.yaml': unknown key 'x'"),
        ("cameras:", "cameras: [", r"rig.yaml' is not YAML: .* line "),
        (YAML, "- 3", r"rig.yaml' holds a list, expected keys with values: cameras"),
        (YAML, "cameras: [3]", r"rig.yaml': 'cameras' holds a list, expected cameras by name"),
        ("arm: so101\n", "arm: so101\ncameras: {}\n", r"rig.yaml', line 12: the key 'cameras' .* in line 1; write"),
        ("    fx: 600\n", "    fx: 600\n    fx: 60\n", r"rig.yaml', line 5: the key 'fx' stands .* in line 4; write"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in YAML
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path / "rig.yaml", YAML.replace(old, new, 1))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no calibration file at '.*rig.yaml'; make one with foreact calibrate"):
        read_calibration(tmp_path / "rig.yaml")


def test_a_camera_that_is_written_leaves_the_rest_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rig.yaml"
    before = read(path, YAML)
    write_camera(path, "wrist", WRIST)
    assert read_calibration(path) == replace(before, cameras={**before.cameras, "wrist": WRIST})
    write_camera(path, "wrist", OVERHEAD)
    assert read_calibration(path).cameras["wrist"] == OVERHEAD
    write_camera(tmp_path / "new.yaml", "wrist", WRIST)
    assert read_calibration(tmp_path / "new.yaml") == Sidecar(cameras={"wrist": WRIST})


def test_new_intrinsics_drop_a_pose_found_with_the_old_and_keep_a_measured_one(tmp_path: Path) -> None:
    path = tmp_path / "rig.yaml"
    write_calibration(path, Sidecar(cameras={"overhead": OVERHEAD, "wrist": WRIST}))
    intrinsics = Intrinsics(size=(32, 32), focal=(40.0, 40.0), center=(16.0, 16.0))
    write_camera(path, "wrist", intrinsics)
    assert read_calibration(path).cameras["wrist"] == replace(
        WRIST, focal=(40.0, 40.0), center=(16.0, 16.0), distortion=()
    )
    write_camera(path, "overhead", intrinsics)
    assert read_intrinsics(path, "overhead") == intrinsics
    with pytest.raises(DataError, match="camera 'overhead': 'position' is missing"):
        read_calibration(path)
    with pytest.raises(DataError, match="unknown camera 'overhed'; did you mean 'overhead'"):
        read_intrinsics(path, "overhed")


def test_a_written_camera_says_whether_it_has_a_pose(tmp_path: Path) -> None:
    path = tmp_path / "rig.yaml"
    intrinsics = Intrinsics(size=(32, 32), focal=(40.0, 40.0), center=(16.0, 16.0))
    entry = "cameras: {wrist: {size: [9, 9], mounted_on: hand, position: [0, 0, 0], "
    assert write_camera(path, "overhead", OVERHEAD)
    assert not write_camera(path, "overhead", intrinsics)
    for pose, there in (("quaternion: [1, 0, 0, 0]", True), ("look_at: [0, 0, 1], up: [1, 0, 0]", True), ("", False)):
        path.write_text(f"{entry}{pose}}}}}\n")
        assert write_camera(path, "wrist", intrinsics) == there
    path.write_text(f"{entry}quaternion: }}}}\n")
    assert not write_camera(path, "wrist", intrinsics), "the key is there, its value is not"


def test_a_file_with_a_key_twice_is_not_written_into(tmp_path: Path) -> None:
    path = tmp_path / "rig.yaml"
    path.write_text(twice := YAML + "cameras:\n  wrist: {}\n")
    with pytest.raises(DataError, match=r"line 16: the key 'cameras' stands there already, in line 1"):
        write_camera(path, "wrist", WRIST)
    assert path.read_text() == twice


def test_a_file_that_is_none_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "notes.yaml"
    path.write_text("title: my notes\n")
    with pytest.raises(DataError, match=r"notes.yaml': unknown key 'title'"):
        write_camera(path, "wrist", WRIST)
    assert path.read_text() == "title: my notes\n"


def test_the_quaternion_of_a_matrix_turns_like_it() -> None:
    rng = np.random.default_rng(0)
    turns = [np.diag([1.0, -1.0, -1.0]), np.diag([-1.0, -1.0, 1.0]), np.eye(3)]  # half turns have w = 0
    for _ in range(50):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        turns.append(turn * np.sign(np.linalg.det(turn)))
    for turn in turns:
        np.testing.assert_allclose(turn_of(replace(OVERHEAD, quaternion=quaternion_of(turn))), turn, atol=1e-12)


# --- the SO-101


def test_the_so101s_chain_is_mujocos(tmp_path: Path) -> None:
    """Rotations one after the other by Rodrigues' formula, against MuJoCo's forward kinematics of the package."""
    from foreact.sim.kinematics import Kinematics

    arm = read(tmp_path / "rig.yaml", "arm: so101\njoint_unit: deg\n").arm
    assert arm is not None
    kinematics = Kinematics()
    np.testing.assert_allclose(np.transpose(arm.limits), [kinematics.lower, kinematics.upper], atol=1e-8)

    def turn(quaternion: tuple[float, ...]) -> np.ndarray:
        w, x, y, z = quaternion
        return turn_of(replace(OVERHEAD, quaternion=(w, x, y, z)))

    for angles in np.random.default_rng(0).uniform(kinematics.lower, kinematics.upper, size=(50, 5)):
        position, orientation = np.zeros(3), np.eye(3)
        for offset, quaternion, axis, angle in zip(arm.positions, arm.quaternions, arm.axes, angles, strict=True):
            position = position + orientation @ offset
            about = math.cos(angle / 2), *(math.sin(angle / 2) * np.array(axis))
            orientation = orientation @ turn(quaternion) @ turn(about)
        position, orientation = position + orientation @ arm.hand_position, orientation @ turn(arm.hand_quaternion)
        pose = kinematics.forward(angles)
        np.testing.assert_allclose(position, pose.position, atol=1e-8)  # nine decimals, five links
        assert math.atan2(orientation[1, 0], orientation[0, 0]) == pytest.approx(pose.yaw, abs=1e-6)
        assert orientation[2, 2] == pytest.approx(math.cos(pose.tilt), abs=1e-7)


# --- fits


def table_points(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.concatenate([rng.uniform((0.08, -0.12), (0.30, 0.12), size=(n, 2)), np.zeros((n, 1))], axis=1)


def cameras(rng: np.random.Generator, n: int) -> list[Calibration]:
    return [
        looking(
            (rng.uniform(0.35, 0.6), rng.uniform(-0.3, 0.3), rng.uniform(0.3, 0.7)),
            (0.18, 0.0, 0.0),
            roll=rng.uniform(-3, 3),
            focal=rng.uniform(150, 600),
        )
        for _ in range(n)
    ]


def distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return float(np.linalg.norm(np.subtract(one, other)))


def test_exact_points_give_pose_and_focal_length_back() -> None:
    """Points of the table or of a box, from 4 or 6 on; any side of the table, any roll."""
    rng = np.random.default_rng(0)
    for number, camera in enumerate(cameras(rng, 30)):
        points = table_points(rng, 4 + number % 5)
        if number % 2:
            points = table_points(rng, 6 + number % 5)
            points[:, 2] = rng.uniform(0, 0.1, size=len(points))
        pixels = project(camera, points)
        fitted = fit_pose_and_focal(points, pixels, SIZE)
        assert distance(fitted.position, camera.position) < 1e-6
        assert fitted.focal[0] == pytest.approx(camera.focal[0], rel=1e-6)
        np.testing.assert_allclose(turn_of(fitted), turn_of(camera), atol=1e-6)


def test_exact_points_give_the_pose_of_a_camera_with_distortion_back() -> None:
    rng = np.random.default_rng(1)
    bent = (-0.1, 0.03, 0.002, -0.001, 0.01)
    for camera in cameras(rng, 20):
        camera = replace(camera, distortion=bent, center=(150.0, 130.0))
        points = table_points(rng, 8)
        intrinsics = Intrinsics(size=SIZE, focal=camera.focal, center=camera.center, distortion=bent)
        fitted = fit_pose(points, project(camera, points), intrinsics)
        assert distance(fitted.position, camera.position) < 1e-6


def test_clicks_that_are_half_a_pixel_off_place_the_table_to_a_pixel() -> None:
    """Of 640x480, twelve points; what counts is where a click on the table leads, not the camera's own place."""
    rng = np.random.default_rng(2)
    for camera in cameras(rng, 20):
        points = table_points(rng, 12)
        pixels = project(camera, points) + rng.normal(0, 0.25, size=(12, 2))  # SIZE is 320x240
        fitted = fit_pose_and_focal(points, pixels, SIZE)
        elsewhere = table_points(rng, 20)
        off = residuals(fitted, elsewhere, project(camera, elsewhere))
        assert off.pixels.max() < 1.0  # extrapolated up to the corners; 0.5 at 640x480 is sigma
        assert off.metres.max() < 4e-3  # a pixel of the widest of these lenses


def test_the_errors_are_those_of_the_projection_and_of_the_ray() -> None:
    """Straight down from 0.5 m with focal length 250: a pixel is 2 mm."""
    camera = looking((0.2, 0.0, 0.5), (0.2, 0.0, 0.0), focal=250.0)
    points = np.array([[0.2, 0.0, 0.0], [0.25, 0.05, 0.0], [0.1, 0.0, 0.25]])
    pixels = project(camera, points) + np.array([[3, 4], [0, 0], [-1, 0]])
    off = residuals(camera, points, pixels)
    np.testing.assert_allclose(off.pixels, [5, 0, 1], atol=1e-9)
    np.testing.assert_allclose(off.metres, [0.010, 0, 0.001], atol=1e-9)  # the last one is half as far away
    assert off.worst == 0
    assert off.rms == pytest.approx(math.sqrt(26 / 3))


def test_a_ray_that_never_comes_down_has_no_error_on_the_table() -> None:
    camera = looking((0.6, 0.0, 0.1), (0.0, 0.0, 0.1), focal=250.0)
    assert np.isnan(residuals(camera, np.array([[0.1, 0.0, 0.0]]), np.array([[160.0, 1.0]])).metres).all()


def test_the_uncertainty_of_the_focal_length_is_the_spread_of_many_fits() -> None:
    rng = np.random.default_rng(3)
    camera = looking((0.5, 0.1, 0.4), (0.18, 0.0, 0.0), focal=330.0)
    points = table_points(rng, 10)
    pixels = project(camera, points)
    sigma = 0.1
    focals = [fit_pose_and_focal(points, pixels + rng.normal(0, sigma, pixels.shape), SIZE).focal[0] for _ in range(40)]
    # The spread of 40 draws is known to 1 / sqrt(80), 11 %; three times that.
    assert np.std(focals) / 330 == pytest.approx(sigma * focal_uncertainty(camera, points), rel=0.34)


def test_points_seen_from_straight_above_do_not_tell_the_focal_length() -> None:
    points = table_points(np.random.default_rng(4), 8)
    assert focal_uncertainty(looking((0.19, 0.0, 0.5), (0.19, 0.0, 0.0)), points) > 1e3
    assert focal_uncertainty(looking((0.45, 0.0, 0.3), (0.19, 0.0, 0.0)), points) < 0.3


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0]], "3 points are too few; 4 in a plane or 6 in general are needed"),
        ([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]], "4 points that are not in a plane are too few; give 6"),
        ([[0.1 * i, 0.2 * i, 0] for i in range(5)], "the points are in a line; add some beside it"),
        ([[0.1, 0.1, 0.0]] * 5, "the points are in a line; add some beside it"),
    ],
)
def test_points_that_do_not_fix_a_camera_are_refused(points: list[list[float]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_pose_and_focal(np.array(points, dtype=float), np.full((len(points), 2), 3.0), SIZE)


def test_a_focal_length_at_the_end_of_what_is_tried_is_refused() -> None:
    """Clicks of a table that lies square to the picture, with the far edge no shorter: no perspective at all."""
    points = np.array([[0.15, -0.1, 0], [0.15, 0.1, 0], [0.25, 0.1, 0], [0.25, -0.1, 0], [0.2, 0, 0]])
    pixels = np.array([[212.0, 131], [431, 128], [448, 305], [196, 309], [322, 214]])
    with pytest.raises(DataError, match=r"fit a focal length of 6400 pixels best, the longest that is tried"):
        fit_pose_and_focal(points, pixels, (480, 640))


def test_a_fit_to_a_rendered_picture_is_mujocos_camera() -> None:
    """Ten small balls, told apart by MuJoCo's segmentation; the middle of a ball's pixels is a click."""
    from foreact.sim.backend import make_gl_context, mujoco

    rng = np.random.default_rng(5)
    points = np.concatenate([rng.uniform((0.05, -0.12), (0.30, 0.12), (10, 2)), rng.uniform(0, 0.1, (10, 1))], axis=1)
    balls = "".join(f'<geom type="sphere" size="0.006" pos="{x} {y} {z}"/>' for x, y, z in points)
    # MuJoCo's camera: x to the right, y up; it looks along -z, here at a slant towards -x.
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><visual><global offwidth="640" offheight="480"/></visual><worldbody>'
        f'<camera name="c" pos="0.5 -0.03 0.45" xyaxes="0 1 0 -0.8 0 0.6" fovy="45"/>{balls}</worldbody></mujoco>'
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    scene, context = mujoco.MjvScene(model, maxgeom=50), make_gl_context(640, 480)
    context.make_current()
    drawing = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
    try:
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, drawing)
        of = mujoco.MjvCamera()
        of.type, of.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED.value, 0
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, of, everything, scene)
        scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = scene.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = True
        picture, view = np.zeros((480, 640, 3), np.uint8), mujoco.MjrRect(0, 0, 640, 480)
        mujoco.mjr_render(view, scene, drawing)
        mujoco.mjr_readPixels(picture, None, view, drawing)
    finally:
        drawing.free()
        context.free()
    ids = picture[::-1, :, 0].astype(int) - 1
    pixels = np.array([np.argwhere(ids == ball)[:, ::-1].mean(axis=0) + 0.5 for ball in range(10)])
    fitted = fit_pose_and_focal(points, pixels, (480, 640))
    # Sub-pixel middles of balls 8 pixels wide: a tenth of a pixel or so, that is 0.1 mm at 0.6 m.
    assert residuals(fitted, points, pixels).rms < 0.15
    assert distance(fitted.position, (0.5, -0.03, 0.45)) < 3e-3
    known = fit_pose(points, pixels, simple_intrinsics(240 / math.tan(math.radians(22.5)), (480, 640)))
    assert distance(known.position, (0.5, -0.03, 0.45)) < 1e-3
    np.testing.assert_allclose(turn_of(known), np.transpose([[0, 1, 0], [0.8, 0, -0.6], [-0.6, 0, -0.8]]), atol=2e-3)


# --- the checkerboard

BOARD = Board(columns=9, rows=6, square=0.02)
LENS = (-0.08, 0.02, 0.001, -0.0005, 0.0)


def lying_board(yaw: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture of the board on the table with its middle in view, and its corners."""
    middle = BOARD.points_on_table(0.0, 0.0, yaw, 0.0).mean(axis=0)
    points = BOARD.points_on_table(0.18 - middle[0], -middle[1], yaw, 0.0)
    return overhead_picture(points), points


def overhead_picture(points: np.ndarray) -> np.ndarray:
    along, down = (points[1] - points[0]) / BOARD.square, (points[BOARD.columns] - points[0]) / BOARD.square
    return picture_of_board(OVERHEAD_320, points[0], along, down, square=BOARD.square)


OVERHEAD_320 = looking((0.46, -0.02, 0.5), (0.18, -0.02, 0.0), focal=420.0, center=(157.0, 123.5), distortion=LENS)


def test_a_board_on_the_table_lies_where_its_pose_says() -> None:
    """By hand: columns along the base's y axis, rows then along its x axis."""
    points = Board(columns=3, rows=2, square=0.1).points_on_table(1.0, 2.0, math.pi / 2, 0.003)
    expected = [[1, 2, 0.003], [1, 2.1, 0.003], [1, 2.2, 0.003], [1.1, 2, 0.003], [1.1, 2.1, 0.003], [1.1, 2.2, 0.003]]
    np.testing.assert_allclose(points, expected, atol=1e-12)


@pytest.mark.parametrize("yaw", [0.0, 0.7, math.pi / 2, 2.5, math.pi, -1.0])
def test_corners_are_found_at_their_pixels_whichever_way_the_board_lies(yaw: float) -> None:
    """In their order, the dark corner first, and half a pixel right and below of where OpenCV counts them."""
    picture, points = lying_board(yaw)
    found = BOARD.find(picture)
    assert found is not None
    expected = project(OVERHEAD_320, points)
    assert np.abs(found - expected).max() < 0.35
    assert np.abs((found - expected).mean(axis=0)).max() < 0.05, "a shift of half a pixel would show"


def test_no_board_is_no_corners() -> None:
    assert BOARD.find(np.full(SIZE, 128, np.uint8)) is None


def tilted_corners(n: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pictures of a board held before the camera in many ways, and the corners' true pixels."""
    rng = np.random.default_rng(6)
    pictures: list[np.ndarray] = []
    truth: list[np.ndarray] = []
    while len(pictures) < n:
        turn = turn_of(OVERHEAD_320)
        tilt, about = rng.uniform(0.2, 0.6), rng.uniform(-np.pi, np.pi)
        spin = rng.uniform(-np.pi, np.pi)
        axis = np.array([math.cos(about), math.sin(about), 0.0])
        lean = turn_of(replace(OVERHEAD, quaternion=(math.cos(tilt / 2), *(math.sin(tilt / 2) * axis))))
        roll = turn_of(replace(OVERHEAD, quaternion=(math.cos(spin / 2), 0.0, 0.0, math.sin(spin / 2))))
        frame = turn @ lean @ roll
        middle = np.array(OVERHEAD_320.position) + turn @ [*rng.uniform((-0.08, -0.05), (0.08, 0.05)), 0.45]
        points = middle + (BOARD.points() - BOARD.points().mean(axis=0)) @ frame.T
        pixels = project(OVERHEAD_320, points)
        if pixels.min() < 12 or (pixels > [308, 228]).any():
            continue
        pictures.append(
            picture_of_board(OVERHEAD_320, points[0], frame[:, 0], frame[:, 1], square=BOARD.square, samples=3)
        )
        truth.append(pixels)
    return pictures, truth


def test_exact_corners_give_the_intrinsics_back() -> None:
    _, truth = tilted_corners(8)
    intrinsics, errors = fit_intrinsics(BOARD, truth, SIZE, distortion=True)
    np.testing.assert_allclose(intrinsics.focal, OVERHEAD_320.focal, rtol=1e-4)  # corners are float32 inside
    np.testing.assert_allclose(intrinsics.center, OVERHEAD_320.center, atol=0.02)
    np.testing.assert_allclose(intrinsics.distortion, LENS, atol=0.01)
    assert errors.max() < 1e-3
    straight, _ = fit_intrinsics(BOARD, truth, SIZE, distortion=False)
    assert straight.distortion == ()


def test_pictures_give_intrinsics_and_pose() -> None:
    pictures, _ = tilted_corners(10)
    lying, points = lying_board(0.3)
    corners = [found for picture in [*pictures, lying] if (found := BOARD.find(picture)) is not None]
    assert len(corners) == 11
    intrinsics, errors = fit_intrinsics(BOARD, corners, SIZE, distortion=True)
    assert errors.max() < 0.2
    np.testing.assert_allclose(intrinsics.focal, OVERHEAD_320.focal, rtol=0.01)
    np.testing.assert_allclose(intrinsics.center, OVERHEAD_320.center, atol=3)
    fitted = fit_pose(points, corners[-1], intrinsics)
    assert distance(fitted.position, OVERHEAD_320.position) < 5e-3
    # Where the table is: half a millimetre, a third of a pixel.
    assert residuals(fitted, points, project(OVERHEAD_320, points)).metres.max() < 5e-4


def test_boards_that_lie_flat_to_the_camera_do_not_tell_the_focal_length() -> None:
    camera = looking((0.2, 0.0, 0.5), (0.2, 0.0, 0.0))
    flat = [project(camera, BOARD.points_on_table(0.13 + 0.01 * i, 0.05, 0.0, 0.0)) for i in range(4)]
    with pytest.raises(DataError, match=re.escape("do not tell the focal length; add some of the board tilted")):
        fit_intrinsics(BOARD, flat, SIZE, distortion=False)
