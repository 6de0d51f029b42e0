"""Reads robomimic's HDF5 files, low-dimensional and with images (FORMATS.md 3.1)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from foreact.config import SourceConfig
from foreact.data.hdf5 import (
    check_frame,
    check_length,
    damage_named,
    get_dataset,
    get_group,
    hdf5_fingerprint,
    is_vector,
    numbered,
    open_hdf5,
    read_vectors,
    rows,
    vector_dim,
)
from foreact.data.layout import LOOKED_AT, Layout, usual_layout
from foreact.data.lookup import find_camera, find_episode, spread_evenly
from foreact.errors import ConfigError, DataError, unknown_name
from foreact.records import Camera, Episode, Features

DATA = "data"
DEMO = r"demo_(\d+)"
ACTIONS = "actions"
FPS = 20.0
"""Of robosuite, where the file does not say."""
_ACTIONS = f"/{ACTIONS}"
"""In a layout; no observation's name has a `/`."""
_HAND = ("eef_pos", "eef_quat", "gripper_qpos")
"""robomimic's own low-dimensional observations of each robot."""


class RobomimicSource:
    """An `EpisodeSource` over a robomimic file; episode i is its `demo_i`.

    The state is `robot{n}_eef_pos`, `_eef_quat` and `_gripper_qpos` of each robot as robomimic trains on them; in a
    file without these, all floating-point vectors but those called `object...`. The rate and the task are those of the
    environment in `env_args`. Depth is passed over, since robosuite does not write metres; `/mask`, too: the split is
    made from `train.val_fraction` and `train.seed`. Observations and their sizes are those of most demonstrations
    (`usual_layout`). One without actions has length 0, and `episode` says what is wrong with it.
    """

    def __init__(self, path: str | Path, config: SourceConfig) -> None:
        """Read names, sizes and lengths.

        Args:
            path: The file.
            config: `fps`, `low_dim_keys` and `environment_keys` concern it.

        Raises:
            DataError: If it is damaged, no robomimic file, or has no demonstration that can be read.
            ConfigError: If a key is not in the file.
        """
        self.root = Path(path)
        where = f"'{self.root}'"
        with open_hdf5(self.root, where) as file:
            data = _data_of(file, self.root)
            self._demos = numbered(data, DEMO, f"'{self.root}'")
            if not self._demos:
                raise DataError(f"{where} has no demonstrations: expected '{DATA}/demo_0', '{DATA}/demo_1', ...")
            environment = _environment(data, where)
            self._layout, self.lengths = self._scan(data, config)
        self.features = self._layout.features(config.fps or _rate(environment) or FPS)
        self.episode_indices = tuple(self._demos)
        self.tasks: Mapping[int, str] = dict.fromkeys(self._demos, str(environment.get("env_name") or ""))
        self.scenes: Mapping[int, int] = {index: index for index in self._demos}
        self._fingerprint: str | None = None

    def episode(self, index: int) -> Episode:
        """Return an episode's vectors.

        Raises:
            DataError: If there is no such episode, or it is damaged, without frames, or not like most others.
        """
        name, where = self._name(index), self._where(index)
        with open_hdf5(self.root, where) as file:
            demo = get_group(file, f"{DATA}/{name}", where)
            action = read_vectors(demo, ACTIONS, where, self.features.action_dim)

            def joined(sizes: Mapping[str, int]) -> np.ndarray | None:
                parts = []
                for key, dim in sizes.items():
                    parts.append(read_vectors(demo, f"obs/{key}", where, dim))
                    check_length(parts[-1], f"obs/{key}", len(action), where)
                return np.concatenate(parts, axis=1) if parts else None

            return Episode(
                index=index,
                task=self.tasks[index],
                action=action,
                state=joined(self._layout.state),
                environment_state=joined(self._layout.environment),
            )

    def frames(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield an episode's pictures in order, uint8 (H, W, 3), or each n-th of them.

        Raises:
            DataError: If there is no such camera or episode, or it is damaged or has another length or size.
        """
        of = find_camera({of.name: of for of in self.features.cameras}, camera)
        name, where = self._name(index), self._where(index)
        with open_hdf5(self.root, where) as file:
            pictures = get_dataset(file, f"{DATA}/{name}/obs/{camera}", where)
            check_length(pictures, f"obs/{camera}", self.lengths[index], where)
            for number, frame in enumerate(rows(pictures)):
                check_frame(frame, number, of, where)
                if number % every == 0:
                    yield frame

    def depth(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        """Raise a DataError: no camera of these files has depth in metres."""
        raise DataError(f"'{self.root}': camera '{camera}' has no depth in metres")

    def file_of(self, index: int) -> Path:
        """Return the file."""
        self._name(index)
        return self.root

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change when the content changes, not its place or date.

        In a file over 16 MiB a picture changed in place may go unnoticed.
        """
        if self._fingerprint is None:
            names = (ACTIONS, *(f"obs/{key}" for key in self._layout.vectors))
            numbers = [f"{DATA}/{demo}/{name}" for demo in self._demos.values() for name in names]
            self._fingerprint = hdf5_fingerprint({self.root: numbers}, self.root.parent)
        return self._fingerprint

    def _scan(self, data: h5py.Group, config: SourceConfig) -> tuple[_Layout, Mapping[int, int]]:
        """What most demonstrations hold, and lengths of all: 0 where there are no actions."""
        lengths = dict.fromkeys(self._demos, 0)
        looked_at = set(spread_evenly(tuple(self._demos), LOOKED_AT))
        layouts: list[Layout] = []
        floating: set[str] = set()
        problems: list[DataError] = []
        for index, name in self._demos.items():
            try:
                with damage_named(self.root, self._where(index)):
                    lengths[index] = _length(data[name])
                    if index in looked_at:
                        layout, of_floats = _layout_of(data, name, self._where(index))
                        layouts.append(layout)
                        floating |= of_floats
            except DataError as error:
                problems.append(error)
        if not layouts:
            raise problems[0]
        return _Layout(usual_layout(layouts, f"'{self.root}'"), floating, config), lengths

    def _name(self, index: int) -> str:
        return find_episode(self.root, self._demos, index)

    def _where(self, index: int) -> str:
        return f"episode {index} ('{self.root}', {self._demos[index]})"


def _layout_of(data: h5py.Group, name: str, where: str) -> tuple[Layout, set[str]]:
    """What a demonstration holds, its actions among it, and which of its observations are floating-point vectors."""
    demo = get_group(data, name, where)
    observations = demo.get("obs")
    if not isinstance(observations, h5py.Group):
        raise DataError(f"{where} has no observations; make them with robomimic's dataset_states_to_obs.py")
    datasets = {key: of for key, of in observations.items() if isinstance(of, h5py.Dataset)}
    vectors = {key: (of.shape[1] if of.ndim == 2 else 1,) for key, of in datasets.items() if is_vector(of)}
    pictures = {
        key: (of.shape[1], of.shape[2])
        for key, of in datasets.items()
        if of.ndim == 4 and of.shape[3] == 3 and of.dtype == np.uint8
    }
    layout = {_ACTIONS: (vector_dim(demo, ACTIONS, where),), **vectors, **pictures}
    return layout, {key for key in vectors if datasets[key].dtype.kind == "f"}


class _Layout:
    """What most demonstrations hold, and what of it is read."""

    def __init__(self, usual: Layout, floating: set[str], config: SourceConfig) -> None:
        self._action_dim = usual[_ACTIONS][0]
        self.vectors = {key: size[0] for key, size in usual.items() if len(size) == 1 and key != _ACTIONS}
        """Dimensions of every vector, by key."""
        self._pictures = {key: size for key, size in usual.items() if len(size) == 2}
        usual_state = _usual([key for key in self.vectors if key in floating])
        self.state = self._chosen("low_dim_keys", config.low_dim_keys or usual_state)
        """Dimensions of the state's parts, by key."""
        self.environment = self._chosen("environment_keys", config.environment_keys)
        """Dimensions of the coordinates' parts, by key."""

    def features(self, fps: float) -> Features:
        return Features(
            action_names=_names({"action": self._action_dim}),
            state_names=_names(self.state),
            environment_names=_names(self.environment),
            cameras=tuple(Camera(name=key, height=size[0], width=size[1]) for key, size in self._pictures.items()),
            fps=fps,
        )

    def _chosen(self, option: str, names: tuple[str, ...]) -> dict[str, int]:
        for name in names:
            if name not in self.vectors:
                raise ConfigError(f"source.{option}: {unknown_name('observation', name, self.vectors)}")
        return {name: self.vectors[name] for name in names}


def _usual(keys: list[str]) -> tuple[str, ...]:
    """The observations that make up the state where nobody says: the hand of each robot, else all but the objects'."""
    robots = sorted({match.group(1) for key in keys if (match := re.match(r"(robot\d+)_", key))})
    hands = [f"{robot}_{part}" for robot in robots for part in _HAND if f"{robot}_{part}" in keys]
    return tuple(hands or [key for key in sorted(keys) if not key.startswith("object")])


def _names(sizes: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(f"{key}.{i}" for key, dim in sizes.items() for i in range(dim))


def _data_of(file: h5py.File, path: Path) -> h5py.Group:
    data = file.get(DATA)
    if isinstance(data, h5py.Group):
        return data
    if "observations" in file and "action" in file:
        raise DataError(f"'{path}' is one episode of an ALOHA data set; give the folder '{path.parent}'")
    holds = ", ".join(file) or "nothing"
    raise DataError(f"'{path}' is not a robomimic file: expected a group '{DATA}', found {holds}")


def _length(demo: object) -> int:
    actions = demo.get(ACTIONS) if isinstance(demo, h5py.Group) else None
    return len(actions) if isinstance(actions, h5py.Dataset) and actions.ndim else 0


def _environment(data: h5py.Group, where: str) -> Mapping[str, Any]:
    text = data.attrs.get("env_args", "{}")
    try:
        content = json.loads(text)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: attribute 'env_args' of '{DATA}' is not JSON; copy or download it again") from error
    return content if isinstance(content, dict) else {}


def _rate(environment: Mapping[str, Any]) -> float | None:
    arguments = environment.get("env_kwargs")
    rate = arguments.get("control_freq") if isinstance(arguments, dict) else None
    return float(rate) if isinstance(rate, int | float) and 0 < rate < math.inf else None
