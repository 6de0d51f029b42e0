"""Features of a data set that nobody has yet: the sizes of a robot, for planning what training on it would cost."""

from __future__ import annotations

from dataclasses import dataclass

from foreact.records import Arm, Calibration, Camera, Features


@dataclass(frozen=True, kw_only=True)
class Robot:
    """What a robot's data usually are."""

    size: tuple[int, int]
    """Height and width of the pictures."""
    n_cameras: int
    state_dim: int
    action_dim: int
    depth: bool = False
    """Whether its cameras are RGB-D."""


SO101 = Robot(size=(480, 640), n_cameras=2, state_dim=6, action_dim=6)
SMALL = Robot(size=(96, 96), n_cameras=2, state_dim=6, action_dim=6)
ROBOTS = {
    "so101": SO101,
    "so101-grounded": SO101,
    "compact": SMALL,
    "compact-grounded": Robot(size=(128, 128), n_cameras=2, state_dim=6, action_dim=6),
    "aloha": Robot(size=(480, 640), n_cameras=4, state_dim=14, action_dim=14),
    "r1pro": Robot(size=(720, 720), n_cameras=3, state_dim=37, action_dim=23, depth=True),
}
"""By preset (ACT.md 1); presets without an entry are planned for an SO-101."""


def stand_in_features(robot: Robot, *, fps: float = 30.0) -> Features:
    """Return features of a robot's sizes, with the coordinates of a cue.

    The first camera stands beside the arm and the others are on its hand, all of them calibrated, and the arm has five
    joints and a gripper, so that every way of conditioning can be planned. None of their numbers means anything.
    """
    height, width = robot.size

    def camera(i: int) -> Camera:
        seen = Calibration(
            size=robot.size,
            focal=(float(width), float(width)),
            center=(width / 2, height / 2),
            position=(0.0, 0.0, 1.0),
            quaternion=(0.0, 1.0, 0.0, 0.0),
            mounted_on="base" if i == 0 else "hand",
        )
        depth_range = (0.1, 5.0) if robot.depth else None
        return Camera(name=f"camera{i}", height=height, width=width, depth_range=depth_range, calibration=seen)

    joints = tuple(f"joint{i}" for i in range(5))
    arm = Arm(
        joints=joints,
        positions=((0.0, 0.0, 0.1),) * 5,
        quaternions=((1.0, 0.0, 0.0, 0.0),) * 5,
        axes=((0.0, 1.0, 0.0),) * 5,
        limits=((-2.0, 2.0),) * 5,
        hand_position=(0.0, 0.0, 0.1),
        hand_quaternion=(1.0, 0.0, 0.0, 0.0),
        gripper="gripper",
    )
    names = (*joints, "gripper", *(f"more{i}" for i in range(max(robot.state_dim, robot.action_dim) - 6)))
    return Features(
        action_names=names[: robot.action_dim],
        state_names=names[: robot.state_dim],
        environment_names=("target_x", "target_y"),
        cameras=tuple(camera(i) for i in range(robot.n_cameras)),
        fps=fps,
        arm=arm,
    )
