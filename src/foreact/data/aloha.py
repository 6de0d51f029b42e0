"""Reads ALOHA's HDF5 episodes, as ACT, ACT++ and Mobile ALOHA record them (FORMATS.md 3)."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from foreact.config import SourceConfig
from foreact.data.hdf5 import (
    check_frame,
    check_length,
    get_dataset,
    hdf5_fingerprint,
    numbered,
    open_hdf5,
    read_vectors,
    rows,
)
from foreact.data.lerobot_info import DepthCode
from foreact.data.lookup import find_camera, find_episode
from foreact.errors import DataError
from foreact.records import Camera, Episode, Features

EPISODE = r"episode_(\d+)\.hdf5"
"""Name of an episode's file."""
QPOS = "observations/qpos"
ACTION = "action"
BASE_ACTION = "base_action"
IMAGES = "observations/images"
DEPTH = "observations/images_depth"
FPS = 50.0
JOINTS = tuple(
    f"{side}_{joint}"
    for side in ("left", "right")
    for joint in ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
)
"""Of the two ViperX arms, in LeRobot's words; rad, but for the grippers, which are 0 where closed and 1 where open."""
BASE = ("linear_vel", "angular_vel")
"""Of Mobile ALOHA's base [m/s, rad/s]."""
DEPTH_RANGE = (DepthCode().near, DepthCode().far)
"""Metres: the files do not say how far a depth camera sees, so LeRobot's range is taken."""
_JPEG_END = b"\xff\xd9"


