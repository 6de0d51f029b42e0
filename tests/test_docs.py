"""The documentation runs: every command and code block of the walkthrough, in order, in an empty folder."""

import re
import shlex
from dataclasses import replace
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.cameras import project
from data.test_calibration import BOARD, OVERHEAD_320, lying_board, tilted_corners
from foreact.cli.main import run
from foreact.data.calibration import read_calibration
from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.data.source import open_source
from foreact.errors import DataError
from foreact.sim.calibration import calibration_of_camera
from foreact.sim.env import PickPlaceEnv
from foreact.sim.scene import ACTION_NAMES
from foreact.sim.task import level
from foreact_runtime.kinematics import quaternion_matrix
from pages import ROOT, page_blocks, run_block, run_line

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def run_blocks(page: str) -> None:
    for language, body in page_blocks(page):
        assert language in ("python", "sh")
        run_block(language, body)


@pytest.mark.slow
def test_every_block_of_the_conversion_page_runs(page_folder: Path) -> None:
    run_blocks("convert.md")
    episodes = {name: len(open_source(page_folder / name).episode_indices) for name in ("chosen", "merged", "whole")}
    assert episodes == {"chosen": 3, "merged": 6, "whole": 4}


@pytest.mark.slow
def test_every_block_of_the_executor_page_runs(page_folder: Path) -> None:
    run_blocks("executor.md")
    assert (page_folder / "executor.json").exists()


@pytest.mark.slow
def test_every_block_of_the_comparison_page_runs(page_folder: Path) -> None:
    run_blocks("compare.md")
    assert (page_folder / "comparison" / "comparison.html").exists()


@pytest.mark.slow
def test_every_block_of_the_walkthrough_runs(page_folder: Path) -> None:
    run_blocks("walkthrough.md")
    assert {"eval.json", "eval.mp4", "map.png"} <= {path.name for path in page_folder.iterdir()}


def test_the_clicks_of_the_conditioning_page_give_the_camera_that_it_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are whole pixels of a camera at (0.66, 0.04, 0.60) m that looks at (0.20, 0.00, 0.00), focal length 600."""
    clicks, call = (body for language, body in page_blocks("conditioning.md")[:2])
    (tmp_path / "clicks.csv").write_text(clicks)
    words = shlex.split(call.replace("clicks.csv", str(tmp_path / "clicks.csv")))
    words[words.index("robot.yaml")] = str(tmp_path / "robot.yaml")
    assert run(words[1:]) == 0
    printed = capsys.readouterr()
    assert printed.err == "", "nothing to warn about"
    error = re.search(r"error ([\d.]+) pixels, ([\d.]+) mm", printed.out)
    assert error is not None
    assert float(error[1]) < 0.41, "rounding to whole pixels is off by 0.41, root mean square"
    assert float(error[2]) < 1
    camera = read_calibration(tmp_path / "robot.yaml").cameras["overhead"]
    np.testing.assert_allclose(camera.position, (0.66, 0.04, 0.60), atol=0.01)
    np.testing.assert_allclose(camera.focal, 600, rtol=0.01)
    forward = np.array([-0.46, -0.04, -0.60]) / np.linalg.norm([0.46, 0.04, 0.60])
    assert quaternion_matrix(camera.quaternion)[:, 2] @ forward > np.cos(np.radians(0.5))


def test_the_board_that_the_conditioning_page_draws_lies_as_its_command_says() -> None:
    """Its squares are dark where the picture is, the corner O is the first one that is found, and at X, Y."""
    drawing = next(body for language, body in page_blocks("conditioning.md") if language == "text" and "(X, Y)" in body)
    call = next(body for _, body in page_blocks("conditioning.md") if body.startswith("foreact calibrate checkerboard"))
    words = shlex.split(call)
    x, y, yaw = (float(word) for word in words[words.index("--board-pose") + 1 :][:3])
    assert yaw == 0
    inside = [match[1] for match in re.finditer(r"^[^\n]*?\|[^\n|]*\|([ #|]+)\|$", drawing, re.MULTILINE)]
    drawn = np.array([[row[2 + 3 * column : 4 + 3 * column] == "##" for column in range(10)] for row in inside])
    assert drawn.shape == (BOARD.rows + 1, BOARD.columns + 1)
    picture, _ = lying_board(yaw)
    row, column = np.indices(drawn.shape)
    middles = [x + BOARD.square * (column - 0.5), y - BOARD.square * (row - 0.5), np.zeros(drawn.shape)]
    pixels = project(OVERHEAD_320, np.stack(middles, axis=-1).reshape(-1, 3)).astype(int)
    np.testing.assert_array_equal(picture[pixels[:, 1], pixels[:, 0]].reshape(drawn.shape) < 128, drawn)
    line = next(line for line in drawing.splitlines() if "O" in line)
    assert line.index("O") == line.index("|", 3) + 1 + 4, "between the first two columns of squares"
    assert drawing.splitlines()[drawing.splitlines().index(line) - 1].endswith(f"|{inside[0]}|"), "below the first row"
    found = BOARD.find(picture)
    assert found is not None
    np.testing.assert_allclose(found[0], project(OVERHEAD_320, np.array([[x, y, 0.0]]))[0], atol=0.35)


SMALL = (48, 64)
"""Height and width of simulated pictures in the place of a camera's 480x640."""


