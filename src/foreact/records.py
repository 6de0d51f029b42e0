"""The types that cross floors: frozen, with their shapes.

torch is imported for type checking only, so that the simulation and the client stay light.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


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

    @property
    def channels(self) -> int:
        """4 for RGB-D, 3 for colour."""
        return 3 if self.depth_range is None else 4


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


def features_from_dict(values: Mapping[str, Any]) -> Features:
    """Build `Features` from plain values, the inverse of `dataclasses.asdict` through JSON."""

    def pair(value: Any) -> Any:
        return None if value is None else tuple(value)

    return Features(
        action_names=tuple(values["action_names"]),
        state_names=tuple(values["state_names"]),
        environment_names=tuple(values["environment_names"]),
        cameras=tuple(
            Camera(
                **{
                    **camera,
                    "depth_range": pair(camera["depth_range"]),
                    "recorded_size": pair(camera["recorded_size"]),
                }
            )
            for camera in values["cameras"]
        ),
        fps=values["fps"],
        state_groups=tuple(KeyGroup(**group) for group in values["state_groups"]),
        action_groups=tuple(KeyGroup(**group) for group in values["action_groups"]),
    )


Statistics = Mapping[str, VectorStatistics]
"""By key: `observation.state`, `observation.environment_state`, `action`."""


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

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """Return a batch with the function applied to every tensor that exists."""
        return replace(
            self,
            images={name: function(image) for name, image in self.images.items()},
            depth={name: function(depth) for name, depth in self.depth.items()},
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
