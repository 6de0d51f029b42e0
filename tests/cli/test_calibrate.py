"""From clicks and pictures on disk to a calibration file."""

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.cameras import SIZE, project, turn_of
from data.test_calibration import BOARD, LENS, OVERHEAD_320, YAML, lying_board, tilted_corners
from foreact.cli.main import run
from foreact.data.calibration import read_calibration
from hidden import hiding

LIES_AT_THE_ORIGIN = ["--board-image", "{grey}", "--board-pose", "0", "0", "0"]
CAMERA = replace(OVERHEAD_320, center=(160.0, 120.0), distortion=())
POINTS = np.array(
    [[x, y, 0.0] for x in (0.10, 0.18, 0.26) for y in (-0.12, 0.0, 0.09)] + [[0.15, 0.05, 0.06], [0.22, -0.05, 0.06]]
)


def clicks(path: Path, points: np.ndarray = POINTS, shift: dict[int, tuple[float, float]] | None = None) -> Path:
    lines = ["column,row,x,y,z"]
    for number, ((column, row), (x, y, z)) in enumerate(zip(project(CAMERA, points), points, strict=True)):
        right, down = (shift or {}).get(number, (0.0, 0.0))
        lines.append(f"{column + right:.3f},{row + down:.3f},{x},{y},{z}")
    path.write_text("\n".join(lines) + "\n")
    return path


def points_call(csv: Path, out: Path, *more: str) -> list[str]:
    return ["calibrate", "points", str(csv), "--camera", "overhead", "--out", str(out), *more]


def test_clicked_points_give_the_camera_to_a_millimetre(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rig.yaml"
    assert run(points_call(clicks(tmp_path / "clicks.csv"), out, "--size", "240", "320")) == 0
    camera = read_calibration(out).cameras["overhead"]
    assert np.linalg.norm(np.subtract(camera.position, CAMERA.position)) < 1e-3
    assert camera.focal[0] == pytest.approx(CAMERA.focal[0], rel=1e-3)
    np.testing.assert_allclose(turn_of(camera), turn_of(CAMERA), atol=1e-3)
    assert (camera.size, camera.center, camera.distortion) == (SIZE, (160.0, 120.0), ())
    printed = capsys.readouterr()
    assert re.search(r"stands at 0.460., -0.020., 0.500. m, focal length 420.0 pixels; error 0.00 pixels", printed.out)
    assert printed.err == "", "nothing to warn about"


def test_a_known_focal_length_is_kept_and_the_size_comes_from_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (320, 240)).save(tmp_path / "view.png")
    out, image = tmp_path / "rig.yaml", str(tmp_path / "view.png")
    flat = clicks(tmp_path / "clicks.csv", POINTS[[0, 2, 6, 8]])
    assert run(points_call(flat, out, "--image", image, "--focal", "420")) == 0
    camera = read_calibration(out).cameras["overhead"]
    assert camera.focal == (420.0, 420.0)
    assert np.linalg.norm(np.subtract(camera.position, CAMERA.position)) < 1e-3


def test_a_wrong_click_is_named_by_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = clicks(tmp_path / "clicks.csv", shift={4: (25.0, -10.0)})
    assert run(points_call(csv, tmp_path / "rig.yaml", "--size", "240", "320")) == 0
    warned = capsys.readouterr().err
    assert re.match(r"warning: the point of line 6 is \d+\.\d pixels, \d+ mm off; check it, then the others\n", warned)


def test_points_that_tell_little_are_warned_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = clicks(tmp_path / "clicks.csv", POINTS[[0, 1, 3, 4]])
    assert run(points_call(csv, tmp_path / "rig.yaml", "--size", "240", "320")) == 0
    warned = capsys.readouterr().err
    assert re.search(r"a click that is 1 pixel off changes the focal length by \d+ %", warned)
    assert "with 4 points and a fitted focal length a wrong point does not show; give 8 or more" in warned


def test_a_file_is_extended_by_a_camera(tmp_path: Path) -> None:
    out = tmp_path / "rig.yaml"
    out.write_text(YAML)
    before = read_calibration(out)
    call = points_call(clicks(tmp_path / "clicks.csv"), out, "--size", "240", "320")
    call[call.index("overhead")] = "side"
    assert run(call) == 0
    after = read_calibration(out)
    assert set(after.cameras) == {"overhead", "side"}
    assert replace(after, cameras={"overhead": after.cameras["overhead"]}) == before


def pictures(folder: Path, n: int) -> list[str]:
    paths = [folder / f"board{number}.png" for number in range(n)]
    for path, picture in zip(paths, tilted_corners(n)[0], strict=True):
        Image.fromarray(picture).save(path)
    return [str(path) for path in paths]


