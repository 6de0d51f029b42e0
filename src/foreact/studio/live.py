"""One simulated scene that goes on by itself: a thread owns the simulation and its OpenGL context, a page only looks.

Whoever watches calls `snapshot`, which never waits; whoever changes something leaves a command, which the thread takes
up between two ticks.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np

from foreact.errors import ConfigError, ForeactError, SimulationError
from foreact.policy.hand import Hand
from foreact.records import Arm
from foreact.sim.calibration import arm_of_model, calibration_of_camera
from foreact.sim.delayed import Delay, DelayedControl, SimulatedRobot
from foreact.sim.env import PickPlaceEnv
from foreact.sim.expert import Expert
from foreact.sim.layout import WORKSPACE, Layout, coordinates, retargeted, sample_noise
from foreact.sim.scene import ACTION_NAMES
from foreact.sim.task import TaskConfig, level, task_for_features
from foreact.studio.arm_meshes import body_poses
from foreact.studio.noted import NotedPolicy
from foreact.studio.setup import Block, Limited, Prediction, Setup, Snapshot
from foreact.studio.shelf import EXPERT, SharedPolicy, Shelf, executed
from foreact_runtime.keys import ENVIRONMENT_STATE, STATE
from foreact_runtime.observation import Observation

_log = logging.getLogger(__name__)

SIZES = {"overhead": (384, 384), "wrist": (256, 256)}
"""Height and width [pixels] of the pictures for people."""
MOST_CONFUSERS = 3
NEAREST = 0.04
"""Distance [m] that blocks keep from each other when they are put somewhere: a block's diagonal is 35 mm."""
_DEAR_EVERY = 3
"""Ticks between two drawings of what needs inverse kinematics."""
_AREA = (np.array(WORKSPACE[0]) - 0.03, np.array(WORKSPACE[1]) + 0.03)
"""Where people may put blocks: what the overhead camera shows and the arm about reaches."""


class _Begin(Exception):
    """Ends the present episode: another one begins."""


class _GoOn(Exception):
    """The policy is asked anew, the arm and the table stay as they are."""


class _Close(Exception):
    """Ends the thread."""


@dataclass(kw_only=True, eq=False)
class _Run:
    """What the thread keeps of the present episode."""

    robot: SimulatedRobot
    act: Callable[[], np.ndarray]
    control: DelayedControl | None
    """None for the expert."""
    hand: Hand | None
    states: list[np.ndarray] = field(default_factory=list)
    predictions: deque[Prediction] = field(default_factory=lambda: deque(maxlen=1))
    observation: dict[str, np.ndarray] = field(default_factory=dict)
    first_observation: dict[str, np.ndarray] = field(default_factory=dict)


