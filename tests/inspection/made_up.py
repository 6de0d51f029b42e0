"""A data set in memory whose truth is known, and one planted fault of each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.data.sidecar import Sidecar, write_sidecar
from foreact.errors import DataError
from foreact.records import Arm, Camera, Episode, Features

FPS = 20.0
ARM = Arm(
    joints=("pan", "lift", "elbow"),
    positions=((0, 0, 0.1), (0, 0, 0), (0.15, 0, 0)),
    quaternions=((1, 0, 0, 0),) * 3,
    axes=((0, 0, 1), (0, 1, 0), (0, 1, 0)),
    limits=((-2, 2), (-2, 2), (-2.5, 2.5)),
    hand_position=(0.15, 0, 0),
    hand_quaternion=(1, 0, 0, 0),
    gripper="gripper",
    gripper_closed=0.4,
)
FEATURES = Features(
    action_names=("pan", "lift", "elbow", "roll", "gripper"),
    state_names=("pan", "lift", "elbow", "roll", "gripper"),
    environment_names=("x", "y"),
    cameras=(
        Camera(name="top", height=48, width=64),
        Camera(name="wrist", height=36, width=48, depth_range=(0.01, 10.0)),
    ),
    fps=FPS,
    arm=ARM,
)


@dataclass
class MadeUpSource:
    """An `EpisodeSource` that draws its pictures when they are asked for."""

    episodes: dict[int, Episode]
    features: Features
    seed: int
    scenes: Mapping[int, int]
    root: Path = Path("made-up")
    damaged: dict[int, str] = field(default_factory=dict)
    picture: dict[tuple[int, str], Callable[[int, np.ndarray], np.ndarray]] = field(default_factory=dict)
    """By episode and camera: what becomes of a frame, given its number and the true picture."""
    shown_frame: dict[tuple[int, str], Callable[[int], int]] = field(default_factory=dict)
    """By episode and camera: which frame is shown instead."""
    shown_camera: dict[tuple[int, str], str] = field(default_factory=dict)
    depth_factor: float = 1.0
    seen: dict[int, np.ndarray] = field(default_factory=dict)
    """By episode: the state that its pictures show, where that which was recorded is wrong."""
    times: dict[int, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    """By episode: what becomes of its even timestamps [s]."""

    episode_indices: tuple[int, ...] = ()
    lengths: Mapping[int, int] = field(default_factory=dict)
    tasks: Mapping[int, str] = field(default_factory=dict)

    def settle(self) -> MadeUpSource:
        """Bring what is said of the episodes in line with them, after the last change."""
        self.episode_indices = tuple(self.episodes)
        self.lengths = {index: of.length for index, of in self.episodes.items()}
        self.tasks = {index: of.task for index, of in self.episodes.items()}
        return self

    def episode(self, index: int) -> Episode:
        if index in self.damaged:
            raise DataError(self.damaged[index])
        return self.episodes[index]

    def timestamps(self, index: int) -> np.ndarray:
        even = np.arange(self.lengths[index]) / self.features.fps
        return self.times.get(index, lambda times: times)(even)

    def frames(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        for number in range(0, self.lengths[index], every):
            shown = self.shown_frame.get((index, camera), lambda n: n)(number)
            frame = self.draw(index, self.shown_camera.get((index, camera), camera), shown)
            size = next((of.height, of.width) for of in self.features.cameras if of.name == camera)
            if frame.shape[:2] != size:
                rows = np.arange(size[0]) * frame.shape[0] // size[0]
                frame = frame[rows][:, np.arange(size[1]) * frame.shape[1] // size[1]]
            change = self.picture.get((index, camera))
            yield frame if change is None else change(number, frame)

    def draw(self, index: int, camera: str, number: int) -> np.ndarray:
        """A textured background, a red cue and the hand as a bright square; the wrist sees the background move."""
        of = next(of for of in self.features.cameras if of.name == camera)
        # The scene is drawn for the cameras of FEATURES; another size shows the same scene.
        drawn_for = next(of for of in FEATURES.cameras if of.name == camera)
        row, column = np.mgrid[: of.height, : of.width].astype(float)
        row, column = row * drawn_for.height / of.height, column * drawn_for.width / of.width
        episode = self.episodes[index]
        state = self.seen.get(index, episode.state)
        assert state is not None
        assert episode.environment_state is not None
        pan, lift, elbow = state[number, :3]
        light = 1 + 0.05 * np.sin(index + self.seed)
        if camera == "wrist":
            grey = 110 + 50 * np.sin(row / 5 + 9 * lift + 4 * pan) * np.cos(column / 6 + 9 * pan + 5 * elbow)
            frame = np.repeat(grey[..., None], 3, axis=2) * [1.0, 0.8, 0.6]
        else:
            frame = np.repeat((90 + 40 * (column > 30) + 20 * (row > 20))[..., None], 3, axis=2).astype(float)
            for place, colour in (
                (episode.environment_state[0], (220, 40, 40)),
                ((pan + 0.3 * lift, elbow - 0.3 * lift), (250, 250, 240)),
            ):
                y, x = 6 + 20 * (place[0] + 0.5), 10 + 26 * (place[1] + 0.5)
                spot = np.exp(-((row - y) ** 2 + (column - x) ** 2) / 12)
                frame = frame + spot[..., None] * (np.array(colour) - frame)
        return np.clip(frame * light, 0, 255).astype(np.uint8)

    def depth(self, index: int, camera: str, every: int = 1) -> Iterator[np.ndarray]:
        for frame in self.frames(index, camera, every):
            yield (self.depth_factor * (0.4 + frame[..., 0] / 500)).astype(np.float32)

    def file_of(self, index: int) -> Path:
        return self.root / str(index)

    def fingerprint(self) -> str:
        return f"made-up-{self.seed}"


def clean(seed: int, n_episodes: int = 24) -> MadeUpSource:
    """Reach for a cue, close, carry to a bowl, open: smooth, with an encoder's noise; the state follows the action.

    Cues are drawn uniformly.
    """
    rng = np.random.default_rng(seed)
    episodes = {}
    for index in range(n_episodes):
        cue = rng.uniform(-0.3, 0.3, 2)
        episodes[index] = drawn(index, cue, rng)
    return MadeUpSource(episodes=episodes, features=FEATURES, seed=seed, scenes={index: index for index in episodes})


def drawn(index: int, cue: np.ndarray, rng: np.random.Generator, stretch: float = 1.0) -> Episode:
    legs = [int(stretch * rng.integers(low, low + 8)) for low in (22, 6, 22, 6)]
    home = np.array([0.0, -0.6, 0.5, 0.0]) + rng.normal(0, 0.04, 4)
    at_cue = np.array([1.5 * cue[1], 0.2 + cue[0], 0.3 - cue[0], cue[1]]) + rng.normal(0, 0.02, 4)
    bowl = np.array([0.9, 0.3, -0.2, 0.4]) + rng.normal(0, 0.03, 4)
    way = [(home, at_cue, 0.8, 0.8), (at_cue, at_cue + 0.03, 0.8, 0.2), (at_cue + 0.03, bowl, 0.2, 0.2)]
    way.append((bowl, bowl + 0.03, 0.2, 0.8))
    parts = []
    for n, (start, stop, grip_start, grip_stop) in zip(legs, way, strict=True):
        s = (np.arange(n) + 1) / n
        s = 10 * s**3 - 15 * s**4 + 6 * s**5
        joints = start + (stop - start) * s[:, None]
        parts.append(np.column_stack([joints, grip_start + (grip_stop - grip_start) * s]))
    action = np.concatenate(parts)
    state = np.empty_like(action)
    state[0] = [*home, 0.8]
    for t in range(1, len(action)):
        state[t] = state[t - 1] + 0.6 * (action[t - 1] - state[t - 1])
    state += rng.normal(0, 0.0005, state.shape)
    return Episode(
        index=index,
        task="pick",
        action=action.astype(np.float32),
        state=state.astype(np.float32),
        environment_state=np.tile(cue, (len(action), 1)).astype(np.float32),
    )


def to_disk(source: MadeUpSource, root: Path) -> Path:
    """Write a set as a LeRobotDataset v3.0, its videos through our encoder, without its depth."""
    cameras = tuple(replace(camera, depth_range=None) for camera in source.features.cameras)
    features = replace(source.features, cameras=cameras)
    writer = DatasetWriter(root, features=features, robot_type="made up")
    for index in source.settle().episode_indices:
        episode = source.episode(index)
        vectors = {
            "observation.state": episode.state,
            "observation.environment_state": episode.environment_state,
            "action": episode.action,
        }
        writer.add(
            stage_episode(
                writer.staging,
                task=episode.task,
                vectors={key: values for key, values in vectors.items() if values is not None},
                frames={camera.name: list(source.frames(index, camera.name)) for camera in cameras},
                fps=FPS,
            )
        )
    writer.finish()
    write_sidecar(root, Sidecar(arm=features.arm))
    return root


def of_size(source: MadeUpSource, height: int, width: int) -> MadeUpSource:
    """Let both cameras show the same scene in another size."""
    cameras = tuple(replace(camera, height=height, width=width) for camera in source.features.cameras)
    source.features = replace(source.features, cameras=cameras)
    return source


def with_noise(source: MadeUpSource, rng: np.random.Generator) -> MadeUpSource:
    """Add a camera's noise to all pictures that are not planted."""

    def noisy(number: int, frame: np.ndarray) -> np.ndarray:
        return np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)

    for index in source.episodes:
        for camera in source.features.cameras:
            source.picture.setdefault((index, camera.name), noisy)
    return source


