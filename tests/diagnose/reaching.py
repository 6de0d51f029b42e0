"""Demonstrations of the SO-101 whose path is known: its hand goes over the block, down, closes, and puts it elsewhere.

The joints are found by inverse kinematics, so what a policy makes of the data can be told in metres beforehand.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foreact.data.calibration import read_calibration
from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.records import Arm, Features
from foreact_runtime.kinematics import InverseKinematics

GRIPPER = "gripper.pos"
OPEN, CLOSED = 0.5, 0.0
LOW, HIGH = 0.012, 0.08
"""Heights of the hand at the block and on its way [m]."""
BOWL = np.array([0.15, -0.18, LOW])
"""Where the block is put down: on the table, as low as it was taken."""
OVER, DOWN, CLOSES = 8, 12, 14
"""Frames at which the hand is over the block, at the block, and closes."""
LENGTH, CHUNK = 26, 24
"""Of an episode, which ends at the bowl, and of a chunk, which ends over it, long after the grasp."""
_START = np.array([-0.13, -1.16, 0.97, 1.46, 0.0])
"""Joints of an arm whose hand points down [rad], from where the inverse kinematics start."""


def so101(folder: Path) -> Arm:
    """Return the SO-101 with its gripper, in radians."""
    file = folder / "robot.yaml"
    file.write_text(f"arm: so101\njoint_unit: rad\ngripper: {GRIPPER}\ngripper_closed: 0.31\n")
    arm = read_calibration(file).arm
    assert arm is not None
    return arm


def features(arm: Arm) -> Features:
    """Return what the demonstrations have: joints, and x and y of the block; no pictures."""
    names = (*arm.joints, GRIPPER)
    return Features(action_names=names, state_names=names, environment_names=("x", "y"), fps=10.0, arm=arm)


def demonstrated(start: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Return where the hand is at each frame and after the last, (LENGTH + 1, 3) [m], from start (3,) to block (2,)."""
    x, y = block
    frames = [0, OVER, DOWN, CLOSES, CLOSES + 3, LENGTH - 3, LENGTH]
    places = [start, (x, y, HIGH), (x, y, LOW), (x, y, LOW), (x, y, HIGH), (*BOWL[:2], HIGH), BOWL]
    return np.stack([np.interp(np.arange(LENGTH + 1), frames, of) for of in np.array(places).T], axis=1)


def scenes(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw where hands start (n, 3) and blocks stand (n, 2) [m]."""
    rng = np.random.default_rng(seed)
    starts = np.column_stack([rng.uniform(0.16, 0.20, n), rng.uniform(-0.03, 0.03, n), rng.uniform(0.09, 0.11, n)])
    return starts, np.column_stack([rng.uniform(0.16, 0.24, n), rng.uniform(-0.12, 0.12, n)])


def write(root: Path, arm: Arm, starts: np.ndarray, blocks: np.ndarray) -> Path:
    """Write an episode a scene; an action is where the joints are in the next frame."""
    inverse = InverseKinematics(arm)
    writer = DatasetWriter(root, features=features(arm), robot_type="so101")
    for start, block in zip(starts, blocks, strict=True):
        angles = _START
        rows = []
        for frame, position in enumerate(demonstrated(start, block)):
            angles = inverse.inverse(position, inverse.forward(angles)[1], angles)
            rows.append([*angles, CLOSED if frame >= CLOSES else OPEN])
        path = np.array(rows)
        staged = stage_episode(
            writer.staging,
            task="put the block down elsewhere",
            vectors={
                "observation.state": path[:-1],
                "observation.environment_state": np.tile(block, (LENGTH, 1)),
                "action": path[1:],
            },
            frames={},
            fps=10,
        )
        writer.add(staged)
    writer.finish()
    return root