class Live:
    """A scene, from its first snapshot to `close`."""

    def __init__(self, shelf: Shelf, setup: Setup, *, scene_of: Live | None = None) -> None:
        """Begin to play.

        Args:
            shelf: Where policies come from.
            setup: What is played.
            scene_of: Another scene whose changed table this one takes over; None has the seed decide.
        """
        self._shelf = shelf
        self._wanted = setup
        self._setup = setup
        """As far as the thread has come; it may have changes before it."""
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._snapshot: Snapshot | None = None
        self._number = 0
        self._is_paused = False
        self._steps_left = 0
        self._layout: Layout | None = None if scene_of is None else scene_of._layout
        self._clicked: np.ndarray | None = None if scene_of is None else scene_of._clicked
        self._clicks: int = 0 if scene_of is None else scene_of._clicks
        self._error = ""
        self._period: float | None = None
        """Seconds that a tick took by the clock on the wall, the latest counting most."""
        self._last_tick = time.perf_counter()
        self._ticked: float | None = None
        self._plan: Prediction | None = None
        self.shows_plan = False
        """Whether somebody looks at what the executor plans; it costs time."""
        self._env: PickPlaceEnv | None = None
        self._env_of: TaskConfig | None = None
        self._arm: Arm | None = None
        self._run_state: _Run | None = None
        self._thread = threading.Thread(target=self._live, name="studio-scene", daemon=True)
        self._thread.start()

    @property
    def snapshot(self) -> Snapshot | None:
        """The scene as it was a moment ago; None until it was built."""
        return self._snapshot

    @property
    def setup(self) -> Setup:
        """As it was set last, perhaps a moment before it is so."""
        return self._wanted

    @property
    def error(self) -> str:
        """What went wrong, in one line, where not even a first snapshot came of it."""
        return self._error

    def change(self, setup: Setup) -> None:
        """Set something else; the same scene begins again, a new one where level or seed are others."""
        self._wanted = setup

        def command() -> None:
            before, self._setup = self._setup, setup
            if replace(before, brightness=setup.brightness, cue_noise=setup.cue_noise) == setup:
                if self._env is not None:
                    self._env.brighten(setup.brightness)
                self._publish()
                return
            if (before.level, before.seed) != (setup.level, setup.seed):
                self._forget_changes()
            raise _Begin

        self._commands.put(command)

    def begin(self, *, as_drawn: bool = False) -> None:
        """Begin the episode again, with blocks where they were put, or where the seed has them."""

        def command() -> None:
            if as_drawn:
                self._forget_changes()
            raise _Begin

        self._commands.put(command)

    def pick(self, block: int, point: np.ndarray, *, keep_arm: bool = False) -> None:
        """Tell the policy to pick a block.

        Args:
            block: Its place among the snapshot's; it becomes the first, which is judged.
            point: What was clicked (2,) [m]; the cue is this with the set noise.
            keep_arm: The arm goes on from where it is; otherwise everything begins again from the start.
        """

        def command() -> None:
            env = self._built()
            cue = np.asarray(point, np.float64) + self._click_noise()
            self._clicked, self._clicks = np.asarray(point, np.float64), self._clicks + 1
            if not keep_arm:
                self._layout = retargeted(env.layout, block, cue)
                raise _Begin
            env.retarget(block, cue)
            self._layout = env.layout
            raise _GoOn

        self._commands.put(command)

    def move_block(self, block: int, place: np.ndarray) -> None:
        """Put a block somewhere else on the table, as near to the place (2,) [m] as the others and the edge allow."""
        self._put(block, lambda before: place)

    def shift_block(self, block: int, by: np.ndarray) -> None:
        """Put a block so far (2,) [m] from where it was put before, as near as the others and the edge allow."""
        self._put(block, lambda before: before + by)

    def _put(self, block: int, place_after: Callable[[np.ndarray], np.ndarray]) -> None:
        def command() -> None:
            layout = self._built().layout
            blocks = np.array([layout.target, *layout.confusers])
            if 0 <= block < len(blocks):
                others = np.delete(blocks, block, axis=0)
                self._arrange(layout, _free_place(place_after(blocks[block]), others, layout.bowl), block)

        self._commands.put(command)

    def add_confuser(self) -> None:
        """Put one more block on the table, where there is room."""

        def command() -> None:
            layout = self._built().layout
            if len(layout.confusers) >= MOST_CONFUSERS:
                return
            blocks = np.array([layout.target, *layout.confusers])
            rng = np.random.default_rng((self._setup.seed, len(blocks)))
            tries = rng.uniform(*WORKSPACE, size=(100, 2))
            room = np.linalg.norm(tries[:, None] - np.concatenate([blocks, [layout.bowl]]), axis=-1).min(axis=1)
            place = tries[room.argmax()]
            self._layout = replace(
                layout,
                confusers=np.concatenate([layout.confusers.reshape(-1, 2), place[None]]),
                yaws=np.append(layout.yaws, 0.0),
            )
            self._built().rearrange(self._layout)
            self._publish()

        self._commands.put(command)

    def remove_confuser(self) -> None:
        """Take the last confuser away."""

        def command() -> None:
            layout = self._built().layout
            if len(layout.confusers):
                self._layout = replace(layout, confusers=layout.confusers[:-1], yaws=layout.yaws[:-1])
                self._built().rearrange(self._layout)
                self._publish()

        self._commands.put(command)

    def pause(self, is_paused: bool) -> None:
        """Stop the clock, or let it go on."""

        def command() -> None:
            self._is_paused = is_paused
            self._publish()

        self._commands.put(command)

    def step(self) -> None:
        """Pause, and go on for one tick."""

        def command() -> None:
            self._is_paused = True
            self._steps_left += 1

        self._commands.put(command)

    def close(self) -> None:
        """End, and wait until the simulation is freed."""

        def command() -> None:
            raise _Close

        self._commands.put(command)
        self._thread.join()

    def _live(self) -> None:
        try:
            while True:
                self._play()
        except _Close:
            pass
        finally:
            if self._env is not None:
                self._env.close()

    def _play(self) -> None:
        """Play an episode, then wait for a command that begins another; nothing that goes wrong ends the thread."""
        step = self._play_episode
        while True:
            try:
                step()
            except (_Begin, _GoOn):
                return
            except _Close:
                raise
            except ForeactError as error:
                self._error = str(error)
            except Exception as error:
                _log.exception("a scene of the studio has failed")
                self._error = f"{type(error).__name__}: {error}; this is a bug, the log shows where"
            if self._run_state is None:  # what was shown is another policy's, or cannot be shown any more
                self._snapshot = None
            step = self._rest

    def _play_episode(self) -> None:
        run = self._begin()
        while True:
            try:
                while not run.robot.is_over:
                    run.robot.send(run.act())
                self._rest()
            except _GoOn:
                run = self._go_on(run)

    def _begin(self) -> _Run:
        setup = self._setup
        self._run_state = None
        self._error, self._plan, self._ticked, self._period = "", None, None, None
        opened = self._opened()
        task = level(setup.level) if opened is None else task_for_features(level(setup.level), opened.features)
        env = self._env_for(task)
        if opened is not None and opened.features.action_names != env.action_names:
            names = ", ".join(opened.features.action_names)
            raise ConfigError(
                f"policy '{setup.policy}' commands {names}; the simulated SO-101 has {', '.join(ACTION_NAMES)}"
            )
        robot = _WatchedRobot(env, task, after=self._after_tick)
        robot.begin(setup.seed, {} if self._layout is None else {"layout": self._layout})
        env.brighten(setup.brightness)
        run = self._controlled(robot, opened)
        run.states.append(robot.vectors[STATE])
        self._run_state = run
        self._last_tick = time.perf_counter()
        self._publish()
        return run

    def _go_on(self, run: _Run) -> _Run:
        """Ask the policy anew; the arm stays where it is."""
        robot = _WatchedRobot(run.robot.env, run.robot.task, after=self._after_tick)
        robot.vectors, robot.info = robot.env.observe(), {"outcome": None}
        self._plan = None
        opened = self._opened()
        after = self._controlled(robot, opened)
        after.states.append(robot.vectors[STATE])
        self._run_state = after
        self._publish()
        return after

    def _opened(self) -> SharedPolicy | None:
        """Return the policy, with samples of the latent by the scene's seed; None for the expert."""
        setup = self._setup
        return None if setup.policy == EXPERT else self._shelf.open(setup.policy, setup.latent).of_scene(setup.seed)

    def _controlled(self, robot: SimulatedRobot, opened: SharedPolicy | None) -> _Run:
        """Put together what decides the robot's actions."""
        if opened is None:
            expert = Expert(robot.env)
            return _Run(robot=robot, act=expert.act, control=None, hand=None)
        settings = executed(opened.executor_settings, self._setup.mode)
        assert self._arm is not None
        hand = Hand(opened.features, settings, self._arm)
        run = _Run(
            robot=robot,
            act=lambda: np.zeros(0),
            control=None,
            hand=hand,
            predictions=deque(maxlen=settings.chunk_size if settings.temporal_ensemble_coeff is not None else 2),
        )
        run.control = DelayedControl(
            NotedPolicy(opened, lambda observation, chunk: self._note(run, observation, chunk)),
            robot,
            Delay(seconds=self._setup.delay),
            settings,
            rng=np.random.default_rng((self._setup.seed, 1)),
        )
        run.act = run.control.act
        opened.reset()
        return run

    def _note(self, run: _Run, observation: Observation, chunk: np.ndarray) -> None:
        """Keep what was predicted, and from what."""
        assert run.hand is not None
        path = run.hand.path(chunk)
        actions = run.hand.actions(chunk) if self._draws_now(run) else np.zeros((0, len(ACTION_NAMES)), np.float32)
        run.predictions.append(Prediction(tick=len(run.robot.actions), actions=actions, path=path))
        run.observation = dict(observation)
        run.first_observation = run.first_observation or run.observation

    def _after_tick(self) -> None:
        run = self._run_state
        assert run is not None
        run.states.append(run.robot.vectors[STATE])
        now = time.perf_counter()
        if self._ticked is not None:
            took = now - self._ticked
            self._period = took if self._period is None else 0.9 * self._period + 0.1 * took
        self._ticked = now
        self._look_ahead(run)
        self._publish()
        due = self._last_tick + 1 / run.robot.task.fps
        self._wait(lambda: None if self._is_paused else due - time.perf_counter())
        self._last_tick = max(due, time.perf_counter() - 1 / run.robot.task.fps)

    def _look_ahead(self, run: _Run) -> None:
        """Ask a copy of the executor what it would send if no further chunk came."""
        if run.control is None or not self.shows_plan:
            self._plan = None
            return
        if not self._draws_now(run):
            return
        executor = deepcopy(run.control.controller.executor)
        plan = []
        try:
            while executor.left:
                plan.append(executor.next_action())
        except ForeactError:  # what the arm cannot do is counted when it is asked for in earnest
            pass
        actions = np.array(plan, np.float32).reshape(-1, len(ACTION_NAMES))
        self._plan = Prediction(tick=len(run.robot.actions), actions=actions, path=None)

    def _draws_now(self, run: _Run) -> bool:
        """Whether joints are worked out in this tick: for hand poses not in every one, for each takes a millisecond."""
        is_dear = run.hand is not None and run.hand.takes_poses
        return self.shows_plan and not (is_dear and len(run.robot.actions) % _DEAR_EVERY)

    def _wait(self, left: Callable[[], float | None]) -> None:
        """Take commands until the time that is left is over; None: until somebody lets the clock go on."""
        while True:
            seconds = left()
            if seconds is None and self._steps_left:
                self._steps_left -= 1
                return
            try:
                if seconds is None:
                    command = self._commands.get()
                else:
                    command = self._commands.get(timeout=seconds) if seconds > 0 else self._commands.get_nowait()
            except queue.Empty:
                return
            command()

    def _rest(self) -> None:
        """Wait for a command that begins something."""
        self._publish()
        while True:
            self._steps_left = 0
            self._commands.get()()

    def _publish(self) -> None:
        """Show the scene as it is now."""
        if self._run_state is None or self._env is None:
            return
        try:
            self._snapshot = self._seen(self._run_state, self._env)
        except Exception:  # it would fail again for as long as nothing new begins
            self._run_state = None
            raise

    def _seen(self, run: _Run, env: PickPlaceEnv) -> Snapshot:
        layout = env.layout
        placed = [layout.target, *layout.confusers]
        blocks = env.block_positions()
        control = run.control
        limiter = None if control is None else control.controller.executor.limiter
        self._number += 1
        return Snapshot(
            number=self._number,
            setup=self._setup,
            tick=len(run.robot.actions),
            seconds=len(run.robot.actions) / run.robot.task.fps,
            rate=0.0 if self._period is None else 1 / self._period,
            is_paused=self._is_paused,
            outcome=run.robot.info.get("outcome"),
            error=self._error,
            pictures={camera: env.picture(camera, size) for camera, size in SIZES.items()},
            overhead=calibration_of_camera(env.model, "overhead", SIZES["overhead"]),
            blocks=tuple(
                Block(now=now.copy(), placed=np.array(place)) for now, place in zip(blocks, placed, strict=False)
            ),
            cue=layout.cue.copy(),
            clicked=self._clicked,
            poses=body_poses(env),
            names=ACTION_NAMES,
            states=np.stack(run.states),
            sent=np.array(run.robot.actions, np.float32).reshape(-1, len(ACTION_NAMES)),
            predictions=tuple(run.predictions),
            plan=self._plan,
            limited=None if limiter is None else Limited(ticks=limiter.ticks, counts=limiter.counts.copy()),
            stalls=0 if control is None else control.stalls,
            unreachable=0 if control is None else control.unreachable,
            observation=run.observation,
            first_observation=run.first_observation,
        )

    def _env_for(self, task: TaskConfig) -> PickPlaceEnv:
        """Return the simulation of a task; another is built where level or rate are others."""
        blind = replace(task, cameras=(), overhead_size=(1, 1), wrist_size=(1, 1))
        if self._env is None or self._env_of != blind:
            if self._env is not None:
                self._env.close()
                self._env = None
            largest = np.max([*SIZES.values(), *(task.size(camera) for camera in task.cameras)], axis=0)
            height, width = largest.tolist()
            spare = MOST_CONFUSERS - task.confusers[1]
            self._env = PickPlaceEnv(blind, render_size=(height, width), spare_blocks=spare)
            self._env_of = blind
            self._arm = arm_of_model(self._env.model)
        self._env.task = self._told(blind)
        return self._env

    def _built(self) -> PickPlaceEnv:
        if self._env is None or self._run_state is None:
            raise SimulationError(self._error or "the scene is not there yet")
        return self._env

    def _arrange(self, layout: Layout, place: np.ndarray, block: int) -> None:
        if block == 0:
            # The cue goes with the block that it points at; where it was clicked, the click does too.
            shift = place - layout.target
            layout = replace(layout, target=place, cue=layout.cue + shift)
            self._clicked = None if self._clicked is None else self._clicked + shift
        else:
            confusers = layout.confusers.copy()
            confusers[block - 1] = place
            layout = replace(layout, confusers=confusers)
        self._layout = layout
        env = self._built()
        env.rearrange(layout)
        run = self._run_state
        assert run is not None
        run.robot.vectors[ENVIRONMENT_STATE] = coordinates(env.task, layout)
        self._publish()

    def _forget_changes(self) -> None:
        self._layout, self._clicked, self._clicks = None, None, 0

    def _click_noise(self) -> np.ndarray:
        """Return the error of the next click's cue (2,) [m], the same for the same seed and number of clicks."""
        task = self._told(level(self._setup.level))
        return sample_noise(task, np.random.default_rng((self._setup.seed, 2, self._clicks)))

    def _told(self, task: TaskConfig) -> TaskConfig:
        """Return the task with the cue's noise as it is set; where a level cuts it off, more noise is cut off later."""
        noise = self._setup.cue_noise
        if noise is None:
            return task
        cut = None if task.cue_cut is None else max(task.cue_cut, 1.5 * noise)
        return replace(task, cue_sigma=noise, cue_cut=cut)


class _WatchedRobot(SimulatedRobot):
    """Shows every tick, and keeps the clock."""

    def __init__(self, env: PickPlaceEnv, task: TaskConfig, after: Callable[[], None]) -> None:
        super().__init__(env, task)
        self._after = after

    def send(self, action: np.ndarray) -> bool:
        if not super().send(action):
            return False
        self._after()
        return True


def _free_place(place: np.ndarray, others: np.ndarray, bowl: np.ndarray) -> np.ndarray:
    """Return the place (2,) [m] nearest to the one asked for where a block stands free, to within a few millimetres."""
    low, high = _AREA
    asked = np.clip(np.asarray(place, np.float64), low, high)
    axes = [np.arange(low[i], high[i] + 1e-9, 0.004) for i in range(2)]
    grid = np.concatenate([asked[None], np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)])
    from_others = np.linalg.norm(grid[:, None] - others.reshape(-1, 2), axis=-1).min(axis=1, initial=np.inf)
    free = grid[(from_others >= NEAREST) & (np.linalg.norm(grid - bowl, axis=1) >= 0.07)]
    return np.asarray(free[np.linalg.norm(free - asked, axis=1).argmin()])
