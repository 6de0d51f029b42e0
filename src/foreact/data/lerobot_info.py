"""`meta/info.json` of a LeRobotDataset, checked: rate, paths, and which feature is what (FORMATS.md 1.2).

Cameras are told by their dtype, never by their name; the order of an image's axes by its `names`, never by
position.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreact.console import warn
from foreact.data.files import refuse_lfs_pointer
from foreact.errors import DataError
from foreact.records import Camera, Features
from foreact_runtime import keys

INFO = "meta/info.json"
_CHUNKS_SIZE = 1000
"""LeRobot's, where info.json does not say."""
_DETAILS = ("video_info", "info")
"""What describes a video further; the former is older."""
_WORDS_OF_A_KIND = frozenset(("observation", "images", "image", "rgb", "color", "colour", "depth", "linear"))


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
    max_code: int = 4095
    """12 bits."""
    pixel_format: str = "gray12le"
    """What a frame is brought to before its codes are read: that which the codes were written in. A wider format would
    scale them."""


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
    depth_unit: str | None = None
    """For depth images: `m` or `mm`; None where nobody says: metres if they are floats, else millimetres."""


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What info.json says."""

    version: str
    fps: float
    total_episodes: int
    chunks_size: int
    """Episodes (v2) or files (v3) a chunk."""
    data_path: str
    """Template with `{chunk_index}` and `{file_index}` (v3.0) or `{episode_chunk}` and `{episode_index}`."""
    video_path: str
    """Template like `data_path`, with `{video_key}`; empty where there are no videos."""
    cameras: Mapping[str, CameraFeature]
    """By camera name."""
    depth: Mapping[str, CameraFeature]
    """By the name of the colour camera that they belong to."""
    features: Features

    @property
    def video_keys(self) -> tuple[str, ...]:
        """Keys of the features that are videos, colour and depth."""
        return tuple(of.key for of in (*self.cameras.values(), *self.depth.values()) if of.is_video)

    def check_count(self, n_listed: int, path: Path) -> None:
        """Compare the count with the episodes that are listed, all of which are read.

        A person is told of more: a recording that was killed at the wrong moment has one more, one that was put
        together by hand any number.

        Args:
            n_listed: Episodes that the metadata list.
            path: Where.

        Raises:
            DataError: If there are fewer.
        """
        found = f"'{path}' lists {n_listed} episodes, info.json counts {self.total_episodes}"
        if n_listed < self.total_episodes:
            raise DataError(f"{found}; copy the data set again")
        if n_listed > self.total_episodes:
            warn(f"{found}; all that are listed are read")


def read_info(root: Path) -> DatasetInfo:
    """Read and check `meta/info.json`.

    Raises:
        DataError: If it is missing, not JSON, lacks a key or describes a feature that contradicts itself.
    """
    return parse_info(load_json(root / INFO), root / INFO)


def check_specs(specs: Any, path: Path) -> None:
    """Refuse features whose description cannot be taken apart.

    Args:
        specs: `features` of info.json.
        path: Where from, for messages.

    Raises:
        DataError: Naming the feature, what its description holds and what it should.
    """
    if not isinstance(specs, Mapping):
        raise DataError(f"'{path}' has features = {specs!r}, expected a mapping; copy the data set again")
    for key, spec in specs.items():
        if "/" in key:
            raise DataError(
                f"feature '{key}' of '{path}' has a '/' in its name, which LeRobot forbids; "
                "rename it there and in the files, with '.' or '_' instead"
            )
        if not isinstance(spec, Mapping):
            raise DataError(
                f"feature '{key}' of '{path}' is {spec!r}, expected dtype, shape and names; copy the data set again"
            )
        for part in _DETAILS:
            if not isinstance(spec.get(part) or {}, Mapping):
                raise DataError(
                    f"feature '{key}' of '{path}' has {part} = {spec[part]!r}, expected a mapping; remove it there"
                )


def named_sizes(spec: Mapping[str, Any]) -> dict[str, int]:
    """Return a picture's sizes by the names of its axes, `channel` as `channels`; without those that do not fit."""
    shape, names = spec.get("shape"), (str(name) for name in _flat(spec.get("names")))
    axes = {"channel": "channels"}
    sizes = zip(names, shape if isinstance(shape, list) else (), strict=False)
    return {axes.get(name, name): size for name, size in sizes if type(size) is int and size > 0}


