"""A calibration file: where a real robot's cameras stand and how they project, and its arm, in a small YAML.

    cameras:
      overhead:
        size: [480, 640]            # height and width of the pictures [pixels]
        fx: 612.0                   # focal lengths and principal point [pixels]; the middle of a picture is
        fy: 612.0                   # at cx = width / 2, cy = height / 2
        cx: 320.0
        cy: 240.0
        distortion: [0, 0, 0, 0, 0] # OpenCV's k1, k2, p1, p2, k3; may be left out
        mounted_on: base            # or hand; base where it is left out
        position: [0.46, -0.02, 0.50]   # [m]
        look_at: [0.175, -0.02, 0.0]    # the point in the picture's middle [m], and the direction that points
        up: [-1, 0, 0]                  # upwards in it; or quaternion: [w, x, y, z], which turns the camera's frame
                                        # (OpenCV's) into that of what it is mounted on; all three are in that frame
    arm: so101                      # or all of it: joints, positions, quaternions, axes, limits, hand_position ...
    joints: [shoulder_pan.pos, shoulder_lift.pos, ...]  # the data's names, base first; may be left out
    joint_unit: deg                 # or rad, of the joints in the data
    gripper: gripper.pos            # its name in the data; may be left out, with its value
    gripper_closed: 20.0            # value below which it holds something or is about to
    recorded_pose:                  # where the state says the hand is, for a camera on it where the arm is not known:
      position: [x, y, z]           # names in the state, of metres in the base
      quaternion: [qx, qy, qz, qw]  # names in the state; turns the hand's frame into the base's
      order: xyzw                   # or wxyz
    environment_height: 0.0125      # of the point that the coordinates mean, above the base's origin [m]

Everything may be left out except what belongs to a camera or an arm that is there. The hand that a camera is mounted on
is the frame whose pose is recorded where that is given, and otherwise the point between the jaws, which follows from
the arm's joints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from foreact.data.fields import Fields
from foreact.data.files import write_atomically
from foreact.data.lerobot_info import load_json
from foreact.data.sidecar import Sidecar, parse_arm
from foreact.data.yaml_file import read_yaml
from foreact.errors import DataError, unknown_name
from foreact.records import Arm, Calibration, RecordedPose, recorded_pose_from_dict

_ARMS = Path(__file__).parent / "arms"
_KEYS = (
    "cameras",
    "arm",
    "joints",
    "joint_unit",
    "gripper",
    "gripper_closed",
    "recorded_pose",
    "environment_height",
)
_INTRINSICS = ("size", "fx", "fy", "cx", "cy", "distortion")
_POSE = ("mounted_on", "position", "quaternion", "look_at", "up")
_ARM = ("joints", "positions", "quaternions", "axes", "limits", "hand_position", "hand_quaternion")


@dataclass(frozen=True, kw_only=True)
class Intrinsics:
    """How a camera projects, wherever it stands; the fields mean what they do in `Calibration`."""

    size: tuple[int, int]
    focal: tuple[float, float]
    center: tuple[float, float]
    distortion: tuple[float, ...] = ()

    def at(self, position: np.ndarray, turn: np.ndarray) -> Calibration:
        """Return the calibration of such a camera that stands somewhere in the base.

        Args:
            position: Of the camera (3,) [m].
            turn: Matrix (3, 3) that turns the camera's frame, OpenCV's, into the base's.
        """
        x, y, z = (float(value) for value in position)
        return Calibration(
            size=self.size,
            focal=self.focal,
            center=self.center,
            distortion=self.distortion,
            position=(x, y, z),
            quaternion=quaternion_of(turn),
        )


def read_calibration(path: Path) -> Sidecar:
    """Read a calibration file.

    Raises:
        DataError: If it is missing, not YAML, or has a key that is unknown, missing, wrong or there twice; the message
            names file and key.
    """
    content = _load(path)
    where = f"'{path}'"
    fields = Fields(content, where, _KEYS)
    return Sidecar(
        cameras={name: _camera(of, f"{where}, camera '{name}'") for name, of in _cameras(content, where).items()},
        arm=_arm(fields, where),
        recorded_pose=_recorded_pose(fields, where),
        environment_height=fields.number("environment_height") if "environment_height" in fields else None,
    )


def read_intrinsics(path: Path, camera: str) -> Intrinsics:
    """Read how a camera of a calibration file projects; it need not have a pose. Raises like `read_calibration`."""
    cameras = _cameras(_load(path), f"'{path}'")
    if camera not in cameras:
        raise DataError(f"'{path}': {unknown_name('camera', camera, cameras)}")
    where = f"'{path}', camera '{camera}'"
    return _intrinsics(Fields(cameras[camera], where, (*_INTRINSICS, *_POSE)), where)


def write_calibration(path: Path, calibration: Sidecar) -> None:
    """Write a calibration file, numbers to 9 decimals; scenes belong to data and are left out.

    Raises:
        DataError: If the file cannot be written.
    """
    content: dict[str, Any] = {"cameras": {name: _plain(of) for name, of in calibration.cameras.items()}}
    if (arm := calibration.arm) is not None:
        content["arm"] = {key: _rounded(asdict(arm)[key]) for key in _ARM}
        content["joint_unit"] = arm.unit
        if arm.gripper is not None:
            content |= {"gripper": arm.gripper, "gripper_closed": arm.gripper_closed}
    if (pose := calibration.recorded_pose) is not None:
        content["recorded_pose"] = {
            "position": list(pose.position),
            "quaternion": list(pose.quaternion),
            "order": "wxyz",
        }
    if calibration.environment_height is not None:
        content["environment_height"] = calibration.environment_height
    _dump(path, content)


def write_camera(path: Path, name: str, camera: Calibration | Intrinsics) -> bool:
    """Write one camera into a calibration file, new or not; everything else in it stays, save its comments.

    A camera without a pose can be written too; `read_calibration` then asks for it. A pose in the file that was
    found with other intrinsics goes, one on the hand stays, for it was measured.

    Returns:
        Whether the camera has a pose in the file now.

    Raises:
        DataError: If the file is there and is not a calibration file, or cannot be written.
    """
    content = dict(_load(path)) if path.exists() else {}
    Fields(content, f"'{path}'", _KEYS)
    cameras = _cameras(content, f"'{path}'")
    entry, old = _plain(camera), cameras.get(name)
    if isinstance(camera, Intrinsics) and isinstance(old, dict) and old.get("mounted_on") == "hand":
        entry |= {key: old[key] for key in _POSE if key in old}
    _dump(path, content | {"cameras": {**cameras, name: entry}})
    given = {key for key, value in entry.items() if value is not None}
    return "position" in given and bool(given & {"quaternion", "look_at"})


def quaternion_of(turn: np.ndarray) -> tuple[float, float, float, float]:
    """Return the quaternion wxyz, w not negative, of a rotation matrix (3, 3).

    It is the eigenvector of the largest eigenvalue of a symmetric matrix, which works for every rotation.

    Source: I. Y. Bar-Itzhack, New method for extracting the quaternion from a rotation matrix, 2000.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = turn
    symmetric = np.array(
        [
            [xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, xx - yy - zz, yx + xy, xz + zx],
            [xz - zx, yx + xy, yy - xx - zz, zy + yz],
            [yx - xy, xz + zx, zy + yz, zz - xx - yy],
        ]
    )
    w, x, y, z = (float(value) for value in np.linalg.eigh(symmetric)[1][:, -1])
    return (w, x, y, z) if w >= 0 else (-w, -x, -y, -z)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        content = read_yaml(path)
    except FileNotFoundError as error:
        raise DataError(f"no calibration file at '{path}'; make one with foreact calibrate") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise DataError(f"'{path}' holds a {type(content).__name__}, expected keys with values: {', '.join(_KEYS)}")
    return content