def test_pictures_of_a_checkerboard_give_the_whole_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tilted = pictures(tmp_path, 10)
    picture, points = lying_board(0.3)
    lying, empty, out = tmp_path / "lying.png", tmp_path / "empty.png", tmp_path / "rig.yaml"
    Image.fromarray(picture).save(lying)
    Image.fromarray(np.full(SIZE, 99, np.uint8)).save(empty)
    x, y, _ = points[0]
    call = ["calibrate", "checkerboard", *tilted, str(empty), "--square", "0.02", "--camera", "overhead"]
    pose = ["--board-image", str(lying), "--board-pose", f"{x:.9f}", f"{y:.9f}", f"{math.degrees(0.3):.9f}"]
    assert run([*call, "--out", str(out), *pose]) == 0
    camera = read_calibration(out).cameras["overhead"]
    assert np.linalg.norm(np.subtract(camera.position, OVERHEAD_320.position)) < 5e-3
    np.testing.assert_allclose(camera.focal, OVERHEAD_320.focal, rtol=0.01)
    # What it is for: anything between table and gripper is seen where it is, to half a pixel.
    space = np.random.default_rng(0).uniform((0.1, -0.08, 0.0), (0.26, 0.08, 0.1), size=(50, 3))
    np.testing.assert_allclose(project(camera, space), project(OVERHEAD_320, space), atol=0.5)
    printed = capsys.readouterr()
    assert "11 of 12 pictures: focal length 4" in printed.out
    assert printed.err == f"warning: no board of 9 x 6 inner corners in '{empty}'\n"


def board_call(folder: Path, yaw: float) -> list[str]:
    """A board with its columns along the base's x axis, and a yaw [degrees] that is said of it."""
    picture, points = lying_board(0.0)
    Image.fromarray(picture).save(folder / "lying.png")
    call = [
        "calibrate",
        "checkerboard",
        *pictures(folder, 3),
        "--camera",
        "overhead",
        "--out",
        str(folder / "rig.yaml"),
    ]
    pose = ["--board-pose", *(f"{value:.9f}" for value in points[0, :2]), f"{yaw:g}"]
    return [*call, "--square", str(BOARD.square), "--board-image", str(folder / "lying.png"), *pose]


def test_what_is_printed_says_where_the_camera_stands_as_seen_from_the_arm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(board_call(tmp_path, 0.0)) == 0
    printed = capsys.readouterr()
    assert (
        "\nseen from the arm: 0.46 m in front of the base, 0.02 m to the right, 0.50 m above the table; " in printed.out
    )
    assert "looks back, 61 degrees downwards, at the table 0.1" in printed.out
    assert printed.err == ""
    assert run(points_call(clicks(tmp_path / "clicks.csv"), tmp_path / "points.yaml", "--size", "240", "320")) == 0
    assert "\nseen from the arm: 0.46 m in front of the base, 0.02 m to the right, 0.50 m" in capsys.readouterr().out


