"""What goes into a policy and what comes out, down to the cameras and the arm: frozen, with shapes and units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A pinhole camera: intrinsics, and its pose in the arm's base or on its hand.

    The camera's frame is OpenCV's: x to the right, y down, z forward. Pixel (0, 0) covers [0, 1) x [0, 1) at the
    top left, so a picture's middle is at (width / 2, height / 2).
    """

    size: tuple[int, int]
    """Height and width [pixels] of the pictures that the intrinsics were found for; others are scaled."""
    focal: tuple[float, float]
    """Focal lengths fx, fy [pixels]."""
    center: tuple[float, float]
    """Principal point cx, cy [pixels]."""
    position: tuple[float, float, float]
    """Of the camera in the frame it is mounted on [m]."""
    quaternion: tuple[float, float, float, float]
    """Orientation wxyz: turns the camera's frame into the one it is mounted on."""
    distortion: tuple[float, ...] = ()
    """OpenCV's k1, k2, p1, p2, k3; empty for none."""
    mounted_on: Literal["base", "hand"] = "base"
    """A camera on the hand moves with it: its pose follows from the state (`RecordedPose`, or `Arm` and its joints)."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """The chain of turning joints from the base to the hand: all that its kinematics need."""

    joints: tuple[str, ...]
    """Names among those of the state and of the action, from the base on."""
    positions: tuple[tuple[float, float, float], ...]
    """Of each joint's frame in the one before, at angle 0 [m]."""
    quaternions: tuple[tuple[float, float, float, float], ...]
    """Orientations wxyz of the same."""
    axes: tuple[tuple[float, float, float], ...]
    """Each joint's axis in its own frame, of length 1."""
    limits: tuple[tuple[float, float], ...]
    """Lower and upper angle of each joint [rad]."""
    hand_position: tuple[float, float, float]
    """The point between the jaws in the last joint's frame [m]; the jaws point along the hand's -z."""
    hand_quaternion: tuple[float, float, float, float]
    """Orientation wxyz of the hand in the last joint's frame; its x axis goes from one jaw to the other."""
    unit: Literal["rad", "deg"] = "rad"
    """Of the joints in state and action."""
    gripper: str | None = None
    """Name of the gripper's dimension in state and action."""
    gripper_closed: float = 0.0
    """Value of the gripper in the state, in the data's unit, below which it holds something or is about to."""


@dataclass(frozen=True, kw_only=True)
class RecordedPose:
    """Which dimensions of the state say where the hand is in the base."""

    position: tuple[str, str, str]
    """Names of x, y and z [m]."""
    quaternion: tuple[str, str, str, str]
    """Names of the orientation's w, x, y and z: it turns the hand's frame into the base's."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera as the policy sees it: its name, the size of its picture and, for RGB-D, its depth range."""

    name: str
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    depth_range: tuple[float, float] | None = None
    """Nearest and farthest depth [m] for an RGB-D camera; None for a colour camera."""
    recorded_size: tuple[int, int] | None = None
    """Height and width in the data where `height` and `width` are those of a resized picture; None: the same."""
    calibration: Calibration | None = None
    """Where it stands and how it projects; None where nobody has calibrated it."""
    cue_map: bool = False
    """Whether the network gets a map of the projected cue as a last channel."""
    view_of: str | None = None
    """For a crop around the cue: the camera that it is cut from."""

    @property
    def channels(self) -> int:
        """3 for colour, one more for depth and one more for a map of the cue."""
        return 3 + (self.depth_range is not None) + self.cue_map


@dataclass(frozen=True, kw_only=True)
class KeyGroup:
    """A named stretch of a vector, for robots whose observations and actions are nested (`qpos/torso`)."""

    key: str
    """Path inside the observation or action, parts separated by `/`."""
    dim: int


@dataclass(frozen=True, kw_only=True)
class Features:
    """What goes into a policy and what comes out: sizes, names and order, taken from the data."""

    action_names: tuple[str, ...]
    """One name a dimension of the action (A,)."""
    state_names: tuple[str, ...] = ()
    """One name a dimension of the proprioception (S,); empty where the policy gets none."""
    environment_names: tuple[str, ...] = ()
    """One name a dimension of the coordinates (E,); empty where the policy gets none."""
    cameras: tuple[Camera, ...] = ()
    """In the order of their tokens; looked up by name, never by position."""
    fps: float = 10.0
    """Control rate [Hz] of the actions."""
    environment_height: float = 0.0
    """Height [m] above the base's origin of the point that the coordinates (x, y) mean."""
    arm: Arm | None = None
    """The arm's kinematics; None where they are not known."""
    recorded_pose: RecordedPose | None = None
    """Where the state says the hand is; where it is given, cameras on the hand are mounted on that frame, and the arm's
    kinematics do not matter to them. None where the state does not say it."""
    state_groups: tuple[KeyGroup, ...] = ()
    """How a nested observation is laid out in the state vector; empty where the state comes as one vector."""
    action_groups: tuple[KeyGroup, ...] = ()
    """How the action vector is cut into named parts; empty where it has none."""

    @property
    def action_dim(self) -> int:
        """A."""
        return len(self.action_names)

    @property
    def state_dim(self) -> int:
        """S; 0 where the policy gets no state."""
        return len(self.state_names)

    @property
    def environment_dim(self) -> int:
        """E; 0 where the policy gets no coordinates."""
        return len(self.environment_names)


def calibration_from_dict(values: Mapping[str, Any]) -> Calibration:
    """Build a `Calibration` from plain values, the inverse of `dataclasses.asdict` through JSON."""
    return Calibration(**_frozen(values))


def arm_from_dict(values: Mapping[str, Any]) -> Arm:
    """Build an `Arm` from plain values, the inverse of `dataclasses.asdict` through JSON."""
    return Arm(**_frozen(values))


def recorded_pose_from_dict(values: Mapping[str, Any]) -> RecordedPose:
    """Build a `RecordedPose` from plain values, the inverse of `dataclasses.asdict` through JSON."""
    return RecordedPose(**_frozen(values))


def _frozen(value: Any) -> Any:
    """Lists to tuples, for JSON knows no tuples."""
    if isinstance(value, Mapping):
        return {name: _frozen(item) for name, item in value.items()}
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def features_from_dict(values: Mapping[str, Any]) -> Features:
    """Build `Features` from plain values, the inverse of `dataclasses.asdict` through JSON."""

    def pair(value: Any) -> Any:
        return None if value is None else tuple(value)

    def camera(of: Mapping[str, Any]) -> Camera:
        calibration = of.get("calibration")
        return Camera(
            **{
                **of,
                "depth_range": pair(of["depth_range"]),
                "recorded_size": pair(of["recorded_size"]),
                "calibration": None if calibration is None else calibration_from_dict(calibration),
            }
        )

    return Features(
        action_names=tuple(values["action_names"]),
        state_names=tuple(values["state_names"]),
        environment_names=tuple(values["environment_names"]),
        cameras=tuple(camera(of) for of in values["cameras"]),
        fps=values["fps"],
        environment_height=values.get("environment_height", 0.0),
        arm=None if values.get("arm") is None else arm_from_dict(values["arm"]),
        recorded_pose=None if values.get("recorded_pose") is None else recorded_pose_from_dict(values["recorded_pose"]),
        state_groups=tuple(KeyGroup(**group) for group in values["state_groups"]),
        action_groups=tuple(KeyGroup(**group) for group in values["action_groups"]),
    )
