"""`meta/foreact.json`: what LeRobot's files have no place for. LeRobot ignores it.

Its keys are those of `Sidecar`, with null where something is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from foreact.data.fields import Fields
from foreact.data.files import write_json
from foreact.data.lerobot_info import load_json
from foreact.errors import DataError, unknown_name
from foreact.records import (
    Arm,
    Calibration,
    Features,
    RecordedPose,
    arm_from_dict,
    calibration_from_dict,
    recorded_pose_from_dict,
)

SIDECAR = "meta/foreact.json"


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """Where cameras and arm stand, what the coordinates mean, and which episodes show the same scene."""

    cameras: Mapping[str, Calibration] = field(default_factory=dict)
    """By camera name; a camera that is not calibrated is not in it."""
    arm: Arm | None = None
    """The arm's kinematics; None where they are not known."""
    recorded_pose: RecordedPose | None = None
    """Which dimensions of the state say where the hand is; None where nobody has said."""
    environment_height: float | None = None
    """Height [m] above the base's origin of the point that the coordinates mean; None where nobody has said."""
    scenes: tuple[int, ...] | None = None
    """Scene of each episode, in the order of their indices; None where each episode has its own."""


def write_sidecar(root: Path, sidecar: Sidecar) -> None:
    """Write `meta/foreact.json` of a data set, complete or not at all.

    Raises:
        DataError: If the file cannot be written.
    """
    write_json(root / SIDECAR, asdict(sidecar))


def read_sidecar(root: Path) -> Sidecar:
    """Read `meta/foreact.json` of a data set; a data set without one has an empty `Sidecar`.

    Raises:
        DataError: If it is damaged: the message names the file and the key.
    """
    path = root / SIDECAR
    if not path.is_file():
        return Sidecar()
    fields = Fields(load_json(path), f"'{path}'", Sidecar.__dataclass_fields__)
    cameras = fields.get("cameras") if "cameras" in fields else {}
    if not isinstance(cameras, Mapping):
        raise DataError(f"'{path}': 'cameras' holds a {type(cameras).__name__}, expected calibrations by camera name")
    scenes = fields.get("scenes") if "scenes" in fields else None
    if scenes is not None and not (isinstance(scenes, list) and all(type(scene) is int for scene in scenes)):
        raise DataError(f"'{path}': 'scenes' is not a list of whole numbers")
    return Sidecar(
        cameras={name: parse_calibration(of, f"'{path}', camera '{name}'") for name, of in cameras.items()},
        arm=parse_arm(fields.get("arm"), f"'{path}', arm") if "arm" in fields else None,
        recorded_pose=parse_recorded_pose(fields.get("recorded_pose"), f"'{path}', recorded_pose")
        if "recorded_pose" in fields
        else None,
        environment_height=fields.number("environment_height") if "environment_height" in fields else None,
        scenes=None if scenes is None else tuple(scenes),
    )


def parse_calibration(values: Any, where: str) -> Calibration:
    """Build a `Calibration` from plain values as `dataclasses.asdict` gives them.

    Raises:
        DataError: If a key is unknown or missing, or its value has a wrong type or length.
    """
    fields = Fields(values, where, Calibration.__dataclass_fields__)
    distortion = fields.get("distortion")
    return calibration_from_dict(
        {
            "size": fields.sizes("size", 2),
            "focal": fields.positive("focal", 2),
            "center": fields.numbers("center", 2),
            "position": fields.numbers("position", 3),
            "quaternion": fields.unit("quaternion", 4),
            "distortion": () if distortion == [] else fields.numbers("distortion", 5),
            "mounted_on": fields.choice("mounted_on", ("base", "hand")),
        }
    )


def parse_arm(values: Any, where: str) -> Arm:
    """Build an `Arm` from plain values as `dataclasses.asdict` gives them; raises like `parse_calibration`."""
    fields = Fields(values, where, Arm.__dataclass_fields__)
    joints = fields.names("joints")
    n = len(joints)
    limits = fields.rows("limits", n, 2)
    for joint, (lower, upper) in zip(joints, limits, strict=True):
        if lower >= upper:
            raise DataError(f"{where}: 'limits' of joint '{joint}' are {lower:g} and {upper:g}, expected lower, upper")
    return arm_from_dict(
        {
            "joints": joints,
            "positions": fields.rows("positions", n, 3),
            "quaternions": fields.units("quaternions", n, 4),
            "axes": fields.units("axes", n, 3),
            "limits": limits,
            "hand_position": fields.numbers("hand_position", 3),
            "hand_quaternion": fields.unit("hand_quaternion", 4),
            "unit": fields.choice("unit", ("rad", "deg")),
            "gripper": fields.text("gripper") if "gripper" in fields else None,
            "gripper_closed": fields.number("gripper_closed"),
        }
    )