def test_a_board_that_is_said_to_lie_turned_puts_the_camera_behind_the_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fit is as good as with the right yaw, so nothing else can tell."""
    assert run(board_call(tmp_path, 180.0)) == 0
    printed = capsys.readouterr()
    assert re.search(r"error 0\.[01]\d pixels", printed.out)
    assert re.fullmatch(
        r"warning: camera 'overhead' would stand behind the base \(x = -0.26\d m\); if it does not, --board-pose is "
        r"not how the board lay: .* docs/conditioning\.md shows both\n",
        printed.err,
    )


def test_exchanged_x_and_y_put_the_camera_below_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv, flat = tmp_path / "clicks.csv", POINTS[:9]
    pixels = project(CAMERA, flat)
    csv.write_text("\n".join(f"{c:.3f},{r:.3f},{y},{x},{z}" for (c, r), (x, y, z) in zip(pixels, flat, strict=True)))
    assert run(points_call(csv, tmp_path / "rig.yaml", "--size", "240", "320", "--focal", "420")) == 0
    warned = capsys.readouterr().err
    assert re.fullmatch(
        r"warning: camera 'overhead' would stand behind the base \(x = -0.020 m\) and below the table "
        r"\(z = -0.500 m\); if it does not, x, y or z in '.*clicks.csv' .*\n",
        warned,
    )


def test_intrinsics_of_a_camera_on_the_hand_keep_its_pose_and_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rig.yaml"
    call = ["calibrate", "checkerboard", *pictures(tmp_path, 4), "--square", str(BOARD.square), "--camera", "wrist"]
    assert run([*call, "--out", str(out)]) == 0
    assert f"\nwritten to {out}, without a pose: " in capsys.readouterr().out
    pose = "    mounted_on: hand\n    position: [0.0, 0.055, 0.081]\n    quaternion: [0.23, 0.973, 0.0, 0.0]\n"
    out.write_text(out.read_text() + pose)
    before = read_calibration(out).cameras["wrist"]
    assert run([*call, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith(f"\nwritten to {out}; the pose on the hand that stands there is kept\n")
    after = read_calibration(out).cameras["wrist"]
    assert (after.mounted_on, after.position, after.quaternion) == ("hand", before.position, before.quaternion)


def test_intrinsics_first_and_the_pose_by_points_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rig.yaml"
    call = ["calibrate", "checkerboard", *pictures(tmp_path, 6), "--square", str(BOARD.square), "--camera", "overhead"]
    assert run([*call, "--out", str(out)]) == 0
    assert "without a pose" in capsys.readouterr().out
    bent = project(replace(CAMERA, center=OVERHEAD_320.center, distortion=LENS), POINTS)
    rows = [f"{column:.3f},{row:.3f},{x},{y},{z}" for (column, row), (x, y, z) in zip(bent, POINTS, strict=True)]
    (tmp_path / "clicks.csv").write_text("\n".join(rows))
    assert run(points_call(tmp_path / "clicks.csv", out, "--keep-intrinsics")) == 0
    camera = read_calibration(out).cameras["overhead"]
    assert np.any(camera.distortion)
    assert np.linalg.norm(np.subtract(camera.position, OVERHEAD_320.position)) < 5e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["circles"], "error: unknown kind of calibration 'circles'; choices: checkerboard, points"),
        (["points", "{csv}"], "error: give one of --image, --size and --keep-intrinsics"),
        (["points", "{csv}", "--size", "9", "9", "--keep-intrinsics"], "error: give one of --image, --size and"),
        (["points", "{tmp}/none.csv", "--size", "240", "320"], "none.csv'"),
        (["points", "{csv}", "--image", "{tmp}/none.png"], "error: there is no picture at"),
        (["points", "{csv}", "--image", "{csv}"], "clicks.csv' is not a picture"),
        (["points", "{csv}", "--size", "240", "320", "--focal", "-3"], "error: --focal must be above 0"),
        (["points", "{csv}", "--size", "0", "320"], "error: --size 0 320 is not a height and a width"),
        (["points", "{csv}", "--size", "100", "100"], "clicks.csv', line 3: column 168.74, row 70.955 is outside"),
        (["points", "{csv}", "--keep-intrinsics"], "error: no calibration file at"),
        (["points", "{tmp}/words.csv", "--size", "9", "9"], "words.csv', line 2: '1,2,3,4,here' is not five numbers"),
        (["points", "{tmp}/empty.csv", "--size", "9", "9"], "error: 0 points are too few; 4 in a plane or 6"),
        (["points", "{csv}", "--sise", "240", "320"], "error: unknown option '--sise'; did you mean '--size'"),
        (["checkerboard", "{tmp}/none.png", "--square", "0.02"], "error: there is no picture at"),
        (["checkerboard", "--square", "0.02"], "error: no pictures: type foreact calibrate checkerboard PICTURES"),
        (["checkerboard", "{grey}", "--square", "0"], "error: --columns and --rows must be at least 3, --square"),
        (["checkerboard", "{grey}", "--square", "1", "--board-image", "{grey}"], "error: --board-pose and --board-im"),
        (
            [
                "checkerboard",
                "{grey}",
                "--square",
                "1",
                "--columns",
                "8",
                "--board-image",
                "{grey}",
                "--board-pose",
                "0",
                "0",
                "0",
            ],
            "error: a board of 8 x 6 inner corners looks the same upside down; for --board-pose one must be odd",
        ),
        (["checkerboard", "{grey}", "{small}", "--square", "1"], "all pictures must be of one camera at one size"),
        (["checkerboard", "{grey}", "--square", "1"], "error: 0 of 1 pictures show a board of 9 x 6 inner corners"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"tmp": str(tmp_path), "csv": str(tmp_path / "clicks.csv")}
    clicks(tmp_path / "clicks.csv")
    (tmp_path / "words.csv").write_text("column,row,x,y,z\n1,2,3,4,here\n")
    (tmp_path / "empty.csv").write_text("column,row,x,y,z\n\n")
    for name, size in (("grey", (32, 24)), ("small", (16, 12))):
        places[name] = str(tmp_path / f"{name}.png")
        Image.new("L", size, 99).save(places[name])
    call = ["calibrate", *(word.format(**places) for word in arguments)]
    assert run([*call, "--camera", "overhead", "--out", str(tmp_path / "rig.yaml")]) == 1
    printed = capsys.readouterr().err
    lines = [line for line in printed.splitlines() if not line.startswith("warning: no board")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "rig.yaml").exists()


def test_the_help_names_both_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["calibrate", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "  checkerboard  " in printed
    assert "  points  " in printed


def test_a_missing_opencv_is_named_with_the_command_to_type(tmp_path: Path) -> None:
    """A real interpreter in which OpenCV cannot be found."""
    call = points_call(clicks(tmp_path / "clicks.csv"), tmp_path / "rig.yaml", "--size", "240", "320")
    code = f"{hiding('cv2')}from foreact.cli.main import run\nsys.exit(run({call!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "error: package 'cv2' is not installed; type: pip install 'foreact[calibrate]'\n"