def _cameras(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    cameras = content.get("cameras")
    if cameras is None:
        return {}
    if not (isinstance(cameras, dict) and all(isinstance(name, str) for name in cameras)):
        raise DataError(f"{where}: 'cameras' holds a {type(cameras).__name__}, expected cameras by name")
    return cameras


def _camera(values: Any, where: str) -> Calibration:
    fields = Fields(values, where, (*_INTRINSICS, *_POSE))
    intrinsics = _intrinsics(fields, where)
    if "position" not in fields:
        raise DataError(f"{where}: 'position' is missing; type foreact calibrate points, or write it into the file")
    if ("quaternion" in fields) == ("look_at" in fields):
        raise DataError(f"{where}: give either 'quaternion' or 'look_at' and 'up'")
    position = np.array(fields.numbers("position", 3))
    if "look_at" in fields:
        turn = _looking_at(position, np.array(fields.numbers("look_at", 3)), np.array(fields.numbers("up", 3)), where)
        calibration = intrinsics.at(position, turn)
    else:
        w, x, y, z = fields.unit("quaternion", 4)
        calibration = replace(intrinsics.at(position, np.eye(3)), quaternion=(w, x, y, z))
    if "mounted_on" in fields:
        calibration = replace(calibration, mounted_on=fields.choice("mounted_on", ("base", "hand")))
    return calibration


def _intrinsics(fields: Fields, where: str) -> Intrinsics:
    height, width = fields.sizes("size", 2)
    fx, fy = fields.number("fx"), fields.number("fy")
    if min(fx, fy) <= 0:
        raise DataError(f"{where}: 'fx' and 'fy' are {fx:g} and {fy:g}, expected positive numbers")
    distortion = fields.numbers("distortion", 5) if "distortion" in fields else ()
    center = (fields.number("cx"), fields.number("cy"))
    return Intrinsics(size=(height, width), focal=(fx, fy), center=center, distortion=distortion)


def _looking_at(position: np.ndarray, target: np.ndarray, up: np.ndarray, where: str) -> np.ndarray:
    """Matrix (3, 3) that turns the frame of a camera that looks from a position to a target into the base's."""
    forward = target - position
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-6 * math.sqrt(max(forward @ forward, 1e-12) * max(up @ up, 1e-12)):
        raise DataError(f"{where}: 'up' is along the line from 'position' to 'look_at', expected another direction")
    down = np.cross(forward, right)
    return np.stack([axis / np.linalg.norm(axis) for axis in (right, down, forward)], axis=1)


def _arm(fields: Fields, where: str) -> Arm | None:
    if "arm" not in fields:
        for key in ("joints", "joint_unit", "gripper", "gripper_closed"):
            if key in fields:
                raise DataError(f"{where}: '{key}' needs 'arm', for example so101")
        return None
    values = fields.get("arm")
    if isinstance(values, str):
        known = {path.stem: path for path in _ARMS.glob("*.json")}
        if values not in known:
            raise DataError(f"{where}: {unknown_name('arm', values, known)}")
        values = {key: load_json(known[values])["arm"][key] for key in _ARM}
    where_arm = f"{where}, arm"
    Fields(values, where_arm, _ARM)
    if ("gripper" in fields) != ("gripper_closed" in fields):
        raise DataError(f"{where}: 'gripper' and 'gripper_closed' belong together, one is missing")
    arm = parse_arm({"unit": "rad", "gripper": None, "gripper_closed": 0.0, **values}, where_arm)
    arm = replace(arm, unit=fields.choice("joint_unit", ("deg", "rad")))
    if "joints" in fields:
        joints = fields.names("joints")
        if len(joints) != len(arm.joints):
            raise DataError(f"{where}: 'joints' has {len(joints)} names, the arm has {len(arm.joints)} joints")
        arm = replace(arm, joints=joints)
    if "gripper" in fields:
        arm = replace(arm, gripper=fields.text("gripper"), gripper_closed=fields.number("gripper_closed"))
    return arm


def _recorded_pose(fields: Fields, where: str) -> RecordedPose | None:
    if "recorded_pose" not in fields:
        return None
    where = f"{where}, recorded_pose"
    pose = Fields(fields.get("recorded_pose"), where, ("position", "quaternion", "order"))
    position, names = pose.names("position", 3), pose.names("quaternion", 4)
    if pose.choice("order", ("wxyz", "xyzw")) == "xyzw":
        names = (names[3], *names[:3])
    return recorded_pose_from_dict({"position": position, "quaternion": names})


def _plain(camera: Calibration | Intrinsics) -> dict[str, Any]:
    """A camera as the file holds it."""
    content: dict[str, Any] = {
        "size": list(camera.size),
        **dict(zip(("fx", "fy", "cx", "cy"), _rounded((*camera.focal, *camera.center)), strict=True)),
    }
    if camera.distortion:
        content["distortion"] = _rounded(camera.distortion)
    if isinstance(camera, Calibration):
        content["mounted_on"] = camera.mounted_on
        content["position"] = _rounded(camera.position)
        content["quaternion"] = _rounded(camera.quaternion)
    return content


def _rounded(value: Any) -> Any:
    """Numbers to 9 decimals, tuples to lists."""
    if isinstance(value, tuple | list):
        return [_rounded(item) for item in value]
    return round(value, 9) if isinstance(value, float) else value


def _dump(path: Path, content: Mapping[str, Any]) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=120))