def parse_recorded_pose(values: Any, where: str) -> RecordedPose:
    """Build a `RecordedPose` from plain values as `dataclasses.asdict` gives them; raises like `parse_calibration`."""
    fields = Fields(values, where, RecordedPose.__dataclass_fields__)
    return recorded_pose_from_dict(
        {"position": fields.names("position", 3), "quaternion": fields.names("quaternion", 4)}
    )


def apply_calibration(features: Features, calibration: Sidecar, origin: str = "the calibration") -> Features:
    """Return the features with what a calibration says; what it does not say stays.

    Args:
        features: As recorded.
        calibration: Of the data set's sidecar or of a calibration file.
        origin: Where the calibration comes from, for messages.

    Raises:
        DataError: If it names a camera, a joint, a gripper or a dimension of the state that the data do not have, or a
            size on its side.
    """
    _check_names("camera", calibration.cameras, [camera.name for camera in features.cameras], origin)
    for camera in features.cameras:
        if (of := calibration.cameras.get(camera.name)) is not None:
            check_shape(camera.name, of, (camera.height, camera.width), origin)
    arm = calibration.arm
    if arm is not None:
        names = (*arm.joints, arm.gripper) if arm.gripper else arm.joints
        _check_names("joint of the action", names, features.action_names, origin)
        if features.state_names:
            _check_names("joint of the state", names, features.state_names, origin)
    pose = calibration.recorded_pose
    if pose is not None:
        _check_names("dimension of the state", (*pose.position, *pose.quaternion), features.state_names, origin)
    height = calibration.environment_height
    return replace(
        features,
        cameras=tuple(
            replace(camera, calibration=calibration.cameras.get(camera.name, camera.calibration))
            for camera in features.cameras
        ),
        arm=features.arm if arm is None else arm,
        recorded_pose=features.recorded_pose if pose is None else pose,
        environment_height=features.environment_height if height is None else height,
    )


def check_shape(camera: str, of: Calibration, size: tuple[int, int], origin: str) -> None:
    """Refuse pictures of another shape than a camera was calibrated at.

    Args:
        camera: Its name, for messages.
        of: Its calibration.
        size: Height and width of the pictures [pixels].
        origin: Where the calibration comes from, for messages.

    Raises:
        DataError: If height and width are exchanged, or their ratio is another one.
    """
    height, width = size
    if of.size[0] != of.size[1] and of.size[0] * height == of.size[1] * width:
        raise DataError(
            f"{origin}: camera '{camera}' has size {of.size[0]}, {of.size[1]}, its pictures are "
            f"{height} high and {width} wide; 'size' is height, then width"
        )
    if abs((height / width) / (of.size[0] / of.size[1]) - 1) > 0.01:
        raise DataError(
            f"{origin}: camera '{camera}' was calibrated at {of.size[0]}x{of.size[1]}, its pictures are "
            f"{height}x{width}: another shape is another part of the sensor; calibrate at the recorded shape"
        )


def scenes_of(indices: Iterable[int], sidecar: Sidecar) -> dict[int, int]:
    """Return the scene of each episode.

    A list that is too short (somebody has added episodes with LeRobot) gives the others a scene each; one that is
    too long belongs to a recording that was killed before its last episodes were complete.

    Args:
        indices: The data set's episode indices, ascending.
        sidecar: Of the data set.
    """
    indices = tuple(indices)
    if sidecar.scenes is None:
        return {index: index for index in indices}
    known = dict(zip(indices, sidecar.scenes, strict=False))
    fresh = 1 + max(sidecar.scenes, default=-1)
    return known | {index: fresh + number for number, index in enumerate(indices[len(known) :])}


def _check_names(kind: str, names: Iterable[str], known: Iterable[str], origin: str) -> None:
    known = tuple(known)
    for name in names:
        if name not in known:
            raise DataError(f"{origin}: {unknown_name(kind, name, known)}")
