"""What a LeRobotDataset that is being written holds: its features, and what does not fit them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foreact.data.lerobot_info import DepthCode
from foreact.data.lerobot_v3_tables import (
    AUTO_FEATURES,
    DATA_LIMIT_MB,
    DATA_PATH,
    FILES_PER_CHUNK,
    VIDEO_LIMIT_MB,
    VIDEO_PATH,
)
from foreact.data.video import (
    CODEC,
    CRF,
    DEPTH_CODEC,
    DEPTH_PIXEL_FORMAT,
    GOP,
    PIXEL_FORMAT,
    PRESET,
    whole_fps,
)
from foreact.errors import DataError, unknown_name
from foreact.records import Camera, Features
from foreact_runtime import keys

Specs = Mapping[str, Mapping[str, Any]]
"""Features as info.json describes them, by key: dtype, shape, names, for videos also how they were encoded."""

STANDARD = (keys.STATE, keys.ENVIRONMENT_STATE, keys.ACTION)


class Schema:
    """The features that are known before the first episode; further vectors are those of the first episode."""

    def __init__(self, features: Features, robot_type: str) -> None:
        """Take the names and sizes.

        Raises:
            DataError: If the rate is not a whole number.
        """
        self.fps = whole_fps(features.fps)
        self._robot_type = robot_type
        named = zip(STANDARD, (features.state_names, features.environment_names, features.action_names), strict=True)
        self._vectors: Specs = {
            key: {"dtype": "float32", "shape": [len(names)], "names": list(names)} for key, names in named if names
        }
        colour = {keys.image_key(camera.name): self._video(camera, depth=False) for camera in features.cameras}
        depth = {
            keys.image_key(depth_name(camera.name)): self._video(camera, depth=True)
            for camera in features.cameras
            if camera.depth_range
        }
        self._videos: Specs = {**colour, **depth}

    @property
    def video_keys(self) -> tuple[str, ...]:
        """Keys of the features with videos."""
        return tuple(self._videos)

    @property
    def video_path(self) -> str | None:
        """Template of the videos' paths; None without cameras."""
        return VIDEO_PATH if self._videos else None

    def info(self, *, n_episodes: int, n_frames: int, n_tasks: int, extras: Specs) -> dict[str, Any]:
        """Return the content of info.json."""
        auto = {key: {"dtype": dtype, "shape": [1], "names": None} for key, dtype in AUTO_FEATURES.items()}
        return {
            "codebase_version": "v3.0",
            "fps": self.fps,
            "features": {**self._vectors, **extras, **self._videos, **auto},
            "total_episodes": n_episodes,
            "total_frames": n_frames,
            "total_tasks": n_tasks,
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": DATA_LIMIT_MB,
            "video_files_size_in_mb": VIDEO_LIMIT_MB,
            "data_path": DATA_PATH,
            "video_path": self.video_path,
            "robot_type": self._robot_type,
            "splits": {"train": f"0:{n_episodes}"},
        }

    def extras_of(self, info: Mapping[str, Any]) -> Specs:
        """Return the further vectors of a data set, from its info.json."""
        known = {*self._vectors, *self._videos, *AUTO_FEATURES}
        return {key: spec for key, spec in info["features"].items() if key not in known}

    def check_same(self, info: Mapping[str, Any], root: Path) -> None:
        """Refuse to continue a data set with other features.

        Raises:
            DataError: Naming the first difference.
        """
        expected = {"codebase_version": "v3.0", "fps": self.fps, "data_path": DATA_PATH, "video_path": self.video_path}
        for name, value in expected.items():
            if info.get(name) != value:
                raise DataError(f"'{root}' has {name} {info.get(name)}, this recording {value}; {_ELSEWHERE}")
        ours = {**self._vectors, **self._videos}
        there = {
            key: spec
            for key, spec in info["features"].items()
            if key in STANDARD or spec["dtype"] in ("video", "image")
        }
        for key in sorted(there.keys() | ours.keys()):
            old, new = (_essence(specs.get(key)) for specs in (there, ours))
            if old != new:
                raise DataError(f"'{root}' has '{key}' {old}, this recording {new}; {_ELSEWHERE}")

    def check_episode(
        self,
        vectors: Mapping[str, np.ndarray],
        shapes: Mapping[str, tuple[int, int, int]],
        fps: int,
        extras: Specs | None,
    ) -> None:
        """Refuse an episode with other features.

        Args:
            vectors: Its vectors, each (L, D).
            shapes: Height, width and channels of the pictures by camera name, that of depth among them.
            fps: Its rate.
            extras: The further vectors of the data set; None where this is its first episode.

        Raises:
            DataError: Naming the first difference.
        """
        if fps != self.fps:
            raise DataError(f"the episode has {fps} frames/s, the data set {self.fps}")
        for key, spec in self._vectors.items():
            if key not in vectors:
                raise DataError(f"the episode lacks '{key}'; it has: {', '.join(vectors)}")
            if [vectors[key].shape[1]] != spec["shape"]:
                raise DataError(f"'{key}' has {vectors[key].shape[1]} dimensions, the data set {spec['shape'][0]}")
        for key in STANDARD:
            if key in vectors and key not in self._vectors:
                raise DataError(f"the episode has '{key}', which the data set's features do not name")
        if extras is not None and extra_specs(vectors) != extras:
            raise DataError(
                f"the episode's further vectors are {_words(extra_specs(vectors))}, the data set's {_words(extras)}"
            )
        pictures = {keys.image_key(camera): list(shape) for camera, shape in shapes.items()}
        for key in pictures:
            if key not in self._videos:
                raise DataError(unknown_name("camera feature", key, self._videos))
        for key, spec in self._videos.items():
            if key not in pictures:
                raise DataError(f"the episode has no frames for '{key}'; it has: {', '.join(pictures) or 'none'}")
            if pictures[key] != spec["shape"]:
                raise DataError(f"'{key}' of the episode is {pictures[key]}, the data set has {spec['shape']}")

    def _video(self, camera: Camera, *, depth: bool) -> dict[str, Any]:
        channels = 1 if depth else 3
        encoded: dict[str, Any] = {
            "video.height": camera.height,
            "video.width": camera.width,
            "video.codec": DEPTH_CODEC if depth else CODEC,
            "video.pix_fmt": DEPTH_PIXEL_FORMAT if depth else PIXEL_FORMAT,
            "video.fps": self.fps,
            "video.channels": channels,
            "has_audio": False,
            "video.g": GOP,
            "video.crf": None if depth else CRF,
            "video.preset": PRESET,
            "video.video_backend": "pyav",
            "video.extra_options": {"x265-params": "lossless=1"} if depth else {"bf": "0"},
            "is_depth_map": depth,
        }
        if depth:
            code = depth_code_of(camera)
            encoded |= {
                "video.depth_min": code.near,
                "video.depth_max": code.far,
                "video.shift": code.shift,
                "video.use_log": code.use_log,
                "depth_unit": "m",  # of the statistics
            }
        return {
            "dtype": "video",
            "shape": [camera.height, camera.width, channels],
            "names": ["height", "width", "channels"],
            "info": encoded,
        }


def depth_name(camera: str) -> str:
    """Return the name that the depth of a camera has as a camera of its own, LeRobot's way: `head_depth`."""
    return f"{camera}_depth"


def depth_code_of(camera: Camera) -> DepthCode:
    """Return how the depth of an RGB-D camera is stored: LeRobot's quantiser over the camera's range."""
    assert camera.depth_range is not None
    return DepthCode(near=camera.depth_range[0], far=camera.depth_range[1])


_ELSEWHERE = "record into another folder"


def extra_specs(vectors: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Return what info.json says of an episode's further vectors."""
    return {
        key: {"dtype": values.dtype.name, "shape": [values.shape[1]], "names": None}
        for key, values in vectors.items()
        if key not in STANDARD
    }


def _essence(spec: Mapping[str, Any] | None) -> tuple[Any, ...] | None:
    return None if spec is None else (spec["dtype"], list(spec["shape"]), spec["names"])


def _words(specs: Specs) -> str:
    return ", ".join(f"'{key}' {spec['dtype']} {spec['shape']}" for key, spec in specs.items()) or "none"
