"""From a pixel to the table: by hand, and as the inverse of an independent projection."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.cameras import looking, project
from foreact.cli.main import run
from foreact.data.calibration import write_calibration
from foreact.data.locate import locate, reach
from foreact.data.sidecar import Sidecar, write_sidecar
from foreact.errors import DataError
from foreact.records import Calibration
from inspection.made_up import ARM

ABOVE = Calibration(
    size=(480, 640), focal=(600.0, 600.0), center=(320.0, 240.0), position=(0.3, 0.0, 1.0), quaternion=(0, 1, 0, 0)
)
"""One metre above (0.3, 0), looking straight down: the picture's right is the base's x, its upper side the base's y."""
SLANTED = looking((0.46, -0.02, 0.5), (0.18, -0.02, 0.0), focal=420.0, distortion=(-0.08, 0.02, 0.001, -0.0005, 0.0))
ROBOT = Sidecar(
    cameras={"above": ABOVE, "slanted": SLANTED, "wrist": replace(ABOVE, mounted_on="hand")}, environment_height=0.1
)


def test_a_pixel_below_a_camera_that_looks_down_is_there_by_hand() -> None:
    """0.9 m below the lens a pixel is 0.9 / 600 m = 1.5 mm."""
    assert locate(ROBOT, "above", 420, 200) == pytest.approx((0.3 + 0.15, 0.06))
    assert locate(ROBOT, "above", 210, 100, size=(240, 320)) == pytest.approx((0.3 + 0.15, 0.06)), "half the pixels"
    on_the_table = replace(ROBOT, environment_height=None)
    assert locate(on_the_table, "above", 420, 240) == pytest.approx((0.3 + 1 / 6, 0.0))


def test_it_is_the_inverse_of_the_projection() -> None:
    for x, y in np.random.default_rng(0).uniform((0.1, -0.1), (0.25, 0.1), (20, 2)):
        ((column, row),) = project(SLANTED, np.array([[x, y, 0.1]]))
        np.testing.assert_allclose(locate(ROBOT, "slanted", column, row), (x, y), atol=1e-6)


@pytest.mark.parametrize(
    ("camera", "pixel", "size", "message"),
    [
        ("abve", (1, 1), None, "unknown calibrated camera 'abve'; did you mean 'above'"),
        ("wrist", (1, 1), None, "camera 'wrist' moves with the hand, so its pixels have no fixed place"),
        ("above", (641, 1), None, "column 641, row 1 is outside the picture of camera 'above', 480 high and 640 wide"),
        ("above", (-1, 1), None, "column -1, row 1 is outside"),
        ("above", (1, float("nan")), None, "column 1, row nan is outside"),
        ("above", (1, 1), (640, 480), "'size' is height, then width"),
        ("above", (1, 1), (480, 480), "another shape is another part of the sensor"),
        ("level", (160, 100), None, "column 160, row 100 of camera 'level' looks past the table"),
    ],
)
def test_what_has_no_place_is_refused(
    camera: str, pixel: tuple[float, float], size: tuple[int, int] | None, message: str
) -> None:
    robot = replace(ROBOT, cameras={**ROBOT.cameras, "level": looking((0.5, 0.0, 0.5), (0.0, 0.0, 0.5))})
    with pytest.raises(DataError, match=message):
        locate(robot, camera, *pixel, size)


def test_the_command_prints_x_and_y(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "robot.yaml"
    write_calibration(path, ROBOT)
    assert run(["locate", str(path), "--camera", "above", "--pixel", "420", "200"]) == 0
    assert capsys.readouterr().out == "0.4500 0.0600\n"
    assert run(["locate", str(path), "--camera", "above", "--pixel", "999", "200"]) == 1
    assert capsys.readouterr().err.startswith("error: column 999, row 200 is outside the picture")


def test_the_command_takes_a_data_set_and_warns_beyond_the_arms_reach(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand: the arm's three links of 0.1, 0.15 and 0.15 m reach 0.4 m."""
    assert reach(ARM) == pytest.approx(0.4)
    write_sidecar(tmp_path, replace(ROBOT, arm=ARM))
    call = ["locate", str(tmp_path), "--camera", "above", "--pixel"]
    assert run([*call, "240", "240"]) == 0
    assert capsys.readouterr() == ("0.1800 0.0000\n", "")
    assert run([*call, "420", "200"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "0.4500 0.0600\n"
    assert printed.err == "warning: that is 0.45 m from the base, and the arm reaches 0.40 m at most\n"
