"""An episode to look at, wherever it comes from: recorded, a policy on recorded pictures, or a policy in simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from foreact.data.depth import resize_depth
from foreact.data.lookup import find_episode
from foreact.data.source import EpisodeSource
from foreact.diagnose.examined import held_out_episodes, open_examined
from foreact.diagnose.replay import Replay, replay
from foreact.diagnose.tune_executor import execute
from foreact.errors import ConfigError
from foreact.geometry.object_frame import HandPose
from foreact.policy.hand import Hand
from foreact.policy.inputs import hand_pose
from foreact.policy.policy import Policy
from foreact.records import Arm, Camera, Episode, Features
from foreact.sim.calibration import arm_of_model, calibration_of_camera
from foreact.sim.delayed import Delay, DelayedControl, SimulatedRobot
from foreact.sim.env import PickPlaceEnv
from foreact.sim.scene import ACTION_NAMES, BLOCK_SIZE
from foreact.sim.task import CAMERAS, TaskConfig, task_for_features
from foreact.studio.depth_picture import depth_picture, depth_title
from foreact.studio.noted import NotedPolicy
from foreact.studio.setup import Prediction
from foreact.studio.shelf import OpenedPolicy, short_names
from foreact.studio.view_cameras import Placed, hand_poses, placed_cameras
from foreact.studio.view_scene import Scene, scene_of, scene_poses
from foreact_runtime.executor import LimitedActions, make_executor
from foreact_runtime.executor_protocol import OuterExecutor
from foreact_runtime.keys import ENVIRONMENT_STATE, STATE
from foreact_runtime.settings import ExecutorSettings

_SHOWN_HEIGHT = 240
"""Pixels that a simulated picture is about high: larger than the policy sees it, with the same field of view."""


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One episode of L ticks."""

    name: str
    """Of its files, without an ending: what is shown, so that another's files do not take their place."""
    title: str
    fps: float
    sizes: Mapping[str, tuple[int, int]]
    """Height and width [pixels] by camera; the depth of an RGB-D camera, as colours, is one more."""
    frames: Callable[[str], Iterator[np.ndarray]]
    """Returns a camera's pictures in order, uint8 (H, W, 3), one a tick; read anew each time, for they may be many."""
    names: tuple[str, ...]
    """Of the action's dimensions."""
    demonstrated: np.ndarray | None = None
    """Actions that were recorded (L, A)."""
    sent: np.ndarray | None = None
    """Actions that a policy's executor hands out (L, A)."""
    limited: np.ndarray | None = None
    """bool (L, A): where the executor's limits changed what a policy asked for."""
    state_names: tuple[str, ...] = ()
    states: np.ndarray | None = None
    """(L, S)."""
    predictions: Sequence[Prediction] = ()
    """The policy's chunks; those without actions were predicted, but its executor did not ask for them."""
    hand: np.ndarray | None = None
    """Where the hand is (L, 3) [m]; None where the arm's kinematics are not known."""
    cue: np.ndarray | None = None
    """What the policy is told (L, 3) [m]; None without coordinates, or where the arm is not known."""
    calibrations: Mapping[str, Placed]
    """Of each tick and in the base's frame: those of the cameras of which it is known where they are."""
    scene: Scene | None = None
    """What the simulation draws; None of what was recorded."""

    @property
    def length(self) -> int:
        """Ticks L."""
        return len(self._actions)

    @property
    def executed(self) -> tuple[Prediction, ...]:
        """Chunks that the executor asked for."""
        return tuple(of for of in self.predictions if len(of.actions))

    @property
    def columns(self) -> dict[str, dict[str, np.ndarray]]:
        """Curves (L,) by name of the dimension and then by kind, `state`, `demonstrated`, `sent`; actions first."""
        columns: dict[str, dict[str, np.ndarray]] = {name: {} for name in (*self.names, *self.state_names)}
        of_kind = {
            "state": (self.state_names, self.states),
            "demonstrated": (self.names, self.demonstrated),
            "sent": (self.names, self.sent),
        }
        for kind, (names, values) in of_kind.items():
            if values is not None:
                for dim, name in enumerate(names):
                    columns[name][kind] = values[:, dim]
        return columns

    def limited_at(self, tick: int) -> tuple[str, ...]:
        """Return the names of the dimensions that were limited in a tick."""
        return () if self.limited is None else tuple(self.names[dim] for dim in np.flatnonzero(self.limited[tick]))

    @property
    def _actions(self) -> np.ndarray:
        actions = self.sent if self.demonstrated is None else self.demonstrated
        assert actions is not None
        return actions


