"""The documentation runs: every command and code block of the walkthrough, in order, in an empty folder."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from foreact.cli.main import run
from foreact.data.calibration import read_calibration
from foreact.data.source import open_source
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


@pytest.mark.slow
def test_every_block_of_the_conditioning_page_runs(page_folder: Path) -> None:
    """With fewer demonstrations and steps, and simulated data in the place of the reader's own."""
    small = ["--train.steps", "2", "--train.warmup-steps", "1", "--train.batch-size", "2", "--policy.dim-model", "32"]
    small += ["--policy.n-encoder-layers", "1", "--policy.n-vae-encoder-layers", "1"]
    blocks = page_blocks("conditioning.md")
    assert [language for language, _ in blocks] == ["csv", "sh", "yaml", "sh", "sh", "sh", "sh", "python"]
    (page_folder / "clicks.csv").write_text(blocks[0][1])
    for language, body in blocks[1:7]:
        if language == "yaml":
            in_radians = body.replace("joint_unit: deg", "joint_unit: rad").replace("closed: 20.0", "closed: 0.31")
            assert in_radians != body  # the simulation's joints are in radians, the reader's in degrees
            with (page_folder / "robot.yaml").open("a") as file:
                file.write(in_radians)
            continue
        for line in body.splitlines():
            words = shlex.split(line.replace("--episodes 400 --cameras 128x128", "--episodes 4 --cameras 48x64"))
            words += small if words[1] == "train" else []
            words = [word.replace("my_dataset", "demos") for word in words]
            run_line(shlex.join(words))
    code = (
        "from foreact.sim.env import PickPlaceEnv\n"
        "from foreact.sim.task import level\n"
        "env = PickPlaceEnv(level('L2', overhead_size=(48, 64), wrist_size=(48, 64)))\n"
        "observation, _ = env.reset(seed=0)\n" + blocks[7][1] + "assert action.shape == (6,)\n"
    ).replace("runs/grounded", "runs/compact")
    run_block("python", code)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_or_names_exists(page: Path) -> None:
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    named = re.findall(r"`((?:src|tests|docs|benchmarks|scripts)/[\w./]+\.\w+)`", text)
    for link in links:
        assert (page.parent / link).exists(), link
    for name in named:
        assert (ROOT / name).exists(), name