def record_by_teleoperation(folder: Path) -> None:
    """Simulated demonstrations without coordinates and calibration, as LeRobot's teleoperation leaves them."""
    size = f"{SMALL[0]}x{SMALL[1]}"
    run_line(f"foreact record recorded --level L2 --episodes 4 --cameras {size}")
    source = open_source(folder / "recorded")
    features = replace(source.features, environment_names=(), arm=None, environment_height=0.0)
    writer = DatasetWriter(folder / "my_recording", features=features, robot_type="so101_follower")
    for index in source.episode_indices:
        episode = source.episode(index)
        assert episode.state is not None
        staged = stage_episode(
            writer.staging,
            task=episode.task,
            vectors={"observation.state": episode.state, "action": episode.action},
            frames={camera.name: source.frames(index, camera.name) for camera in features.cameras},
            fps=features.fps,
        )
        writer.add(staged)
    writer.finish()


class SimulatedArm:
    """LeRobot's robot class as far as the page uses it, on the simulation."""

    action_features = dict.fromkeys(ACTION_NAMES, float)

    def __init__(self) -> None:
        self.env = PickPlaceEnv(level("L2", overhead_size=SMALL, wrist_size=SMALL))
        self.seen, _ = self.env.reset(seed=0)
        self.sent = 0

    def get_observation(self) -> dict[str, Any]:
        pictures = {camera: self.seen[f"observation.images.{camera}"] for camera in ("overhead", "wrist")}
        return dict(zip(ACTION_NAMES, self.seen["observation.state"].tolist(), strict=True)) | pictures

    def send_action(self, action: dict[str, float]) -> None:
        assert set(action) == set(self.action_features)
        self.seen, *_ = self.env.step(np.array(list(action.values()), np.float32))
        self.sent += 1