def view_episode(source: EpisodeSource, index: int) -> View:
    """Return a recorded episode.

    Raises:
        DataError: If there is none of that index, or it is damaged.
    """
    find_episode(source.root, source.lengths, index)
    episode = source.episode(index)
    title = f"{source.root.name}, episode {index}" + (f": {episode.task}" if episode.task else "")
    return _recorded(source, episode, source.features, name=name_of(source.root), title=title)


def name_of(path: Path, *parts: str) -> str:
    """Return the beginning of a file's name for what lies at a path: its folder's name and its own, then what else."""
    return "_".join((*short_names([path])[0].split("/"), *parts))


def view_policy_on_data(
    run: str | Path,
    episode: int | None = None,
    *,
    data: str | Path | None = None,
    checkpoint: str = "last",
    device: str = "cpu",
) -> View:
    """Return a recorded episode with what a policy predicts at each of its ticks, and what its executor makes of that.

    Args:
        run: A run or a checkpoint directory.
        episode: Index of the episode; None for the first that the policy was not trained on, else the first.
        data: A data set; None takes what the run was trained on.
        checkpoint: Of a run: "last", "best", or a step's number.
        device: Where the network runs.

    Raises:
        CheckpointError: If there is no policy, or it is damaged.
        ConfigError: If the run does not say what it was trained on.
        DataError: If there is no such episode, or the data do not fit the policy.
    """
    _, held_out, trained_on = held_out_episodes(run, data=data, checkpoint=checkpoint)
    known = (*held_out, *trained_on)
    if episode is not None:
        find_episode(Path(data or run), dict.fromkeys(sorted(known)), episode)
    examined = open_examined(
        run,
        data=data,
        checkpoint=checkpoint,
        episodes=1,
        cache_dir=None,
        device=device,
        chosen=(known[0] if episode is None else episode,),
    )
    policy = examined.policy
    [of] = replay(policy, examined.dataset, held_out=examined.held_out, compared=1)
    seen = {True: "not trained on", False: "trained on", None: "perhaps trained on"}[of.is_held_out]
    recorded = _recorded(
        examined.source,
        of.episode,
        _as_trained(examined.source.features, policy.features),
        every=policy.config.downsample_factor,
        name=name_of(Path(run), *checkpoint_part(checkpoint), "on", name_of(examined.source.root)),
        title=f"{Path(run).name} on {examined.source.root.name}, episode {of.episode.index} ({seen})",
    )
    executor = _LimitsNoted(make_executor(policy.executor_settings, policy.features))
    sent, _ = execute(executor, of.predicted)
    return replace(
        recorded,
        sent=sent,
        limited=np.stack(executor.limited),
        predictions=_predictions(policy, of, examined.source.features.arm),
    )


def checkpoint_part(checkpoint: str) -> tuple[str, ...]:
    """Return how a file's name says that a checkpoint is not the run's last."""
    return () if checkpoint == "last" else (checkpoint,)


