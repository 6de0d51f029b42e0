"""The SO-101 loop of docs/robot.md runs as it stands: LeRobot's own robot class, bus and driver, simulated servos."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from simulated_so101 import MOTORS, RANGES, Servos, picture, write_calibration

from foreact import load_policy
from foreact.config import PolicyConfig
from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.deploy.export_bundle import export_bundle
from foreact.records import Camera, Features
from untrained import save_untrained

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMES = tuple(f"{motor}.pos" for motor in MOTORS)
FEATURES = Features(
    action_names=NAMES,
    state_names=NAMES,
    environment_names=("x", "y"),
    cameras=(Camera(name="overhead", height=48, width=64),),
    fps=30.0,
)
CONFIG = PolicyConfig(
    chunk_size=10,
    n_action_steps=5,
    vision_backbone="cnn",
    pretrained_backbone_weights=None,
    backbone_norm="group",
    dim_model=32,
    n_heads=2,
    dim_feedforward=32,
    n_encoder_layers=1,
    n_vae_encoder_layers=1,
    latent_dim=4,
)
START = (2100, 1950, 2050, 2000, 2047, 2600)


def degrees(raw: tuple[int, ...]) -> np.ndarray:
    """What LeRobot says of raw positions: degrees from the middle of the range, the gripper in hundredths of it."""
    middle = np.array([(low + high) / 2 for low, high in RANGES])
    angles = (np.array(raw) - middle) * 360 / 4095
    low, high = RANGES[-1]
    return np.append(angles[:-1], (raw[-1] - low) / (high - low) * 100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a recording in degrees, a policy and its bundle."""
    folder = tmp_path_factory.mktemp("so101")
    writer = DatasetWriter(folder / "data", features=FEATURES, robot_type="so101_follower")
    rng = np.random.default_rng(0)
    for _ in range(3):
        state = degrees(START) + np.cumsum(rng.normal(0, 1, (15, 6)), axis=0)
        vectors = {
            "observation.state": state,
            "observation.environment_state": np.tile(rng.uniform((0.1, -0.2), (0.3, 0.2)), (15, 1)),
            "action": state + rng.normal(0, 0.5, (15, 6)),
        }
        frames = {"overhead": [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(15)]}
        writer.add(stage_episode(writer.staging, task="reach", vectors=vectors, frames=frames, fps=30))
    writer.finish()
    save_untrained(folder / "data", folder / "run", CONFIG)
    export_bundle(folder / "run", folder / "bundle", data=folder / "data")
    write_calibration(folder / "calibration/robots/so_follower/my_arm.json")
    return folder


def block(port: str) -> str:
    """The page's, on these servos and with a camera that needs no hardware."""
    (code,) = [of for of in BLOCK.findall((ROOT / "docs/robot.md").read_text()) if "SO101Follower" in of]
    for page, here in (
        ("/dev/ttyACM0", port),
        ("from lerobot.cameras.opencv import OpenCVCameraConfig", "from simulated_so101 import PictureCameraConfig"),
        ("OpenCVCameraConfig(index_or_path=0, width=640, height=480", "PictureCameraConfig(width=64, height=48"),
    ):
        assert code.count(page) == 1
        code = code.replace(page, here)
    return code


def interrupted(driver: subprocess.Popen[str]) -> str:
    """Press Ctrl-C and return stderr."""
    driver.send_signal(signal.SIGINT)
    try:
        return driver.communicate(timeout=45)[1]
    except subprocess.TimeoutExpired:
        driver.send_signal(signal.SIGABRT)  # for which it says where it was
        raise AssertionError(f"Ctrl-C did not end the loop: {driver.communicate()[1]}") from None


@pytest.mark.parametrize("load", ["foreact_runtime", "foreact"])
def test_the_arm_is_driven_until_ctrl_c_which_takes_its_torque_off(folder: Path, load: str) -> None:
    found = os.pathsep.join(str(ROOT / part) for part in ("src", "runtime/src", "tests_lerobot"))
    environment = os.environ | {
        "PYTHONPATH": found,
        "HF_LEROBOT_CALIBRATION": str(folder / "calibration"),
        "OMP_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "1",
    }
    with Servos(START) as servos:
        code = block(servos.port).replace("from foreact_runtime import", f"from {load} import")
        call = [sys.executable, "-c", code if load == "foreact_runtime" else code.replace('"bundle"', '"run"')]
        driver = subprocess.Popen(call, cwd=folder, stderr=subprocess.PIPE, text=True, env=environment)
        deadline = time.monotonic() + 120
        while len(servos.told) < 25 and driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        errors = interrupted(driver)
        assert len(servos.told) >= 25, errors
        assert driver.returncode != 0
        assert errors.rstrip().endswith("KeyboardInterrupt"), errors
        assert all(servos.told_with_torque)
        assert servos.torque == [0] * len(MOTORS)
    observation = {
        "observation.state": degrees(START).astype(np.float32),
        "observation.environment_state": np.array([0.21, -0.05], np.float32),
        "observation.images.overhead": picture(48, 64),
    }
    first = load_policy(folder / "run").act(observation)
    np.testing.assert_allclose(degrees(servos.told[0]), first, rtol=0, atol=0.1)  # one position is 0.09 degrees
    assert len(set(servos.told)) > 5