@pytest.mark.slow
def test_every_block_of_the_conditioning_page_runs(page_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With fewer demonstrations and steps, and simulated data and arm in the place of the reader's own."""
    small = ["--train.steps", "2", "--train.warmup-steps", "1", "--train.batch-size", "2", "--policy.dim-model", "32"]
    small += ["--policy.n-encoder-layers", "1", "--policy.n-vae-encoder-layers", "1"]
    record_by_teleoperation(page_folder)
    arm = SimulatedArm()
    page: dict[str, Any] = {"__name__": "page", "arm": arm}
    pointed, written = [], page_folder / "robot.yaml"
    (page_folder / "boards").mkdir()
    for number, picture in enumerate(tilted_corners(10)[0]):
        Image.fromarray(picture).save(page_folder / "boards" / f"{number}.png")
    Image.fromarray(lying_board(0.0)[0]).save(page_folder / "boards" / "table.png")
    for language, body in page_blocks("conditioning.md"):
        if language == "csv":
            name = "clicks.csv" if body.startswith("column") else "where.csv"
            (page_folder / name).write_text(body)
        elif language == "yaml" and body.startswith("arm"):
            in_radians = body.replace("joint_unit: deg", "joint_unit: rad").replace("closed: 20.0", "closed: 0.31")
            assert in_radians != body  # the simulation's joints are in radians, the reader's in degrees
            written.write_text(written.read_text() + in_radians)
        elif language == "yaml" and body.startswith("  wrist"):
            assert written.read_text().startswith("cameras:\n  overhead:\n")
            without_wrist, wrist_entry = written.read_text(), body
            written.write_text(without_wrist.replace("cameras:\n", f"cameras:\n{body}"))
        elif language == "yaml":  # instead of the arm
            (page_folder / "pose.yaml").write_text(written.read_text().replace(in_radians, body))
            pose = read_calibration(page_folder / "pose.yaml")
        elif language == "python":
            exec(compile(body.replace("range(600)", "range(3)"), "conditioning.md", "exec"), page)
            pointed.append((page["x"], page["y"]))
        elif language == "sh":
            for line in body.splitlines():
                words = shlex.split(line.replace("400 --cameras 128x128", f"4 --cameras {SMALL[0]}x{SMALL[1]}"))
                if "checkerboard" in words:  # instead of the clicks, with which the page goes on
                    words[words.index("robot.yaml")] = "board.yaml"
                words += small if words[1] == "train" else []
                words = [name for word in words for name in (sorted(glob(word)) if "*" in word else [word])]
                run_line(shlex.join(words))
                if words[1] == "locate":
                    printed = capsys.readouterr().out.splitlines()[-1]
        else:
            assert language == "text", language
    assert len(pointed) == 4, "a click, a detector, a language model, and what is done with it"
    np.testing.assert_allclose(pointed, [[float(number) for number in printed.split()]] * 4, atol=1e-4)
    assert f"here `{printed}`" in (ROOT / "docs/conditioning.md").read_text()
    assert arm.sent == 3
    for answer in ("It is at 322 214", "322", "322 214 7", ""):
        with pytest.raises(ValueError, match="is not a column and a row"):
            page["pointed"](answer)
    assert page["pointed"]("322.5, 214\n") == (322.5, 214.0)
    board = read_calibration(page_folder / "board.yaml").cameras["overhead"]
    np.testing.assert_allclose(board.position, OVERHEAD_320.position, atol=0.005)
    whole = read_calibration(written)
    assert set(whole.cameras) == {"overhead", "wrist"}
    wrist, simulated = whole.cameras["wrist"], calibration_of_camera(arm.env.model, "wrist", (480, 640))
    assert wrist.mounted_on == "hand"
    np.testing.assert_allclose(wrist.position, simulated.position, atol=1e-3)
    np.testing.assert_allclose(wrist.quaternion, simulated.quaternion, atol=1e-3)
    np.testing.assert_allclose(wrist.focal, simulated.focal, atol=0.5)
    looks = re.search(r"`(look_at: .+?)` and `(up: .+?)`", (ROOT / "docs/conditioning.md").read_text())
    assert looks is not None
    in_words = re.sub(r"quaternion: .*", rf"{looks[1]}\n    {looks[2]}", wrist_entry)
    written.write_text(without_wrist.replace("cameras:\n", f"cameras:\n{in_words}"))
    np.testing.assert_allclose(read_calibration(written).cameras["wrist"].quaternion, wrist.quaternion, atol=1e-3)
    written.write_text(f"{without_wrist}cameras:\n{wrist_entry}")
    with pytest.raises(DataError, match="the key 'cameras' stands there already, in line 1; write what belongs to it"):
        read_calibration(written)
    assert set(pose.cameras) == {"overhead", "wrist"}
    assert pose.recorded_pose is not None
    assert pose.recorded_pose.quaternion == ("ee.qw", "ee.qx", "ee.qy", "ee.qz")
    told, where = open_source(page_folder / "my_dataset"), (page_folder / "where.csv").read_text().split()[2]
    environment_state = told.episode(1).environment_state
    assert environment_state is not None
    np.testing.assert_allclose(environment_state[-1], [float(number) for number in where.split(",")[1:]], atol=1e-6)
    assert told.features.arm is not None
    assert {camera.name for camera in told.features.cameras if camera.calibration is not None} == {"overhead", "wrist"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_or_names_exists(page: Path) -> None:
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    named = re.findall(r"`((?:src|tests|docs|benchmarks|scripts)/[\w./]+\.\w+)`", text)
    for link in links:
        assert (page.parent / link).exists(), link
    for name in named:
        assert (ROOT / name).exists(), name