class AlohaSource:
    """An `EpisodeSource` over a folder of `episode_{i}.hdf5`.

    Every file is opened once to see its length. One that cannot be read has length 0, and `episode` says why: so the
    other episodes can be used without it.

    Real robots: the observation of frame t goes with the action of frame t - 1, and that of frame 0 with the action
    of frame 0, since the recorder notes an action before the robot has obeyed it (the original ACT code); simulation
    pairs them as they are. The original code does so chunk by chunk, so its chunk from frame 0 is not shifted and its
    last one ends with the last action, which is left out here.
    """

    def __init__(self, root: str | Path, config: SourceConfig) -> None:
        """Read names, sizes and lengths.

        Args:
            root: The folder.
            config: `fps`, `jpeg_colours`, `action_lag` and `base_action` concern these files.

        Raises:
            DataError: If there is no episode, or not one that can be read.
        """
        self.root = Path(root)
        self._config = config
        found = numbered((entry.name for entry in os.scandir(self.root)), EPISODE, f"'{self.root}'")
        self._paths = {index: self.root / name for index, name in found.items()}
        self.episode_indices = tuple(self._paths)
        self.features, self.lengths = self._scan()
        self.tasks: Mapping[int, str] = dict.fromkeys(self._paths, self.root.resolve().name)
        self.scenes: Mapping[int, int] = {index: index for index in self._paths}
        self._fingerprint: str | None = None

    def episode(self, index: int) -> Episode:
        """Return an episode's vectors.

        Raises:
            DataError: If there is no such episode, its file is damaged, without frames, or not like the first one's.
        """
        path, where = self._place(index)
        with open_hdf5(path, where) as file:
            state = read_vectors(file, QPOS, where, self.features.state_dim)
            action = self._action(file, where)
        check_length(state, QPOS, len(action), where)
        if action.shape[1] != self.features.action_dim:
            raise DataError(
                f"{where}: the action has {action.shape[1]} dimensions, in the first episode "
                f"{self.features.action_dim}; episodes of different robots do not belong into one data set"
            )
        return Episode(index=index, task=self.tasks[index], action=action, state=state)

    def frames(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield an episode's pictures in order, uint8 (H, W, 3), or each n-th of them.

        Raises:
            DataError: If there is no such camera or episode, or its file, length, size or a JPEG is not right.
        """
        of = self._camera(camera)
        path, where = self._place(index)
        with open_hdf5(path, where) as file:
            pictures = self._pictures(file, f"{IMAGES}/{camera}", index, where)
            for number, row in enumerate(rows(pictures)):
                frame = row if pictures.ndim == 4 else self._decode(row, f"{where}, camera '{camera}': frame {number}")
                check_frame(frame, number, of, where)
                if number % every == 0:
                    yield frame

    def depth(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield an episode's depth maps in order, float32 (H, W) in metres; raises like `frames`."""
        self._camera(camera)
        path, where = self._place(index)
        with open_hdf5(path, where) as file:
            name = f"{DEPTH}/{camera}"
            pictures = self._pictures(file, name, index, where)
            for number, row in enumerate(rows(pictures)):
                millimetres = row
                if pictures.ndim == 2:
                    millimetres = np.asarray(_picture(row, f"{where}: frame {number} of '{name}'"))
                if millimetres.ndim != 2 or millimetres.dtype != np.uint16:
                    raise DataError(
                        f"{where}: frame {number} of '{name}' has shape {millimetres.shape} of {millimetres.dtype}, "
                        "expected millimetres (height, width) of uint16; policy.use_depth False goes without depth"
                    )
                if number % every == 0:
                    yield millimetres.astype(np.float32) / 1000

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change when the content changes, not its place or dates.

        They depend on `jpeg_colours`, too, for a frame cache that is named by them holds other pictures then; in files
        over 16 MiB a picture changed in place may go unnoticed.
        """
        if self._fingerprint is None:
            vectors = dict.fromkeys(self._paths.values(), (QPOS, ACTION, BASE_ACTION))
            self._fingerprint = hdf5_fingerprint(vectors, self.root, self._config.jpeg_colours)
        return self._fingerprint

    def _scan(self) -> tuple[Features, Mapping[int, int]]:
        """Lengths of all episodes, 0 where the file cannot be read, and the features of the first that can."""
        features, lengths = None, dict.fromkeys(self._paths, 0)
        first = None
        for index in self._paths:
            path, where = self._place(index)
            try:
                with open_hdf5(path, where) as file:
                    lengths[index] = len(get_dataset(file, ACTION, where))
                    if features is None:
                        features = self._features(file, where)
            except DataError as error:
                first = first or error
        if features is None:
            raise first or DataError(f"'{self.root}' has no episodes: expected episode_0.hdf5, episode_1.hdf5, ...")
        return features, lengths

    def _features(self, file: h5py.File, where: str) -> Features:
        state_dim = read_vectors(file, QPOS, where).shape[1]
        action_dim = read_vectors(file, ACTION, where).shape[1]
        has_base = self._config.base_action != "none" and BASE_ACTION in file
        depth = file.get(DEPTH, {})
        return Features(
            action_names=_joints(action_dim) + (BASE if has_base else ()),
            state_names=_joints(state_dim),
            cameras=tuple(
                self._camera_of(file, name, where, name in depth)
                for name, of in file.get(IMAGES, {}).items()
                if isinstance(of, h5py.Dataset)
            ),
            fps=self._config.fps or FPS,
        )

    def _camera_of(self, file: h5py.File, name: str, where: str, has_depth: bool) -> Camera:
        pictures = get_dataset(file, f"{IMAGES}/{name}", where)
        _check_layout(pictures, where)
        if pictures.ndim == 4:
            height, width = pictures.shape[1:3]
        else:
            height, width = self._decode(pictures[0], f"{where}, camera '{name}': frame 0").shape[:2]
        return Camera(name=name, height=height, width=width, depth_range=DEPTH_RANGE if has_depth else None)

    def _action(self, file: h5py.File, where: str) -> np.ndarray:
        action = read_vectors(file, ACTION, where)
        if self._config.base_action != "none" and BASE_ACTION in file:
            base = read_vectors(file, BASE_ACTION, where, len(BASE))
            check_length(base, BASE_ACTION, len(action), where)
            action = np.concatenate([action, smooth(base) if self._config.base_action == "smoothed" else base], axis=1)
        lag = self._config.action_lag
        if lag is None:
            lag = 0 if file.attrs.get("sim", False) else 1
        return action[np.maximum(np.arange(len(action)) - lag, 0)]

    def _pictures(self, file: h5py.File, name: str, index: int, where: str) -> h5py.Dataset:
        pictures = get_dataset(file, name, where)
        _check_layout(pictures, where)
        check_length(pictures, name, self.lengths[index], where)
        return pictures

    def _decode(self, row: np.ndarray, what: str) -> np.ndarray:
        """A compressed picture, uint8 (H, W, 3), with the channels that went into OpenCV or those of the JPEG."""
        picture = np.asarray(_picture(row, what).convert("RGB"))
        return picture[..., ::-1].copy() if self._config.jpeg_colours == "opencv" else picture.copy()

    def _place(self, index: int) -> tuple[Path, str]:
        """An episode's file, and the words for it in messages."""
        path = find_episode(self.root, self._paths, index)
        return path, f"episode {index} ('{path}')"

    def _camera(self, name: str) -> Camera:
        return find_camera({camera.name: camera for camera in self.features.cameras}, name)


def smooth(base_action: np.ndarray) -> np.ndarray:
    """Return the mean of each 5 neighbouring rows (T, D), with zeros beyond the ends, as ACT++ trains on it."""
    padded = np.pad(base_action.astype(np.float64), ((2, 2), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, 5, axis=0).mean(axis=-1).astype(np.float32)


def _joints(dim: int) -> tuple[str, ...]:
    return JOINTS if dim == len(JOINTS) else tuple(f"joint.{i}" for i in range(dim))


def _check_layout(pictures: h5py.Dataset, where: str) -> None:
    """Pictures are (T, H, W, 3) or depth (T, H, W), or compressed rows (T, bytes), whatever `compress` says."""
    compressed = pictures.ndim == 2 and pictures.dtype == np.uint8
    if not (compressed or (pictures.ndim == 4 and pictures.shape[3] == 3) or pictures.ndim == 3):
        raise DataError(
            f"{where}: '{pictures.name}' has shape {pictures.shape} of {pictures.dtype}, expected uint8 "
            "(frames, height, width, 3), or (frames, bytes) of compressed pictures; record it again"
        )


def _picture(row: np.ndarray, what: str) -> Image.Image:
    """Decode a JPEG or PNG that is padded with zeros.

    A JPEG that was cut decodes without an error, since the padding goes on as grey; so its end is looked for.
    """
    content = row.tobytes()
    try:
        picture = Image.open(io.BytesIO(content), formats=("JPEG", "PNG"))
        picture.load()
    except (OSError, SyntaxError) as error:
        raise DataError(f"{what} is not a JPEG or PNG; leave the episode out or record it again") from error
    if picture.format == "JPEG" and _JPEG_END not in content:
        raise DataError(f"{what} is a JPEG without its end; leave the episode out or record it again")
    return picture
