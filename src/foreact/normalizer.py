"""The only normalisation and its inverse.

Built from the statistics of the training split, which travel in the checkpoint; used by training, simulation,
server and robot alike, so that nothing is scaled twice or forgotten (reference: ACT.md 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foreact.config import Normalization, PolicyConfig
from foreact.errors import ConfigError
from foreact.records import Batch, Camera, Features, KeyGroup, Statistics, VectorStatistics
from foreact_runtime import keys

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NARROWEST = PolicyConfig.narrowest
"""A dimension that varies less than this counts as constant, unless a policy's configuration says otherwise."""


class Normalizer(nn.Module):
    """Raw batches to normalised ones, and normalised actions back to the robot's units."""

    def __init__(self, config: PolicyConfig, features: Features, statistics: Statistics) -> None:
        """Fit to the statistics of the training split.

        Raises:
            ConfigError: If statistics, declared ranges or names of binary actions do not fit the features.
        """
        super().__init__()
        self._narrowest = config.narrowest
        self._cameras = {camera.name: camera for camera in features.cameras}
        self._add(keys.ACTION, features.action_dim, config.action_normalization, config.action_ranges, statistics)
        if features.state_dim:
            self._add(keys.STATE, features.state_dim, config.state_normalization, config.state_ranges, statistics)
            binary = torch.from_numpy(binary_state_dimensions(config, features))
            self.register_buffer("state_is_binary", binary, persistent=False)
            self._threshold = config.binary_state_threshold
        if features.environment_dim:
            method = config.environment_normalization
            self._add(keys.ENVIRONMENT_STATE, features.environment_dim, method, None, statistics)
        self.register_buffer("image_mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self._own_colours: dict[str, str] = {}
        for camera in features.cameras:
            self._add_colours(camera, statistics)

    def _add(
        self,
        key: str,
        dim: int,
        method: Normalization,
        ranges: tuple[tuple[float, float], ...] | None,
        statistics: Statistics,
    ) -> None:
        offset, scale = offset_and_scale(key, dim, method, ranges, statistics, self._narrowest)
        # Not persistent: the statistics in the checkpoint are the truth, and this is derived from them.
        self.register_buffer(f"{_name(key)}_offset", torch.from_numpy(offset), persistent=False)
        self.register_buffer(f"{_name(key)}_scale", torch.from_numpy(scale), persistent=False)

    def _add_colours(self, camera: Camera, statistics: Statistics) -> None:
        """A camera's own mean and standard deviation of colours in 0..1, where there are any: imported policies'."""
        own = statistics.get(keys.image_key(camera.view_of or camera.name))
        if own is None:
            return
        self._own_colours[camera.name] = f"_{len(self._own_colours)}"  # buffers may not hold dots, cameras' names may
        for name, value in (("mean", own.mean), ("std", own.std)):
            colours = torch.from_numpy(value.astype(np.float32)).view(3, 1, 1)
            self.register_buffer(f"image_{name}{self._own_colours[camera.name]}", colours, persistent=False)

    def _scaled(self, key: str, value: Tensor) -> Tensor:
        offset, scale = self.get_buffer(f"{_name(key)}_offset"), self.get_buffer(f"{_name(key)}_scale")
        return (value - offset) / scale

    def _state(self, value: Tensor) -> Tensor:
        """Scaled, but for the binary dimensions: +1 above the threshold, else -1 (FORMATS.md 4.6)."""
        binary = torch.where(value > self._threshold, 1.0, -1.0)
        return torch.where(self.get_buffer("state_is_binary"), binary, self._scaled(keys.STATE, value))

    def normalize(self, batch: Batch) -> Batch:
        """Return the batch as the network takes it.

        Colour uint8 (B, 3, H, W) becomes standardised float (`colours`); depth (B, 1, H, W) in metres is clipped to
        its camera's range, scaled to 0..1 and appended as channel 4, not standardised; vectors are scaled by
        their method, or thresholded where they are `binary_state`.
        """
        return replace(
            batch,
            images={name: self._image(name, image, batch.depth) for name, image in batch.images.items()},
            depth={},
            state=None if batch.state is None else self._state(batch.state),
            environment_state=None
            if batch.environment_state is None
            else self._scaled(keys.ENVIRONMENT_STATE, batch.environment_state),
            action=None if batch.action is None else self._scaled(keys.ACTION, batch.action),
        )

    def _image(self, camera: str, image: Tensor, depth: Mapping[str, Tensor]) -> Tensor:
        mean, std = self.colours(camera)
        colour = (image.float() - 255 * mean) / (255 * std)  # exactly 0 for the mean grey, with any library
        span = self._cameras[camera].depth_range
        if span is None:
            return colour
        near, far = map(float, span)  # a whole number of metres would be an integer in ONNX, whose Clip takes one type
        return torch.cat([colour, (depth[camera].clamp(near, far) - near) / (far - near)], dim=1)

    def colours(self, camera: str) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation (3, 1, 1) of a camera's colours in 0..1: its own, else ImageNet's."""
        own = self._own_colours.get(camera, "")
        return self.get_buffer(f"image_mean{own}"), self.get_buffer(f"image_std{own}")

    def unnormalize_action(self, action: Tensor) -> Tensor:
        """Return normalised actions (..., A) in the robot's units; binary ones are thresholded when executed."""
        return action * self.get_buffer("action_scale") + self.get_buffer("action_offset")


def _name(key: str) -> str:
    """Buffers may not hold dots."""
    return key.removeprefix("observation.")


def offset_and_scale(
    key: str,
    dim: int,
    method: Normalization,
    ranges: tuple[tuple[float, float], ...] | None,
    statistics: Statistics,
    narrowest: float = NARROWEST,
) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 (D,) offset and scale, so that normalised = (raw - offset) / scale.

    Raises:
        ConfigError: If there are no statistics for the key, or they or the declared ranges have another size.
    """
    if method == "identity":
        return np.zeros(dim, np.float32), np.ones(dim, np.float32)
    if ranges is not None and method == "min_max":
        if len(ranges) != dim:
            raise ConfigError(f"{len(ranges)} ranges are declared for '{key}', which has {dim} dimensions")
        low, high = np.array(ranges, np.float64).T
        offset, scale = (high + low) / 2, (high - low) / 2
    else:
        if key not in statistics:
            raise ConfigError(f"there are no statistics for '{key}'; known: {', '.join(sorted(statistics))}")
        of = statistics[key]
        if of.mean.shape != (dim,):
            raise ConfigError(f"the statistics of '{key}' have shape {of.mean.shape}, expected ({dim},)")
        if method == "mean_std":
            offset, scale = of.mean, of.std
        else:
            low, high = (of.min, of.max) if method == "min_max" else (of.q01, of.q99)
            offset, scale = (high + low) / 2, (high - low) / 2
    return offset.astype(np.float32), np.where(scale < narrowest, 1.0, scale).astype(np.float32)


def binary_dimensions(config: PolicyConfig, features: Features) -> np.ndarray:
    """Return bool (A,), True where an action dimension leaves as +1 or -1.

    Raises:
        ConfigError: If `binary_actions` names neither a dimension nor a group of the action.
    """
    return _named("binary_actions", config.binary_actions, "action", features.action_names, features.action_groups)


def binary_state_dimensions(config: PolicyConfig, features: Features) -> np.ndarray:
    """Return bool (S,), True where the network sees a dimension of the state as +1 or -1.

    Raises:
        ConfigError: If `binary_state` names neither a dimension nor a group of the state.
    """
    return _named("binary_state", config.binary_state, "state", features.state_names, features.state_groups)


def _named(
    option: str, chosen: tuple[str, ...], kind: str, names: tuple[str, ...], groups: tuple[KeyGroup, ...]
) -> np.ndarray:
    """A mask (D,) of the chosen dimensions or groups of a vector."""
    spans = {name: slice(i, i + 1) for i, name in enumerate(names)}
    start = 0
    for group in groups:
        spans[group.key] = slice(start, start + group.dim)
        start += group.dim
    mask = np.zeros(len(names), bool)
    for name in chosen:
        if name not in spans:
            raise ConfigError(f"policy.{option} names '{name}'; the {kind} has: {', '.join(spans)}")
        mask[spans[name]] = True
    return mask


def statistics_to_dict(statistics: Statistics) -> dict[str, Any]:
    """Return statistics as plain values; JSON keeps float64 exactly."""
    return {
        key: {name: getattr(value, name).tolist() for name in _FIELDS} | {"count": value.count}
        for key, value in statistics.items()
    }


def statistics_from_dict(values: Mapping[str, Any]) -> dict[str, VectorStatistics]:
    """Return the statistics that `statistics_to_dict` wrote."""
    return {
        key: VectorStatistics(**{name: np.array(of[name], np.float64) for name in _FIELDS}, count=of["count"])
        for key, of in values.items()
    }


_FIELDS = ("mean", "std", "min", "max", "q01", "q99")