def view_rollout(policy: OpenedPolicy, task: TaskConfig, seed: int, *, name: str, called: str) -> tuple[View, str]:
    """Play one episode in simulation and return it with its outcome; the same arguments give the same episode.

    Chunks come at once, as in an evaluation.

    Args:
        policy: Acts.
        task: The task; cameras, their sizes and the rate are made those that the policy was trained on.
        seed: Of the episode.
        name: What the files' names begin with.
        called: The policy and the level, for the title.

    Raises:
        ConfigError: If the policy commands another robot or other units than radians, or needs a camera that the
            simulation does not have.
        SimulationError: If the scene cannot be built.
    """
    if policy.features.action_names != ACTION_NAMES:
        names = ", ".join(policy.features.action_names)
        raise ConfigError(
            f"the policy commands {names}; the simulated SO-101 has {', '.join(ACTION_NAMES)}: look at it on its data, "
            "without --level"
        )
    task = task_for_features(task, policy.features)
    sizes: dict[str, tuple[int, int]] = {
        camera: _enlarged(task.size(camera)) for camera in CAMERAS
    }  # also those that the policy does not see
    largest = np.max([*sizes.values(), *(task.size(camera) for camera in task.cameras)], axis=0).tolist()
    env = PickPlaceEnv(replace(task, cameras=()), render_size=(largest[0], largest[1]))
    try:
        return _play(policy, env, task, seed, sizes, name, called)
    finally:
        env.close()


def _play(
    policy: OpenedPolicy,
    env: PickPlaceEnv,
    task: TaskConfig,
    seed: int,
    sizes: Mapping[str, tuple[int, int]],
    name: str,
    called: str,
) -> tuple[View, str]:
    robot = SimulatedRobot(env, task)
    robot.begin(seed)
    chunks: dict[int, np.ndarray] = {}
    noted = NotedPolicy(policy, lambda _, chunk: chunks.update({len(robot.actions): chunk}))
    control = DelayedControl(noted, robot, Delay(seconds=0.0), None, rng=np.random.default_rng((seed, 1)))
    limiter = control.controller.executor.limiter
    pictures: dict[str, list[np.ndarray]] = {camera: [] for camera in sizes}
    calibrations = {camera: calibration_of_camera(env.model, camera, size) for camera, size in sizes.items()}
    states, limited, poses = [], [], []
    policy.reset()
    while not robot.is_over:
        for camera, size in sizes.items():
            pictures[camera].append(env.picture(camera, size))
        states.append(robot.vectors[STATE])
        poses.append(scene_poses(env))
        before = limiter.counts.sum(axis=0)
        action = control.act()
        limited.append(limiter.counts.sum(axis=0) > before)
        robot.send(action)
    features, arm, outcome = policy.features, arm_of_model(env.model), str(robot.info["outcome"])
    hand = Hand(features, policy.executor_settings, arm)
    cue = np.array([*robot.vectors[ENVIRONMENT_STATE], BLOCK_SIZE / 2])
    recorded = np.stack(states)
    view = View(
        name=f"{name}_seed_{seed:06d}",
        title=f"{called}, seed {seed}: {outcome.replace('_', ' ')}",
        fps=task.fps,
        sizes=sizes,
        frames=lambda camera: iter(pictures[camera]),
        names=ACTION_NAMES,
        sent=np.stack(robot.actions),
        limited=np.stack(limited),
        state_names=ACTION_NAMES,
        states=recorded,
        predictions=tuple(
            Prediction(tick=tick, actions=hand.actions(chunk), path=hand.path(chunk)) for tick, chunk in chunks.items()
        ),
        hand=_hand_path(replace(features, arm=arm), ACTION_NAMES, recorded),
        cue=np.repeat(cue[None], len(states), axis=0),
        calibrations=placed_cameras(calibrations, len(states), hand_poses(HandPose(arm, ACTION_NAMES), recorded)),
        scene=scene_of(env, poses),
    )
    return view, outcome


class _LimitsNoted(OuterExecutor):
    """An executor of which is kept what was limited in each tick."""

    def __init__(self, executor: LimitedActions) -> None:
        super().__init__(executor)
        self._limiter = executor.limiter
        self.limited: list[np.ndarray] = []

    def next_action(self) -> np.ndarray:
        before = self._limiter.counts.sum(axis=0)
        try:
            return self._executor.next_action()
        finally:
            self.limited.append(self._limiter.counts.sum(axis=0) > before)


