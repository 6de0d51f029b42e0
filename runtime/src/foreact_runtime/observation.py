"""Raw observations of a robot, checked by name, shape and type.

A policy that silently takes another image size, camera or unit fails on the robot and nowhere else; so everything
that differs from training is refused with the name of the offender (USERS.md 6, 11).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foreact_runtime import keys
from foreact_runtime.errors import ObservationError, unknown_name
from foreact_runtime.records import Camera, Features
from foreact_runtime.resize import resized

Observation = Mapping[str, Any]
"""In LeRobot's keys; see `read_observation`."""
_MOST_RESIZED = 8
"""Times that a picture's side may be larger or smaller than the recorded one: what a resize costs grows with it."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One observation, found to be what the policy was trained on; by camera name."""

    state: np.ndarray | None = None
    """float32 (S,)."""
    environment_state: np.ndarray | None = None
    """float32 (E,)."""
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    """uint8 (H, W, 3), of the recorded size."""
    depth: Mapping[str, np.ndarray] = field(default_factory=dict)
    """float32 (H, W) [m], of the recorded size; where nothing was measured, an end of the camera's range."""


def read_observation(observation: Observation, features: Features, *, any_size: bool = False) -> Observed:
    """Return what the policy uses of an observation.

    Args:
        observation: In LeRobot's keys: `observation.state` (S,), `observation.environment_state` (E,),
            `observation.images.<camera>` uint8 (H, W, 3) and, for RGB-D, `observation.depth.<camera>` float (H, W)
            in metres. Where the features have state groups, the state may come as groups instead, nested
            (`{"qpos": {"torso": ...}}`) or flat (`{"qpos/torso": ...}`). Keys that the policy does not use are
            ignored. The order of the keys does not matter.
        features: What the policy was trained on.
        any_size: Accept pictures of another size than the recorded one, and resize them to it. What training did to
            recorded pictures is done to them afterwards.

    Raises:
        ObservationError: If a key is missing or a value has the wrong shape, type, size or is not finite.
    """
    state, where = read_vectors(observation, features)
    return Observed(
        state=state,
        environment_state=where,
        images={
            camera.name: resized(np.ascontiguousarray(_image(observation, camera, any_size)), _recorded(camera))
            for camera in features.cameras
        },
        depth={
            camera.name: resized(_metres(_depth(observation, camera, any_size), camera), _recorded(camera))
            for camera in features.cameras
            if camera.depth_range is not None
        },
    )


def check_pictures(observation: Observation, features: Features, *, any_size: bool = False) -> None:
    """Refuse an observation that lacks a picture or has one of another type or size; pixels are not looked at.

    It takes microseconds: for every tick, also those in which no chunk is needed, so that a camera that has died is
    noticed at once.

    Raises:
        ObservationError: Like `read_observation`.
    """
    for camera in features.cameras:
        _image(observation, camera, any_size)
        if camera.depth_range is not None:
            _depth(observation, camera, any_size)


def read_vectors(observation: Observation, features: Features) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return state (S,) and coordinates (E,) of an observation, None for what the policy has not.

    Raises:
        ObservationError: If one is missing, or has the wrong shape or type or is not finite.
    """
    state = _state(observation, features) if features.state_dim else None
    if not features.environment_dim:
        return state, None
    shape = (features.environment_dim,)
    return state, _vector(_get(observation, keys.ENVIRONMENT_STATE), keys.ENVIRONMENT_STATE, shape)


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
    array = _array(value, key)
    if array.dtype.kind not in "fiu":
        raise ObservationError(f"'{key}' has dtype {array.dtype}, expected a float vector of shape {shape}")
    if array.shape != shape:
        raise ObservationError(f"'{key}' has shape {array.shape}, expected {shape}")
    array = _float32(array)
    if not np.isfinite(array).all():
        wrong = ", ".join(str(i) for i in np.flatnonzero(~np.isfinite(array)))
        raise ObservationError(f"'{key}' is not finite in dimension {wrong}; check the sensor or the encoder")
    return array


def _array(value: Any, key: str) -> np.ndarray:
    try:
        return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError) as error:
        raise ObservationError(f"'{key}' is no array: {error}") from error


def _float32(array: np.ndarray) -> np.ndarray:
    """What is too large for it becomes infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def _image(observation: Mapping[str, Any], camera: Camera, any_size: bool) -> np.ndarray:
    """A colour picture as it was sent, once its type and size are known to be right."""
    key = keys.image_key(camera.name)
    array = _array(_get(observation, key), key)
    if array.dtype != np.uint8:
        raise ObservationError(f"'{key}' has dtype {array.dtype}, expected uint8 colours 0..255 in the order RGB")
    if array.ndim != 3 or array.shape[2] != 3:
        raise ObservationError(
            f"'{key}' has shape {array.shape}, expected {(*_recorded(camera), 3)} (height, width, RGB)"
        )
    _check_size(key, array.shape[:2], camera, any_size)
    return array


def _depth(observation: Mapping[str, Any], camera: Camera, any_size: bool) -> np.ndarray:
    """A picture of depths as it was sent, once its type and size are known to be right."""
    key = keys.depth_key(camera.name)
    array = _array(_get(observation, key), key)
    if array.dtype.kind != "f":
        raise ObservationError(f"'{key}' has dtype {array.dtype}, expected float metres")
    if array.ndim != 2:
        raise ObservationError(f"'{key}' has shape {array.shape}, expected {_recorded(camera)} (height, width)")
    _check_size(key, array.shape, camera, any_size)
    return array


def _metres(depth: np.ndarray, camera: Camera) -> np.ndarray:
    """Finite depths, float32: a resize would spread what is infinite."""
    if np.isnan(depth).any():
        key, count = keys.depth_key(camera.name), int(np.isnan(depth).sum())
        raise ObservationError(f"'{key}' is nan in {count} pixels; send 0 or inf where nothing was measured")
    assert camera.depth_range is not None
    near, far = camera.depth_range
    return np.nan_to_num(_float32(depth), posinf=far, neginf=near)


def _recorded(camera: Camera) -> tuple[int, int]:
    return camera.recorded_size or (camera.height, camera.width)


def _check_size(key: str, size: tuple[int, ...], camera: Camera, any_size: bool) -> None:
    recorded = _recorded(camera)
    if tuple(size) == recorded:
        return
    found, expected = f"{size[0]}x{size[1]}", f"{recorded[0]}x{recorded[1]}"
    if not any_size:
        raise ObservationError(
            f"'{key}' is {found} pixels, the policy was trained on {expected}; "
            "pass resize_images=True to load_policy where the view is the same"
        )
    ratios = [before / after for before, after in zip(size, recorded, strict=True)]
    if min(ratios) < 1 / _MOST_RESIZED or max(ratios) > _MOST_RESIZED:
        raise ObservationError(
            f"'{key}' is {found} pixels, more than {_MOST_RESIZED} times larger or smaller than the {expected} of "
            "training; resize it before"
        )
