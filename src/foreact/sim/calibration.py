"""What a user would calibrate, read from the MuJoCo model instead: cameras, and the arm's chain."""

import math
from typing import Any

import numpy as np

from foreact.data.sidecar import Sidecar
from foreact.records import Arm, Calibration
from foreact.sim.backend import mujoco
from foreact.sim.env import CLOSING_ANGLE
from foreact.sim.looks import FIELD_OF_VIEW
from foreact.sim.scene import ACTION_NAMES, ARM_JOINTS, BLOCK_SIZE, OVERHEAD_FOVY, build_model
from foreact.sim.task import TaskConfig

_OPENCV = np.diag([1.0, -1.0, -1.0])
"""MuJoCo's cameras look along -z with y up, OpenCV's along z with y down."""


def calibration_of_task(task: TaskConfig) -> Sidecar:
    """Return what a recording says beside its data: cameras at their recorded size, arm, height of a block's centre.

    Where looks vary, each episode has an overhead camera of its own; the one described is their mean.

    Raises:
        MissingExtraError: If the robot's package is not installed.
    """
    model = build_model(task)
    if task.looks == "vary":
        model.camera("overhead").fovy[:] = OVERHEAD_FOVY + np.mean(FIELD_OF_VIEW)
    return Sidecar(
        cameras={camera: calibration_of_camera(model, camera, task.size(camera)) for camera in task.cameras},
        arm=arm_of_model(model),
        environment_height=BLOCK_SIZE / 2,
    )


def calibration_of_camera(model: mujoco.MjModel, camera: str, size: tuple[int, int]) -> Calibration:
    """Return a camera's calibration as built: in the world, which is the base's frame, or on the hand.

    Args:
        model: The scene; a camera on the body `gripper` is on the hand.
        camera: Its name.
        size: Height and width [pixels] of its pictures.
    """
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    index = model.camera(camera).id
    position, turn = data.cam_xpos[index], data.cam_xmat[index].reshape(3, 3) @ _OPENCV
    on_hand = model.body(model.cam_bodyid[index]).name == "gripper"
    if on_hand:
        site = model.site("grip").id
        hand = data.site_xmat[site].reshape(3, 3)
        position, turn = hand.T @ (position - data.site_xpos[site]), hand.T @ turn
    height, width = size
    focal = height / 2 / math.tan(math.radians(model.cam_fovy[index]) / 2)
    return Calibration(
        size=size,
        focal=(focal, focal),
        center=(width / 2, height / 2),
        position=_plain(position),
        quaternion=_quaternion(turn),
        mounted_on="hand" if on_hand else "base",
    )


def arm_of_model(model: mujoco.MjModel) -> Arm:
    """Return the chain of the arm's joints up to the site `grip`, in radians."""
    joints = [model.joint(name) for name in ARM_JOINTS]
    bodies = [model.body(int(joint.bodyid[0])) for joint in joints]
    positions, quaternions = [], []
    for number, body in enumerate(bodies):
        position, quaternion = np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
        stop = bodies[number - 1].id if number else 0
        chain = []
        part = body.id
        while part != stop:  # bodies without joints may lie between
            chain.append(part)
            part = int(model.body_parentid[part])
        for part in reversed(chain):
            moved = np.zeros(3)
            mujoco.mju_rotVecQuat(moved, model.body_pos[part], quaternion)
            position = position + moved
            turned = np.zeros(4)
            mujoco.mju_mulQuat(turned, quaternion, model.body_quat[part])
            quaternion = turned
        positions.append(_plain(position))
        quaternions.append(_plain(quaternion))
    for joint in joints:
        if np.any(joint.pos):
            raise ValueError(f"joint '{joint.name}' does not turn about its body's origin")
    site = model.site("grip")
    return Arm(
        joints=ACTION_NAMES[: len(joints)],
        positions=tuple(positions),
        quaternions=tuple(quaternions),
        axes=tuple(_plain(joint.axis) for joint in joints),
        limits=tuple((float(joint.range[0]), float(joint.range[1])) for joint in joints),
        hand_position=_plain(site.pos),
        hand_quaternion=_plain(site.quat),
        gripper=ACTION_NAMES[-1],
        gripper_closed=CLOSING_ANGLE,
    )


def _quaternion(turn: np.ndarray) -> tuple[float, float, float, float]:
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(turn).ravel())
    return _plain(quaternion)


def _plain(values: np.ndarray) -> Any:
    return tuple(float(value) for value in values)