def _recorded(
    source: EpisodeSource, episode: Episode, features: Features, *, every: int = 1, name: str, title: str
) -> View:
    """Return a recorded episode, of which every n-th frame was taken, as features describe it."""
    hand = _hand_path(features, features.state_names, episode.state)
    sizes: dict[str, tuple[int, int]] = {}
    frames: dict[str, Callable[[], Iterator[np.ndarray]]] = {}
    for camera in features.cameras:
        sizes[camera.name] = camera.height, camera.width
        frames[camera.name] = partial(source.frames, episode.index, camera.name, every)
        if camera.depth_range is not None:
            sizes[depth_title(camera.name)] = camera.height, camera.width
            frames[depth_title(camera.name)] = partial(_depth_pictures, source, episode.index, camera, every)
    return View(
        name=f"{name}_episode_{episode.index:06d}",
        title=title,
        fps=features.fps,
        sizes=sizes,
        frames=lambda camera: frames[camera](),
        names=features.action_names,
        demonstrated=episode.action,
        state_names=features.state_names,
        states=episode.state,
        hand=_hand_path(features, features.action_names, episode.action) if hand is None else hand,
        cue=_cue_of(features, episode),
        calibrations=placed_cameras(
            {camera.name: camera.calibration for camera in features.cameras if camera.calibration is not None},
            episode.length,
            hand_poses(hand_pose(features), episode.state),
        ),
    )


def _depth_pictures(source: EpisodeSource, index: int, camera: Camera, every: int) -> Iterator[np.ndarray]:
    assert camera.depth_range is not None
    for metres in source.depth(index, camera.name, every):
        yield depth_picture(resize_depth(metres, camera.height, camera.width), camera.depth_range)


def _as_trained(recorded: Features, trained: Features) -> Features:
    """Return what was recorded at the policy's rate, with arm, height and cameras as the policy knows them, if so.

    It may have been trained with a calibration that its data do not hold.
    """
    calibrations = {camera.name: camera.calibration for camera in trained.cameras}
    features = replace(
        recorded,
        fps=trained.fps,
        cameras=tuple(
            replace(camera, calibration=calibrations.get(camera.name) or camera.calibration)
            for camera in recorded.cameras
        ),
    )
    if trained.arm is None:
        return features
    return replace(features, arm=trained.arm, environment_height=trained.environment_height)


def _predictions(policy: Policy, of: Replay, arm: Arm | None) -> tuple[Prediction, ...]:
    """Return a chunk a tick; only those that are executed as actions, which for hand poses take their time.

    Args:
        policy: Predicted them.
        of: The chunks.
        arm: Of the data, where the policy does not know its own.
    """
    features = policy.features
    arm = features.arm or arm
    hand = None if arm is None else Hand(features, policy.executor_settings, arm)
    paths = None if hand is None else hand.path(of.chunks)
    none = np.zeros((0, features.action_dim), np.float32)
    predictions = []
    for tick, chunk in enumerate(of.chunks):
        actions = none if tick not in of.asked else chunk if hand is None else hand.actions(chunk)
        predictions.append(Prediction(tick=tick, actions=actions, path=None if paths is None else paths[tick]))
    return tuple(predictions)


def _hand_path(features: Features, names: tuple[str, ...], values: np.ndarray | None) -> np.ndarray | None:
    """Return where the hand is (L, 3) [m] when the joints have named values (L, N); None where that is not known."""
    arm: Arm | None = features.arm
    if arm is None or values is None:
        return None
    joints = ExecutorSettings(chunk_size=1, n_action_steps=1)
    return Hand(replace(features, action_names=names), joints, arm).reached(values)


def _cue_of(features: Features, episode: Episode) -> np.ndarray | None:
    """Return the coordinates (L, 3) [m] in the base's frame, at the height that they mean."""
    if features.arm is None or episode.environment_state is None or episode.environment_state.shape[1] != 2:
        return None
    height = np.full((episode.length, 1), features.environment_height)
    return np.concatenate([episode.environment_state, height], axis=1)


def _enlarged(size: tuple[int, int]) -> tuple[int, int]:
    factor = max(1, round(_SHOWN_HEIGHT / size[0]))
    return size[0] * factor, size[1] * factor