@dataclass(frozen=True)
class Fault:
    """Something planted, and which question is to name it."""

    question: str
    plant: Callable[[MadeUpSource, np.random.Generator], list[int]]
    """Changes the set and returns the episodes concerned; none where it concerns all."""


def some(source: MadeUpSource, rng: np.random.Generator, n: int = 2) -> list[int]:
    return sorted(rng.choice(list(source.episodes), n, replace=False).tolist())


def change(source: MadeUpSource, index: int, key: str, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    episode = source.episodes[index]
    values = edit(getattr(episode, key).copy())
    if key == "state" and len(values) == episode.length:
        source.seen[index] = getattr(episode, key)
    source.episodes[index] = replace(episode, **{key: values})  # type: ignore[arg-type]


def change_some(
    source: MadeUpSource, rng: np.random.Generator, key: str, edit: Callable[[np.ndarray], np.ndarray]
) -> list[int]:
    found = some(source, rng)
    for index in found:
        change(source, index, key, edit)
    return found


def _constant(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    def hold(values: np.ndarray) -> np.ndarray:
        values[:, 3] = 0.1
        return values

    for index in source.episodes:
        change(source, index, "state", hold)
    return []


def _nan(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    def spoil(values: np.ndarray) -> np.ndarray:
        values[len(values) // 2, 1] = np.nan
        return values

    return change_some(source, rng, "state", spoil)


def _saturated(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    """The pan joint's encoder ends at 0.6; the bowl is at 0.9."""
    for index in source.episodes:
        change(source, index, "state", lambda values: np.minimum(values, [0.6, 9, 9, 9, 9]).astype(np.float32))
    return list(source.episodes)


def _jump(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    def leap(values: np.ndarray) -> np.ndarray:
        values[len(values) // 3, 2] += 1.2
        return values

    return change_some(source, rng, "state", leap)


def _out_of_range(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    """The elbow's zero is a quarter turn off in a few episodes."""

    def shift(values: np.ndarray) -> np.ndarray:
        values[:, 2] += 2.6
        return values

    found = some(source, rng)
    for index in found:
        change(source, index, "state", shift)
        change(source, index, "action", shift)
    return found


def _long(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    (index,) = some(source, rng, 1)
    cue = source.episodes[index].environment_state
    assert cue is not None
    source.episodes[index] = drawn(index, cue[0], rng, stretch=4)
    return [index]


def _idle(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    found = some(source, rng, 3)
    for index in found:
        for key in ("state", "action", "environment_state"):
            change(source, index, key, lambda values: np.concatenate([np.repeat(values[:1], 40, axis=0), values]))
    return found


def _equal(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    for index, episode in source.episodes.items():
        source.episodes[index] = replace(episode, action=episode.state)  # type: ignore[arg-type]
    return list(source.episodes)


def _delta(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    for index, episode in source.episodes.items():
        assert episode.state is not None
        step = np.diff(episode.state, axis=0, append=episode.state[-1:])
        source.episodes[index] = replace(episode, action=step)
    return []


def _no_grasp(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    def open_all_the_way(values: np.ndarray) -> np.ndarray:
        values[:, 4] = 0.8
        return values

    return change_some(source, rng, "state", open_all_the_way)


def _clusters(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    """The cues of every other episode lie far from those of the rest."""
    found = list(source.episodes)[1::2]
    for index in source.episodes:
        at = np.array([0.3, 0.3]) if index in found else np.array([-0.3, -0.3])
        source.episodes[index] = drawn(index, at + rng.uniform(-0.08, 0.08, 2), rng)
    return found


def _black(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    found = some(source, rng)
    for index in found:
        source.picture[index, "top"] = lambda number, frame: frame * 0 if 10 <= number < 14 else frame
    return found


def _frozen(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    found = some(source, rng)
    for index in found:
        source.shown_frame[index, "wrist"] = lambda number: min(number, 5)
    return found


def _doubled(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    found = some(source, rng)
    for index in found:
        source.shown_frame[index, "wrist"] = lambda number: number - (number % 5 == 0 and number > 0)
    return found


def _swapped(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    found = some(source, rng)
    for index in found:
        source.shown_camera[index, "wrist"], source.shown_camera[index, "top"] = "top", "wrist"
    return found


def _same_cameras(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    for index in source.episodes:
        source.shown_camera[index, "wrist"] = "top"
    return list(source.episodes)


def _light(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    found = some(source, rng)
    for index in found:
        source.picture[index, "top"] = lambda number, frame: (frame // 3).astype(np.uint8)
    return found


def _depth_unit(source: MadeUpSource, rng: np.random.Generator, factor: float) -> list[int]:
    source.depth_factor = factor
    return list(source.episodes)


def _twice(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    one, other = some(source, rng)
    source.episodes[other] = replace(source.episodes[one], index=other)
    return [one, other]


def _leak(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    """A copy of every episode: some of them have to fall on the other side of the split."""
    n = len(source.episodes)
    for index in range(n):
        source.episodes[n + index] = replace(source.episodes[index], index=n + index)
    source.scenes = {index: index for index in source.episodes}
    return []


def _stray(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    """Somebody pushed the arm somewhere else."""
    (index,) = some(source, rng, 1)
    for key in ("state", "action"):
        change(source, index, key, lambda values: (values * [-1, -1, -1, -1, 1] + [0, 0, 0, 1.5, 0]).astype(np.float32))
    return [index]


def _damaged(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    found = some(source, rng)
    source.damaged = {index: f"episode {index} has 3 rows in 'x.parquet', its metadata say 60" for index in found}
    return found


def _of_some(source: MadeUpSource, share: float) -> list[int]:
    return list(source.episodes)[:: round(1 / share)]


def _few_grasps(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    """In three of eight, like a set of which many attempts failed."""
    found = [index for place, index in enumerate(source.episodes) if place % 8 in (1, 4, 6)]
    for index in found:
        change(source, index, "state", lambda values: np.column_stack([values[:, :4], 0.8 + 0 * values[:, 4]]))
    return found


def _degrees(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    """A joint in degrees in a quarter of the episodes, of an arm whose limits nobody knows."""
    source.features = replace(source.features, arm=None)
    found = _of_some(source, 0.25)
    for index in found:
        for key in ("state", "action"):
            change(source, index, key, lambda values: (values * [1, 180 / np.pi, 1, 1, 1]).astype(np.float32))
    return found


def _stale(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    """The state is held for 12 frames on the way to the bowl."""

    def hold(values: np.ndarray) -> np.ndarray:
        at = len(values) // 2 + 3
        values[at : at + 12] = values[at]
        return values

    return change_some(source, rng, "state", hold)


def _noise(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    for index in source.episodes:
        change(source, index, "action", lambda values: rng.normal(0, 0.5, values.shape).astype(np.float32))
    return list(source.episodes)


def _permuted(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    for index in source.episodes:
        change(source, index, "action", lambda values: values[:, [0, 2, 1, 3, 4]])
    return list(source.episodes)


def _late(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    """The state is half a second old in all episodes."""
    for index in source.episodes:
        shown = source.episodes[index].state
        assert shown is not None
        change(source, index, "state", lambda values: values[:-10])
        change(source, index, "action", lambda values: values[10:])
        change(source, index, "environment_state", lambda values: values[10:])
        source.seen[index] = shown[10:]
    return list(source.episodes)


def _shifted(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    return change_some(
        source, rng, "action", lambda values: np.concatenate([values[5:], np.repeat(values[-1:], 5, axis=0)])
    )


def _uneven(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    found = some(source, rng, 4)
    for index in found:
        source.times[index] = lambda times: times + rng.uniform(-0.4, 0.4, len(times)) / FPS
    return found


def _other_rate(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    for index in source.episodes:
        source.times[index] = lambda times: times / 0.99
    return list(source.episodes)


def _gap(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    found = some(source, rng)
    for index in found:
        source.times[index] = lambda times: times + 0.5 * (np.arange(len(times)) > 20)
    return found


def _grey(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    found = some(source, rng)
    for index in found:
        source.picture[index, "wrist"] = lambda number, frame: frame * 0 + 128 if 20 <= number < 23 else frame
    return found


def _exchanged_colours(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    found = some(source, rng, 3)
    for index in found:
        source.picture[index, "wrist"] = lambda number, frame: frame[..., ::-1]
    return found


def _upside_down(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    found = some(source, rng, 3)
    for index in found:
        source.picture[index, "top"] = lambda number, frame: frame[::-1, ::-1]
    return found


def _moved_camera(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    """The upper camera is turned to the side from the middle of the set on: a fifth of the picture."""
    for index in list(source.episodes)[len(source.episodes) // 2 :]:
        source.picture[index, "top"] = lambda number, frame: np.roll(frame, frame.shape[1] // 5, axis=1)
    return []


def _slow_camera(source: MadeUpSource, rng: np.random.Generator, factor: int) -> list[int]:
    """A camera of a lower rate, in all episodes."""
    for index in source.episodes:
        source.shown_frame[index, "wrist"] = lambda number: number - number % factor
    return list(source.episodes)


def _burst(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    found = some(source, rng)
    for index in found:
        source.shown_frame[index, "wrist"] = lambda number: 10 if 10 <= number < 16 else number
    return found


def _noisy_copy(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    one, other = some(source, rng)
    copy = source.episodes[one]
    assert copy.state is not None
    noise = rng.normal(0, 0.001, copy.state.shape).astype(np.float32)
    source.episodes[other] = replace(copy, index=other, state=copy.state + noise)
    return [one, other]


def _cut_copy(source: MadeUpSource, rng: np.random.Generator) -> list[int]:
    one, other = some(source, rng)
    source.episodes[other] = replace(source.episodes[one], index=other)
    for key in ("state", "action", "environment_state"):
        change(source, other, key, lambda values: values[3:])
    source.seen.pop(other, None)
    return [one, other]


FAULTS = {
    "constant dimension": Fault("constant", _constant),
    "NaN": Fault("numbers", _nan),
    "saturated joint": Fault("saturation", _saturated),
    "jump": Fault("jumps", _jump),
    "out of joint range": Fault("joint_range", _out_of_range),
    "length": Fault("lengths", _long),
    "idle start": Fault("idle", _idle),
    "action is state": Fault("action", _equal),
    "delta actions": Fault("action_kind", _delta),
    "no grasp": Fault("gripper", _no_grasp),
    "two clusters": Fault("coverage", _clusters),
    "black frames": Fault("black", _black),
    "frozen camera": Fault("frozen", _frozen),
    "doubled frames": Fault("doubled", _doubled),
    "swapped cameras": Fault("swapped", _swapped),
    "one camera twice": Fault("same_cameras", _same_cameras),
    "light": Fault("brightness", _light),
    "depth in mm": Fault("depth", partial(_depth_unit, factor=1000.0)),
    "depth / 1000": Fault("depth", partial(_depth_unit, factor=0.001)),
    "episode twice": Fault("duplicates", _twice),
    "leakage": Fault("leakage", _leak),
    "outlier": Fault("outliers", _stray),
    "damaged": Fault("damaged", _damaged),
    "few grasps": Fault("gripper", _few_grasps),
    "degrees in some": Fault("units", _degrees),
    "stale state": Fault("stale", _stale),
    "noise as action": Fault("action", _noise),
    "joints permuted": Fault("action", _permuted),
    "late state": Fault("action", _late),
    "action shifted in some": Fault("action", _shifted),
    "uneven timestamps": Fault("timestamps", _uneven),
    "another rate": Fault("timestamps", _other_rate),
    "gap in time": Fault("timestamps", _gap),
    "uniform grey": Fault("black", _grey),
    "red for blue": Fault("views", _exchanged_colours),
    "upside down": Fault("views", _upside_down),
    "camera moved": Fault("views", _moved_camera),
    "half the rate": Fault("doubled", partial(_slow_camera, factor=2)),
    "a third of the rate": Fault("doubled", partial(_slow_camera, factor=3)),
    "a tenth of the rate": Fault("doubled", partial(_slow_camera, factor=10)),
    "burst of repeats": Fault("doubled", _burst),
    "copy with noise": Fault("duplicates", _noisy_copy),
    "copy cut short": Fault("duplicates", _cut_copy),
}
