"""`meta/info.json` of a LeRobotDataset, checked: rate, paths, and which feature is what (FORMATS.md 1.2).

Cameras are told by their dtype, never by their name; the order of an image's axes by its `names`, never by
position.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreact import keys
from foreact.errors import DataError
from foreact.records import Camera, Features

INFO = "meta/info.json"


@dataclass(frozen=True, kw_only=True)
class DepthCode:
    """How depth became integers: `code = max_code * (f(d) - f(near)) / (f(far) - f(near))` (FORMATS.md 1.6)."""

    near: float = 0.01
    """Metres, code 0."""
    far: float = 10.0
    """Metres, the largest code."""
    shift: float = 3.5
    """Metres; f(d) = ln(d + shift)."""
    use_log: bool = True
    """False: f(d) = d."""


@dataclass(frozen=True, kw_only=True)
class CameraFeature:
    """A camera as the files hold it."""

    key: str
    """The feature's key, part of the video's path."""
    is_video: bool
    """False: images embedded in the parquet files."""
    height: int
    width: int
    depth_code: DepthCode | None = None
    """For depth videos."""
    depth_in_metres: bool = False
    """For depth images: float metres; False: integer millimetres."""


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What info.json says."""

    version: str
    fps: float
    total_episodes: int
    data_path: str
    """Template with `{chunk_index}` and `{file_index}` (v3.0) or `{episode_chunk}` and `{episode_index}`."""
    video_path: str | None
    cameras: Mapping[str, CameraFeature]
    """By camera name."""
    depth: Mapping[str, CameraFeature]
    """By the name of the colour camera that they belong to."""
    features: Features


def read_info(root: Path) -> DatasetInfo:
    """Read and check `meta/info.json`.

    Raises:
        DataError: If it is missing, not JSON, lacks a key or describes a feature that contradicts itself.
    """
    content = load_json(root / INFO)
    path = root / INFO

    def required(key: str, kind: type | tuple[type, ...]) -> Any:
        value = content.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise DataError(f"'{path}' has {key} = {value!r}, expected a {_words(kind)}; copy the data set again")
        return value

    fps = float(required("fps", (int, float)))
    if fps <= 0:
        raise DataError(f"'{path}' has fps = {fps:g}, expected a positive rate")
    specs: dict[str, dict[str, Any]] = required("features", dict)
    cameras, depth = _cameras(specs, path)
    if keys.ACTION not in specs:
        raise DataError(f"'{path}' has no feature '{keys.ACTION}'; it has: {', '.join(specs)}")
    code = {name: feature.depth_code or DepthCode() for name, feature in depth.items()}
    features = Features(
        action_names=_names(specs, keys.ACTION),
        state_names=_names(specs, keys.STATE),
        environment_names=_names(specs, keys.ENVIRONMENT_STATE),
        cameras=tuple(
            Camera(
                name=name,
                height=feature.height,
                width=feature.width,
                depth_range=(code[name].near, code[name].far) if name in depth else None,
            )
            for name, feature in cameras.items()
        ),
        fps=fps,
    )
    return DatasetInfo(
        version=required("codebase_version", str),
        fps=fps,
        total_episodes=required("total_episodes", int),
        data_path=required("data_path", str),
        video_path=content.get("video_path"),
        cameras=cameras,
        depth=depth,
        features=features,
    )


def load_json(path: Path) -> dict[str, Any]:
    """Return a JSON file's object.

    Raises:
        DataError: If the file is missing or not a JSON object.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise DataError(f"'{path}' is missing; copy the data set again, or check the path") from error
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read as JSON ({error}); copy the data set again") from error
    if not isinstance(content, dict):
        raise DataError(f"'{path}' holds a {type(content).__name__}, expected a JSON object")
    return content


def camera_name(key: str) -> str:
    """Return the name of a camera feature: `observation.images.top` gives `top`, other keys stay whole."""
    return keys.camera_of(key) or key


def _words(kind: type | tuple[type, ...]) -> str:
    words = {str: "text", int: "whole number", float: "number", dict: "mapping"}
    return words[kind[-1] if isinstance(kind, tuple) else kind]


def _names(specs: Mapping[str, Mapping[str, Any]], key: str) -> tuple[str, ...]:
    """One name a dimension, whatever the form of `names`: list, nested list, dict of lists or of indices, null."""
    if key not in specs:
        return ()
    dim = int(specs[key]["shape"][0])
    names = tuple(str(name) for name in _flat(specs[key].get("names")))
    return names if len(names) == dim else tuple(f"{key.rpartition('.')[2]}_{i}" for i in range(dim))


def _flat(names: Any) -> list[Any]:
    if isinstance(names, dict):
        if all(isinstance(value, int) for value in names.values()):
            return sorted(names, key=names.__getitem__)
        return _flat(list(names.values()))
    if isinstance(names, list):
        return [name for item in names for name in _flat(item)]
    return [] if names is None else [names]


def _cameras(
    specs: Mapping[str, Mapping[str, Any]], path: Path
) -> tuple[dict[str, CameraFeature], dict[str, CameraFeature]]:
    colour: dict[str, CameraFeature] = {}
    depth: dict[str, CameraFeature] = {}
    for key, spec in specs.items():
        if spec.get("dtype") in ("video", "image"):
            (depth if _is_depth(spec) else colour)[camera_name(key)] = _camera(key, spec, path)
    paired = {}
    for name, feature in depth.items():
        of = name.removesuffix("_depth")
        if of == name or of not in colour:
            raise DataError(
                f"depth feature '{feature.key}' of '{path}' belongs to no camera; expected a name "
                f"'<camera>_depth' with one of the cameras: {', '.join(colour) or 'none'}"
            )
        paired[of] = feature
    return colour, paired


def _details(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**(spec.get("video_info") or {}), **(spec.get("info") or {})}


def _is_depth(spec: Mapping[str, Any]) -> bool:
    return any(_details(spec).get(flag) for flag in ("is_depth_map", "video.is_depth_map"))


def _camera(key: str, spec: Mapping[str, Any], path: Path) -> CameraFeature:
    shape, names, details = spec.get("shape") or [], spec.get("names") or [], _details(spec)
    axes = {"channel": "channels"}
    sizes = {axes.get(str(name), str(name)): int(size) for name, size in zip(names, shape, strict=False)}
    channels = 1 if _is_depth(spec) else 3
    if len(shape) != 3 or len(names) != 3 or sizes.get("channels") != channels or {"height", "width"} - sizes.keys():
        raise DataError(
            f"feature '{key}' of '{path}' has shape {list(shape)} with names {names}; "
            f"expected height, width and channels, {channels} of them"
        )
    known = DepthCode()
    code = DepthCode(
        near=details.get("video.depth_min", known.near),
        far=details.get("video.depth_max", known.far),
        shift=details.get("video.shift", known.shift),
        use_log=details.get("video.use_log", known.use_log),
    )
    is_video = spec["dtype"] == "video"
    return CameraFeature(
        key=key,
        is_video=is_video,
        height=sizes["height"],
        width=sizes["width"],
        depth_code=code if channels == 1 and is_video else None,
        depth_in_metres=details.get("depth_unit") == "m",
    )
