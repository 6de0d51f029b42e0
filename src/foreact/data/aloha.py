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
    get_group,
    hdf5_fingerprint,
    numbered,
    open_hdf5,
    read_vectors,
    rows,
    vector_dim,
)
from foreact.data.layout import LOOKED_AT, Layout, usual_layout
from foreact.data.lerobot_info import DepthCode
from foreact.data.lookup import find_camera, find_episode, spread_evenly
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
    other episodes can be used without it. Cameras and sizes are those of most episodes (`usual_layout`).

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
            DataError: If there is no such episode, its file is damaged, without frames, or not like most others'.
        """
        path, where = self._place(index)
        with open_hdf5(path, where) as file:
            state = read_vectors(file, QPOS, where, self.features.state_dim)
            action = self._action(file, where)
        check_length(state, QPOS, len(action), where)
        return Episode(index=index, task=self.tasks[index], action=action, state=state)

    def frames(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield an episode's pictures in order, uint8 (H, W, 3), or each n-th of them.

        Raises:
            DataError: If there is no such camera or episode, or its file, length, size or a JPEG is not right.
        """
        of = self._camera(camera)
        path, where = self._place(index)
        with open_hdf5(path, where) as file:
            pictures, compressed = self._pictures(file, f"{IMAGES}/{camera}", index, where)
            for number, row in enumerate(rows(pictures)):
                frame = self._decode(row, f"{where}, camera '{camera}': frame {number}") if compressed else row
                check_frame(frame, number, of, where)
                if number % every == 0:
                    yield frame

    def depth(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield an episode's depth maps in order, float32 (H, W) in metres; raises like `frames`."""
        self._camera(camera)
        path, where = self._place(index)
        with open_hdf5(path, where) as file:
            name = f"{DEPTH}/{camera}"
            pictures, compressed = self._pictures(file, name, index, where)
            for number, row in enumerate(rows(pictures)):
                what = f"{where}: frame {number} of '{name}'"
                millimetres = np.asarray(_picture(row, what)) if compressed else row
                if millimetres.ndim != 2 or millimetres.dtype != np.uint16:
                    raise DataError(
                        f"{what} has shape {millimetres.shape} of {millimetres.dtype}, "
                        "expected millimetres (height, width) of uint16; policy.use_depth False goes without depth"
                    )
                if number % every == 0:
                    yield millimetres.astype(np.float32) / 1000

    def file_of(self, index: int) -> Path:
        """Return an episode's file."""
        return self._place(index)[0]

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
        """Features, and lengths of all episodes: 0 where the file cannot be read."""
        lengths = dict.fromkeys(self._paths, 0)
        looked_at = set(spread_evenly(self.episode_indices, LOOKED_AT))
        layouts: list[Layout] = []
        problems: dict[str, DataError] = {}
        for index in self._paths:
            path, where = self._place(index)
            try:
                with open_hdf5(path, where) as file:
                    lengths[index] = len(get_dataset(file, ACTION, where))
                    if index in looked_at:
                        layouts.append(self._layout(file, where, problems))
            except DataError as error:
                problems.setdefault(ACTION, error)
        if not layouts:
            none = DataError(f"'{self.root}' has no episodes: expected episode_0.hdf5, episode_1.hdf5, ...")
            raise problems.get(ACTION, none)
        usual = usual_layout(layouts, f"'{self.root}'")
        for name, size in usual.items():
            if not size:  # in no episode are these pictures of a known kind: no reason to go on without them
                raise problems[name]
        return self._features(usual), lengths

    def _layout(self, file: h5py.File, where: str, problems: dict[str, DataError]) -> Layout:
        """What an episode holds; pictures whose size cannot be seen are noted as a problem."""
        layout: dict[str, tuple[int, ...]] = {name: (vector_dim(file, name, where),) for name in (QPOS, ACTION)}
        if self._with_base(file):
            layout[BASE_ACTION] = (vector_dim(file, BASE_ACTION, where),)
        for kind in (IMAGES, DEPTH):
            for camera, of in get_group(file, kind, where).items() if kind in file else ():
                if isinstance(of, h5py.Dataset):
                    name = f"{kind}/{camera}"
                    try:
                        layout[name] = _size(of, name, where)
                    except DataError as error:
                        layout[name] = ()
                        problems.setdefault(name, error)
        return layout

    def _features(self, usual: Layout) -> Features:
        self._action_dim = usual[ACTION][0]
        cameras = {name.removeprefix(f"{IMAGES}/"): of for name, of in usual.items() if name.startswith(f"{IMAGES}/")}
        return Features(
            action_names=_joints(self._action_dim) + (BASE if BASE_ACTION in usual else ()),
            state_names=_joints(usual[QPOS][0]),
            cameras=tuple(
                Camera(
                    name=name,
                    height=size[0],
                    width=size[1],
                    depth_range=DEPTH_RANGE if f"{DEPTH}/{name}" in usual else None,
                )
                for name, size in cameras.items()
            ),
            fps=self._config.fps or FPS,
        )

    def _with_base(self, file: h5py.File) -> bool:
        return self._config.base_action != "none" and BASE_ACTION in file

    def _action(self, file: h5py.File, where: str) -> np.ndarray:
        action = read_vectors(file, ACTION, where, self._action_dim)
        has_base, expected = self._with_base(file), self.features.action_dim > self._action_dim
        if has_base != expected:
            raise DataError(
                f"{where} has {'a' if has_base else 'no'} '{BASE_ACTION}', unlike most episodes; leave the episode "
                "out, or all base actions with source.base_action none"
            )
        if has_base:
            base = read_vectors(file, BASE_ACTION, where, len(BASE))
            check_length(base, BASE_ACTION, len(action), where)
            action = np.concatenate([action, smooth(base) if self._config.base_action == "smoothed" else base], axis=1)
        lag = self._config.action_lag
        if lag is None:
            lag = 0 if file.attrs.get("sim", False) else 1
        return action[np.maximum(np.arange(len(action)) - lag, 0)]

    def _pictures(self, file: h5py.File, name: str, index: int, where: str) -> tuple[h5py.Dataset, bool]:
        """A camera's pictures or depth, and whether they are compressed."""
        pictures = get_dataset(file, name, where)
        compressed = _is_compressed(pictures, name, where)
        check_length(pictures, name, self.lengths[index], where)
        return pictures, compressed

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


def _is_compressed(pictures: h5py.Dataset, name: str, where: str) -> bool:
    """Whether pictures are rows of bytes (T, bytes), whatever `compress` says, and not (T, H, W, 3) or depth (T, H, W).

    Raises:
        DataError: If they are none of these.
    """
    is_depth = name.startswith(f"{DEPTH}/")
    plain = pictures.ndim == 3 if is_depth else pictures.ndim == 4 and pictures.shape[3] == 3
    compressed = pictures.ndim == 2 and pictures.dtype == np.uint8
    if not (compressed or plain):
        axes = "uint16 (frames, height, width)" if is_depth else "uint8 (frames, height, width, 3)"
        raise DataError(
            f"{where}: '{name}' has shape {pictures.shape} of {pictures.dtype}, expected {axes}, or uint8 "
            "(frames, bytes) of compressed pictures; leave the episode out or record it again"
        )
    return compressed


def _size(pictures: h5py.Dataset, name: str, where: str) -> tuple[int, int]:
    """Height and width of pictures, compressed ones by the header of the first."""
    if not _is_compressed(pictures, name, where):
        return pictures.shape[1], pictures.shape[2]
    if not len(pictures):
        raise DataError(f"{where}: '{name}' has no rows; leave the episode out or record it again")
    width, height = _header(pictures[0].tobytes(), f"{where}: frame 0 of '{name}'").size
    return height, width


def _header(content: bytes, what: str) -> Image.Image:
    """A JPEG or PNG of which only the header is read."""
    try:
        return Image.open(io.BytesIO(content), formats=("JPEG", "PNG"))
    except (OSError, SyntaxError) as error:
        raise DataError(f"{what} is not a JPEG or PNG; leave the episode out or record it again") from error


def _picture(row: np.ndarray, what: str) -> Image.Image:
    """Decode a JPEG or PNG that is padded with zeros.

    A JPEG that was cut decodes without an error, since the padding goes on as grey; so its end is looked for.
    """
    content = row.tobytes()
    picture = _header(content, what)
    try:
        picture.load()
    except (OSError, SyntaxError) as error:
        raise DataError(f"{what} is a damaged {picture.format}; leave the episode out or record it again") from error
    if picture.format == "JPEG" and _JPEG_END not in content:
        raise DataError(f"{what} is a JPEG without its end; leave the episode out or record it again")
    return picture
