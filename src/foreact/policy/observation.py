"""Raw observations of a robot, checked by name, shape and type, to a raw batch.

A policy that silently takes another image size, camera or unit fails on the robot and nowhere else; so everything
that differs from training is refused with the name of the offender (USERS.md 6, 11).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from foreact import keys
from foreact.data.images import resize_frames
from foreact.errors import ObservationError, unknown_name
from foreact.records import Batch, Camera, Features


def read_observations(
    observations: Sequence[Mapping[str, Any]], features: Features, *, resize_images: bool = False
) -> Batch:
    """Return a raw batch of B observations.

    Args:
        observations: Each in LeRobot's keys: `observation.state` (S,), `observation.environment_state` (E,),
            `observation.images.<camera>` uint8 (H, W, 3) and, for RGB-D, `observation.depth.<camera>` float (H, W)
            in metres. Where the features have state groups, the state may come as groups instead, nested
            (`{"qpos": {"torso": ...}}`) or flat (`{"qpos/torso": ...}`). Keys that the policy does not use are
            ignored. The order of the keys does not matter.
        features: What the policy was trained on.
        resize_images: Accept pictures of another size than the recorded one and resize them too.

    Raises:
        ObservationError: If a key is missing or a value has the wrong shape, type, size or is not finite.
    """
    batch: dict[str, Any] = {}
    if features.state_dim:
        batch["state"] = _stack([_state(item, features) for item in observations])
    if features.environment_dim:
        shape = (features.environment_dim,)
        batch["environment_state"] = _stack(
            [_vector(_get(item, keys.ENVIRONMENT_STATE), keys.ENVIRONMENT_STATE, shape) for item in observations]
        )
    batch["images"] = {
        camera.name: torch.stack([_image(item, camera, resize_images) for item in observations])
        for camera in features.cameras
    }
    batch["depth"] = {
        camera.name: torch.stack([_depth(item, camera, resize_images) for item in observations])
        for camera in features.cameras
        if camera.depth_range is not None
    }
    return Batch(**batch)


def _stack(arrays: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays))


def _state(observation: Mapping[str, Any], features: Features) -> np.ndarray:
    if keys.STATE in observation or not features.state_groups:
        return _vector(_get(observation, keys.STATE), keys.STATE, (features.state_dim,))
    parts = [_vector(_nested(observation, group.key), group.key, (group.dim,)) for group in features.state_groups]
    return np.concatenate(parts)


def _nested(observation: Mapping[str, Any], path: str) -> Any:
    """`qpos/torso` is looked up flat, then part by part."""
    if path in observation:
        return observation[path]
    value: Any = observation
    for part in path.split("/"):
        if not isinstance(value, Mapping) or part not in value:
            raise ObservationError(_missing(observation, path))
        value = value[part]
    return value


def _get(observation: Mapping[str, Any], key: str) -> Any:
    if key not in observation:
        raise ObservationError(_missing(observation, key))
    return observation[key]


def _missing(observation: Mapping[str, Any], key: str) -> str:
    return f"the observation lacks '{key}': " + unknown_name("key", key, _paths(observation)).partition(";")[2].strip()


def _paths(observation: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in observation.items():
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}"


def _vector(value: Any, key: str, shape: tuple[int, ...]) -> np.ndarray:
    array = _array(value)
    if array.dtype.kind not in "fiu":
        raise ObservationError(f"'{key}' has dtype {array.dtype}, expected a float vector of shape {shape}")
    if array.shape != shape:
        raise ObservationError(f"'{key}' has shape {array.shape}, expected {shape}")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        wrong = ", ".join(str(i) for i in np.flatnonzero(~np.isfinite(array)))
        raise ObservationError(f"'{key}' is not finite in dimension {wrong}; check the sensor or the encoder")
    return array


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def _image(observation: Mapping[str, Any], camera: Camera, resize_images: bool) -> torch.Tensor:
    key = keys.image_key(camera.name)
    array = _array(_get(observation, key))
    if array.dtype != np.uint8:
        raise ObservationError(f"'{key}' has dtype {array.dtype}, expected uint8 colours 0..255 in the order RGB")
    if array.ndim != 3 or array.shape[2] != 3:
        raise ObservationError(
            f"'{key}' has shape {array.shape}, expected {(*_recorded(camera), 3)} (height, width, RGB)"
        )
    _check_size(key, array.shape[:2], camera, resize_images)
    image = torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)
    return resize_frames(image[None], (camera.height, camera.width))[0]


def _depth(observation: Mapping[str, Any], camera: Camera, resize_images: bool) -> torch.Tensor:
    key = keys.depth_key(camera.name)
    array = _array(_get(observation, key))
    if array.dtype.kind != "f":
        raise ObservationError(f"'{key}' has dtype {array.dtype}, expected float metres")
    if array.ndim != 2:
        raise ObservationError(f"'{key}' has shape {array.shape}, expected {_recorded(camera)} (height, width)")
    _check_size(key, array.shape, camera, resize_images)
    if np.isnan(array).any():
        count = int(np.isnan(array).sum())
        raise ObservationError(f"'{key}' is nan in {count} pixels; send 0 or inf where nothing was measured")
    depth = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    return resize_frames(depth[None, None], (camera.height, camera.width))[0]


def _recorded(camera: Camera) -> tuple[int, int]:
    return camera.recorded_size or (camera.height, camera.width)


def _check_size(key: str, size: tuple[int, ...], camera: Camera, resize_images: bool) -> None:
    height, width = _recorded(camera)
    if tuple(size) != (height, width) and not resize_images:
        raise ObservationError(
            f"'{key}' is {size[0]}x{size[1]} pixels, the policy was trained on {height}x{width}; "
            "pass resize_images=True to load_policy where the view is the same"
        )