def parse_info(content: Mapping[str, Any], path: Path) -> DatasetInfo:
    """Check the content of `meta/info.json`.

    A reader whose info.json says something else than its files hold (BEHAVIOR's of 2025 does) loads it with
    `load_json`, sets right what it knows better, and hands it in here.

    Args:
        content: As loaded.
        path: Where from, for messages.

    Raises:
        DataError: Like `read_info`.
    """

    def required(key: str, kind: type | tuple[type, ...]) -> Any:
        value = content.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise DataError(f"'{path}' has {key} = {value!r}, expected a {_words(kind)}; copy the data set again")
        return value

    fps = float(required("fps", (int, float)))
    if not 0 < fps < math.inf:
        raise DataError(f"'{path}' has fps = {fps:g}, expected a positive rate; write the recorded one there")
    total_episodes: int = required("total_episodes", int)
    if total_episodes < 1:
        raise DataError(f"'{path}' says that the data set has {total_episodes} episodes; record some first")
    chunks_size = required("chunks_size", int) if "chunks_size" in content else _CHUNKS_SIZE
    if chunks_size < 1:
        raise DataError(f"'{path}' has chunks_size = {chunks_size}, expected a positive number; LeRobot's is 1000")
    specs: dict[str, dict[str, Any]] = required("features", dict)
    check_specs(specs, path)
    for name in ("data_path", "video_path"):
        if Path(str(content.get(name))).is_absolute():
            raise DataError(
                f"'{path}' has {name} = '{content[name]}', expected a path within the data set's folder; "
                "take off what stands before data/ or videos/"
            )
    cameras, depth = _cameras(specs, path)
    if keys.ACTION not in specs:
        raise DataError(f"'{path}' has no feature '{keys.ACTION}'; it has: {', '.join(specs)}")
    code = {name: feature.depth_code or DepthCode() for name, feature in depth.items()}
    features = Features(
        action_names=_names(specs, keys.ACTION, path),
        state_names=_names(specs, keys.STATE, path),
        environment_names=_names(specs, keys.ENVIRONMENT_STATE, path),
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
    info = DatasetInfo(
        version=required("codebase_version", str),
        fps=fps,
        total_episodes=total_episodes,
        chunks_size=chunks_size,
        data_path=required("data_path", str),
        video_path=required("video_path", str) if content.get("video_path") is not None else "",
        cameras=cameras,
        depth=depth,
        features=features,
    )
    if info.video_keys and not info.video_path:
        raise DataError(f"'{path}' has video feature '{info.video_keys[0]}' but no video_path; copy the data set again")
    return info


def fill_template(template: str, **values: int | str) -> str:
    """Return the place of a file.

    Args:
        template: `data_path` or `video_path` of info.json.
        values: By the names that it may have.

    Raises:
        DataError: If it has other names.
    """
    try:
        return template.format(**values)
    except (LookupError, ValueError) as error:
        known = ", ".join(f"{{{name}}}" for name in values)
        raise DataError(
            f"info.json has the path '{template}', expected one with {known}; correct it or codebase_version"
        ) from error


def load_json(path: Path) -> dict[str, Any]:
    """Return a JSON file's object.

    Raises:
        DataError: If the file is missing or not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"'{path}' is missing; copy the data set again, or check the path") from error
    except (OSError, ValueError) as error:
        refuse_lfs_pointer(path)
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


def _names(specs: Mapping[str, Mapping[str, Any]], key: str, path: Path) -> tuple[str, ...]:
    """One name a dimension, whatever the form of `names`: list, nested list, dict of lists or of indices, null."""
    if key not in specs:
        return ()
    shape: Any = specs[key].get("shape")
    if not _are_sizes(shape, 1):
        raise DataError(f"feature '{key}' of '{path}' has shape {shape!r}, expected one number, such as [7]")
    dim = shape[0]
    names = tuple(str(name) for name in _flat(specs[key].get("names")))
    return names if len(names) == dim else tuple(f"{key.rpartition('.')[2]}_{i}" for i in range(dim))


def _are_sizes(shape: Any, n: int) -> bool:
    return isinstance(shape, list) and len(shape) == n and all(type(size) is int and size > 0 for size in shape)


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
        cameras = [of for of in colour if name == f"{of}_depth"] or [of for of in colour if _place(of) == _place(name)]
        if len(cameras) != 1:
            raise DataError(
                f"depth feature '{feature.key}' of '{path}' belongs to {'several' if cameras else 'no'} camera; "
                f"expected a name '<camera>_depth' with one of the cameras: {', '.join(cameras or colour) or 'none'}"
            )
        paired[cameras[0]] = feature
    return colour, paired


def _place(name: str) -> tuple[str, ...]:
    """A camera's name without the words for what it shows: `observation.rgb.head` and `depth.head` give `head`."""
    return tuple(word for word in name.replace("_", ".").split(".") if word not in _WORDS_OF_A_KIND)


def _details(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is said of a picture; `info` counts before the older `video_info`."""
    return {name: value for part in _DETAILS for name, value in (spec.get(part) or {}).items()}


def _is_depth(spec: Mapping[str, Any]) -> bool:
    """One flag that says so is enough, wherever it stands (FORMATS.md 1.6)."""
    flags = ("is_depth_map", "video.is_depth_map")
    return any((spec.get(part) or {}).get(flag) for part in _DETAILS for flag in flags)


def _camera(key: str, spec: Mapping[str, Any], path: Path) -> CameraFeature:
    shape, sizes, details = spec.get("shape"), named_sizes(spec), _details(spec)
    channels = 1 if _is_depth(spec) else 3
    if not _are_sizes(shape, 3) or sizes.keys() != {"height", "width", "channels"} or sizes["channels"] != channels:
        raise DataError(
            f"feature '{key}' of '{path}' has shape {shape} with names {spec.get('names')}; "
            f"expected height, width and channels, {channels} of them; correct it there"
        )
    known = DepthCode()
    near, far, shift = (
        details.get(f"video.{name}", default)
        for name, default in (("depth_min", known.near), ("depth_max", known.far), ("shift", known.shift))
    )
    if not all(isinstance(value, int | float) for value in (near, far, shift)) or not -shift < near < far < math.inf:
        raise DataError(f"feature '{key}' of '{path}' has depth from {near} to {far} m, shift {shift} m; correct them")
    code = DepthCode(near=near, far=far, shift=shift, use_log=bool(details.get("video.use_log", known.use_log)))
    is_video = spec["dtype"] == "video"
    return CameraFeature(
        key=key,
        is_video=is_video,
        height=sizes["height"],
        width=sizes["width"],
        depth_code=code if channels == 1 and is_video else None,
        depth_unit=details.get("depth_unit"),
    )
