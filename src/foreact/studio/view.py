"""An episode to look at, wherever it comes from: recorded, a policy on recorded pictures, or a policy in simulation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from foreact.data.lookup import find_episode
from foreact.data.source import EpisodeSource
from foreact.diagnose.examined import held_out_episodes, open_examined
from foreact.diagnose.replay import Replay, replay
from foreact.diagnose.tune_executor import execute
from foreact.errors import ConfigError, DataError
from foreact.policy.hand import Hand
from foreact.records import Arm, Calibration, Episode, Features
from foreact.sim.calibration import arm_of_model, calibration_of_camera
from foreact.sim.delayed import Delay, DelayedControl, SimulatedRobot
from foreact.sim.env import PickPlaceEnv
from foreact.sim.scene import ACTION_NAMES, BLOCK_SIZE
from foreact.sim.task import CAMERAS, TaskConfig, task_for_features
from foreact.studio.noted import NotedPolicy
from foreact.studio.setup import Prediction
from foreact.studio.shelf import OpenedPolicy
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
    """Of its files, without an ending."""
    title: str
    fps: float
    sizes: Mapping[str, tuple[int, int]]
    """Height and width [pixels] by camera."""
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
    calibrations: Mapping[str, Calibration]
    """Of the cameras that stand still, where it is known."""

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
    episode, features = source.episode(index), source.features
    hand = _hand_path(features, features.state_names, episode.state)
    return View(
        name=f"episode_{index:06d}",
        title=f"{source.root.name}, episode {index}" + (f": {episode.task}" if episode.task else ""),
        fps=features.fps,
        sizes={camera.name: (camera.height, camera.width) for camera in features.cameras},
        frames=lambda camera: source.frames(index, camera),
        names=features.action_names,
        demonstrated=episode.action,
        state_names=features.state_names,
        states=episode.state,
        hand=_hand_path(features, features.action_names, episode.action) if hand is None else hand,
        cue=_cue_of(features, episode),
        calibrations={
            camera.name: camera.calibration
            for camera in features.cameras
            if camera.calibration is not None and camera.calibration.mounted_on == "base"
        },
    )


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
    recorded = view_episode(examined.source, of.episode.index)
    seen = {True: "not trained on", False: "trained on", None: "perhaps trained on"}[of.is_held_out]
    executor = _LimitsNoted(make_executor(policy.executor_settings, policy.features))
    sent, _ = execute(executor, of.predicted)
    return replace(
        recorded,
        title=f"{Path(run).name} on {examined.source.root.name}, episode {of.episode.index} ({seen})",
        names=policy.features.action_names,
        demonstrated=of.episode.action,
        sent=sent,
        limited=np.stack(executor.limited),
        state_names=policy.features.state_names,
        states=of.episode.state,
        predictions=_predictions(policy.features, policy.executor_settings, of),
    )


def view_rollout(policy: OpenedPolicy, task: TaskConfig, seed: int, *, called: str) -> tuple[View, str]:
    """Play one episode in simulation and return it with its outcome; the same arguments give the same episode.

    Chunks come at once, as in an evaluation.

    Args:
        policy: Acts.
        task: The task; cameras, their sizes and the rate are made those that the policy was trained on.
        seed: Of the episode.
        called: The policy and the level, for the title.

    Raises:
        ConfigError: If the policy commands another robot, or needs a camera that the simulation does not have.
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
        return _play(policy, env, task, seed, sizes, called)
    finally:
        env.close()


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """One episode of an evaluation, as its JSON file tells."""

    run: Path
    task: TaskConfig
    level: str
    seed: int
    outcome: str
    overrides: Mapping[str, object]
    """Policy options that were changed for it."""


def evaluated_episode(path: Path, number: int = 0, *, name: str = "policy") -> Evaluated:
    """Return what `foreact eval --json` wrote of an episode; simulation being deterministic, it can be played again.

    Args:
        path: The JSON file.
        number: Of the episode, from 0 on.
        name: Whose: "policy", or a control's name.

    Raises:
        ConfigError: If there is no such policy, it has no run, or no such episode.
        DataError: If it is not such a file.
    """
    try:
        content = json.loads(path.read_text())
        of = {entry["name"]: entry for entry in content}
        if name not in of:
            raise ConfigError(f"'{path}' has no policy '{name}'; it has: {', '.join(of)}")
        settings, episodes = of[name]["settings"], of[name]["per_episode"]
        if not settings.get("run"):
            raise ConfigError(f"'{path}' does not say where '{name}' lies; give the run, --level and --seed instead")
        if not 0 <= number < len(episodes):
            raise ConfigError(f"'{path}' has no episode {number}; it has 0 to {len(episodes) - 1}")
        known = {field.name for field in fields(TaskConfig)}
        return Evaluated(
            run=Path(settings["run"]),
            task=TaskConfig(**{key: _tuples(value) for key, value in settings["task"].items() if key in known}),
            level=settings["level"],
            seed=episodes[number]["seed"],
            outcome=episodes[number]["outcome"],
            overrides=settings["overrides"],
        )
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataError(f"'{path}' is not what foreact eval --json writes ({type(error).__name__}: {error})") from error


def _play(
    policy: OpenedPolicy,
    env: PickPlaceEnv,
    task: TaskConfig,
    seed: int,
    sizes: Mapping[str, tuple[int, int]],
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
    states, limited = [], []
    policy.reset()
    while not robot.is_over:
        for camera, size in sizes.items():
            pictures[camera].append(env.picture(camera, size))
        states.append(robot.vectors[STATE])
        before = limiter.counts.sum(axis=0)
        action = control.act()
        limited.append(limiter.counts.sum(axis=0) > before)
        robot.send(action)
    features, arm, outcome = policy.features, arm_of_model(env.model), str(robot.info["outcome"])
    hand = Hand(features, policy.executor_settings, arm)
    cue = np.array([*robot.vectors[ENVIRONMENT_STATE], BLOCK_SIZE / 2])
    view = View(
        name=f"seed_{seed:06d}",
        title=f"{called}, seed {seed}: {outcome.replace('_', ' ')}",
        fps=task.fps,
        sizes=sizes,
        frames=lambda camera: iter(pictures[camera]),
        names=ACTION_NAMES,
        sent=np.stack(robot.actions),
        limited=np.stack(limited),
        state_names=ACTION_NAMES,
        states=np.stack(states),
        predictions=tuple(
            Prediction(tick=tick, actions=hand.actions(chunk), path=hand.path(chunk)) for tick, chunk in chunks.items()
        ),
        hand=_hand_path(replace(features, arm=arm), ACTION_NAMES, np.stack(states)),
        cue=np.repeat(cue[None], len(states), axis=0),
        calibrations={camera: of for camera, of in calibrations.items() if of.mounted_on == "base"},
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


def _predictions(features: Features, settings: ExecutorSettings, of: Replay) -> tuple[Prediction, ...]:
    """Return a chunk a tick; only those that are executed as actions, which for hand poses take their time."""
    hand = None if features.arm is None else Hand(features, settings, features.arm)
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


def _tuples(value: Any) -> Any:
    """JSON knows no tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
