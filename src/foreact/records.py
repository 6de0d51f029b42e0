"""The types that cross floors: frozen, with their shapes; those that a robot needs too are the runtime's.

torch is imported for type checking only, so that the simulation and the client stay light.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from foreact_runtime.records import (
    Arm,
    Calibration,
    Camera,
    Features,
    KeyGroup,
    RecordedPose,
    arm_from_dict,
    calibration_from_dict,
    features_from_dict,
    recorded_pose_from_dict,
)

if TYPE_CHECKING:
    import torch

__all__ = [
    "Arm",
    "Batch",
    "Calibration",
    "Camera",
    "Episode",
    "Features",
    "KeyGroup",
    "RecordedPose",
    "Statistics",
    "VectorStatistics",
    "arm_from_dict",
    "calibration_from_dict",
    "features_from_dict",
    "recorded_pose_from_dict",
]


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One demonstration without its pictures, in raw units."""

    index: int
    """The data set's own `episode_index`; may have gaps."""
    task: str
    action: np.ndarray
    """float32 (L, A)."""
    state: np.ndarray | None = None
    """float32 (L, S)."""
    environment_state: np.ndarray | None = None
    """float32 (L, E)."""

    @property
    def length(self) -> int:
        """Number of frames L."""
        return len(self.action)


@dataclass(frozen=True, kw_only=True)
class VectorStatistics:
    """Statistics of one vector feature over the training split, float64, each of the feature's shape (D,)."""

    mean: np.ndarray
    std: np.ndarray
    """Population standard deviation; 0 where a dimension is constant."""
    min: np.ndarray
    max: np.ndarray
    q01: np.ndarray
    """True 1 % quantile."""
    q99: np.ndarray
    """True 99 % quantile."""
    count: int
    """Number of frames."""


Statistics = Mapping[str, VectorStatistics]
"""By key: `observation.state`, `observation.environment_state`, `action`; imported policies may have their cameras'
colours (3,) in 0..1 too, by the pictures' keys. What is not known of an imported policy's data is infinite. Those
whose key begins with `robot.` are for limits and alarms (data/statistics.py)."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Samples side by side, raw or normalised.

    Raw, as a loader or a robot gives them: colour uint8, depth in metres, vectors in the robot's units.
    Normalised, as the network takes them: `images` float with 3 or 4 channels, `depth` empty.
    """

    images: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Camera name to (B, C, H, W); sizes may differ between cameras."""
    depth: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Camera name to (B, 1, H, W), float32 metres; raw batches only."""
    state: torch.Tensor | None = None
    """(B, S)."""
    environment_state: torch.Tensor | None = None
    """(B, E)."""
    action: torch.Tensor | None = None
    """(B, T, A); None at inference."""
    action_is_pad: torch.Tensor | None = None
    """(B, T) bool, True where the episode had already ended."""
    episode_index: torch.Tensor | None = None
    """(B,) int64, the data set's own; for messages."""
    cue_maps: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Camera name to (B, 1, H, W), where its picture shows the cue; on the way to the network only."""
    cell_points: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Camera name to (B, h w, 2): the point [m] of the coordinates' plane that each cell of its feature map looks at,
    relative to the base, or to the hand with the conditioning `frame`; normalised batches only."""

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """Return a batch with the function applied to every tensor that exists."""
        return replace(
            self,
            images={name: function(image) for name, image in self.images.items()},
            depth={name: function(depth) for name, depth in self.depth.items()},
            cue_maps={name: function(of) for name, of in self.cue_maps.items()},
            cell_points={name: function(of) for name, of in self.cell_points.items()},
            **{
                name: None if (value := getattr(self, name)) is None else function(value)
                for name in ("state", "environment_state", "action", "action_is_pad", "episode_index")
            },
        )

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device; Lightning calls this."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; a DataLoader with `pin_memory` calls this."""
        return self.map(lambda tensor: tensor.pin_memory())

    @property
    def size(self) -> int:
        """B."""
        for tensor in (self.action, self.state, self.environment_state, *self.images.values()):
            if tensor is not None:
                return int(tensor.shape[0])
        raise ValueError("an empty batch has no size")
