"""What a pick-and-place episode is made of: every part of a level is an option of its own.

Imports neither MuJoCo nor gymnasium, so that the command line can build its options from it at once.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from foreact.errors import ConfigError, unknown_name
from foreact_runtime.records import Features

Camera = Literal["overhead", "wrist"]
CAMERAS: tuple[Camera, ...] = ("overhead", "wrist")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """One pick-and-place task: take the block that the cue points at and put it into the bowl.

    Lengths in metres, angles in radians, positions (x, y) on the table in the frame of the robot's base, x forward
    and y to its left.
    """

    cue_sigma: float = 0.0
    """Standard deviation [m] of the Gaussian noise on each coordinate of the cue; 0 tells the exact position."""
    cue_cut: float | None = None
    """Largest distance [m] between cue and target: noise beyond it is drawn again; None cuts nothing."""
    yaw: float = 0.0
    """Blocks are turned by up to this angle [rad] either way; pi/4 is any orientation, since a block is square."""
    confusers: tuple[int, int] = (1, 1)
    """Fewest and most blocks besides the target, all identical to it; (0, 0) leaves the target alone."""
    min_separation: float = 0.06
    """Smallest distance [m] between the centres of the target and a confuser."""
    bowl: Literal["fixed", "random"] = "fixed"
    """Where the bowl stands: always at the same place, or anywhere reachable."""
    tell_bowl: bool = False
    """Tell where the bowl stands: the coordinates are then the cue's x and y and the bowl's, exactly."""
    looks: Literal["fixed", "vary"] = "fixed"
    """Light, colours and the overhead camera's pose: always the same, or different in each episode."""
    positions: Literal["uniform", "clusters", "target_clusters"] | tuple[tuple[float, float], ...] = "uniform"
    """Where targets stand: uniform over the reachable workspace, in two small clusters, or at the positions listed.

    With `clusters` the first confuser stands in the other cluster. All other confusers stand anywhere."""
    exclude: tuple[tuple[float, float], ...] = ()
    """Positions (x, y) [m] that targets keep away from, to hold them out of training or evaluation."""
    exclude_radius: float = 0.0
    """Distance [m] that targets keep from each position in `exclude`."""
    start_noise: float = 0.15
    """The arm's joints start up to this angle [rad] away from their rest pose, so that the start tells nothing."""

    fps: float = 10.0
    """Control rate [Hz]."""
    max_seconds: float = 8.0
    """An episode that has not ended by then is cut off and judged."""
    cameras: tuple[Camera, ...] = CAMERAS
    """Cameras in the observation; none of them (an empty tuple) renders nothing."""
    overhead_size: tuple[int, int] = (96, 96)
    """Height and width [pixels] of the overhead camera."""
    wrist_size: tuple[int, int] = (96, 96)
    """Height and width [pixels] of the wrist camera."""

    def __post_init__(self) -> None:
        for name in ("cue_sigma", "yaw", "min_separation", "exclude_radius", "start_noise"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, f"task.{name} is {value}; it must not be negative")
        for name in ("fps", "max_seconds"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, f"task.{name} is {value}; it must be more than 0")
        _require(self.cue_cut is None or self.cue_cut > 0, f"task.cue_cut is {self.cue_cut}; it must be more than 0")
        fewest, most = self.confusers
        _require(0 <= fewest <= most, f"task.confusers is {self.confusers}; it must be (fewest, most), neither below 0")
        _require(most <= 3, f"task.confusers is {self.confusers}; the table has room for 3")
        for name, choices in (("bowl", ("fixed", "random")), ("looks", ("fixed", "vary"))):
            _require(getattr(self, name) in choices, unknown_name(f"task.{name}", str(getattr(self, name)), choices))
        if isinstance(self.positions, str):
            places = ("uniform", "clusters", "target_clusters")
            _require(self.positions in places, unknown_name("task.positions", self.positions, places))
        else:
            _require(len(self.positions) > 0, "task.positions is empty; list at least one (x, y)")
        for camera in self.cameras:
            _require(camera in CAMERAS, unknown_name("camera", camera, CAMERAS))
        for name in ("overhead_size", "wrist_size"):
            size = getattr(self, name)
            _require(min(size) >= 1, f"task.{name} is {size}; height and width must be at least 1 pixel")

    def size(self, camera: str) -> tuple[int, int]:
        """Return the height and width [pixels] of a camera's pictures."""
        return {"overhead": self.overhead_size, "wrist": self.wrist_size}[camera]

    @property
    def environment_names(self) -> tuple[str, ...]:
        """Names of the coordinates' dimensions."""
        return ("target_x", "target_y", "goal_x", "goal_y") if self.tell_bowl else ("target_x", "target_y")

    @property
    def max_steps(self) -> int:
        """Control steps until an episode is cut off."""
        return max(1, round(self.max_seconds * self.fps))


LEVELS: Mapping[str, TaskConfig] = MappingProxyType(
    {
        "L0": TaskConfig(),
        "L1": TaskConfig(cue_sigma=0.01),
        "L2": TaskConfig(cue_sigma=0.02, cue_cut=0.03, yaw=math.pi / 4, min_separation=0.08),
        "L3": TaskConfig(
            cue_sigma=0.02,
            cue_cut=0.03,
            yaw=math.pi / 4,
            min_separation=0.08,
            confusers=(1, 3),
            bowl="random",
            looks="vary",
        ),
    }
)
"""The levels of difficulty by name; L1 adds a noisy cue, L2 more noise and turned blocks, L3 everything else."""


def level(name: str, **overrides: Any) -> TaskConfig:
    """Return a level's task, with some of its options changed.

    Args:
        name: `L0`, `L1`, `L2` or `L3`.
        overrides: Options of `TaskConfig` by name.

    Raises:
        ConfigError: If there is no such level or option; the nearest is suggested.
    """
    if name not in LEVELS:
        raise ConfigError(unknown_name("level", name, LEVELS))
    known = [item.name for item in fields(TaskConfig)]
    for option in overrides:
        if option not in known:
            raise ConfigError(unknown_name("task option", option, known))
    return replace(LEVELS[name], **overrides)


def task_for_features(task: TaskConfig, features: Features) -> TaskConfig:
    """Return the task with the cameras, sizes, rate and number of coordinates that a policy was trained on.

    Raises:
        ConfigError: If the policy needs a camera that the simulation does not have.
    """
    wanted = {camera.name: camera for camera in features.cameras}
    for name in wanted:
        if name not in CAMERAS:
            raise ConfigError(f"the policy needs camera '{name}'; the simulation has: {', '.join(CAMERAS)}")
    sizes = {f"{name}_size": camera.recorded_size or (camera.height, camera.width) for name, camera in wanted.items()}
    cameras = tuple(name for name in CAMERAS if name in wanted)
    told = features.environment_dim > len(replace(task, tell_bowl=False).environment_names)
    return replace(task, cameras=cameras, fps=features.fps, tell_bowl=told, **sizes)  # type: ignore[arg-type]
