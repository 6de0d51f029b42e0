"""The gymnasium environment `foreact/PickPlace-v0`: an SO-101 picks the block it is told and puts it into a bowl."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from foreact.errors import SimulationError
from foreact.sim.backend import mujoco
from foreact.sim.layout import Layout, coordinates, retargeted, sample_layout
from foreact.sim.looks import Looks
from foreact.sim.outcome import Facts, Outcome, OutcomeTracker, closing_offsets
from foreact.sim.rendering import SceneRenderer, project
from foreact.sim.scene import (
    ACTION_NAMES,
    BLOCK_SIZE,
    BOWL_HEIGHT,
    BOWL_RADIUS,
    HOLD_ANGLE,
    JOINTS,
    PARKED,
    block_name,
    build_model,
)
from foreact.sim.task import CAMERAS, TaskConfig, level
from foreact_runtime.keys import ENVIRONMENT_STATE, STATE, image_key

REST_ARM = (0.0, -1.2, 0.85, 1.5, 0.05)
"""Joint angles [rad] around which the arm starts, clear of the overhead camera's view of the table."""
OPEN_ANGLE = 0.5
"""Angle [rad] of the gripper at the start: wide enough for a block, too narrow to strike the confuser."""
RELEASE_ANGLE = HOLD_ANGLE + 0.08
"""Angle [rad] of the gripper above which it has let go of a block."""
CLOSING_ANGLE = (HOLD_ANGLE + OPEN_ANGLE) / 2
"""Angle [rad] that the first command below counts as closing."""

_REST_SPEED = 0.03  # [m/s]; a block that is rocking to a stop is slower, a falling one faster


class PickPlaceEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Joint-position control of an SO-101 beside a table with identical blocks and a bowl.

    The action is the arm's goal positions (6,) [rad], named `shoulder_pan.pos` to `gripper.pos`; the servos are
    driven there evenly over the control period. The observation has LeRobot's keys: `observation.state` (6,) joint
    positions [rad], `observation.environment_state` (2,) the cue (x, y) [m], drawn once an episode, or with
    `task.tell_bowl` (4,) the cue's and the bowl's x, y, and `observation.images.<camera>` uint8 (H, W, 3). The reward
    is 1 on success, else 0.

    `info` always has: `outcome` (None until the episode ends), `success`, where blocks were placed, `target` (2,)
    and `confusers` ((x, y), ...) [m], `bowl` (2,) [m], `cue` (2,) [m], and how far from the target and from the
    nearest confuser the gripper first closed, `closing_target_mm` and `closing_confuser_mm` (infinite until it does).
    """

    action_space: spaces.Box
    observation_space: spaces.Dict  # type: ignore[assignment]  # gymnasium's own is not typed as one
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012, as gymnasium has it

    def __init__(
        self,
        task: TaskConfig | str = "L1",
        *,
        render_mode: str | None = None,
        render_size: tuple[int, int] = (256, 256),
        spare_blocks: int = 0,
    ) -> None:
        """Build the scene.

        Args:
            task: The task, or the name of a level.
            render_mode: "rgb_array" has `render()` return both cameras side by side.
            render_size: Height and width [pixels] of each of those two pictures.
            spare_blocks: Blocks that no drawn scene uses, for layouts of one's own.

        Raises:
            ConfigError: If the level does not exist.
            MissingExtraError: If the robot's package is not installed.
        """
        if render_mode not in (None, "rgb_array"):
            raise SimulationError(f"render_mode is '{render_mode}'; it must be 'rgb_array' or None")
        self.task = level(task) if isinstance(task, str) else task
        self.render_mode = render_mode
        self.render_size = render_size
        self.metadata = {**self.metadata, "render_fps": self.task.fps}
        self.model = build_model(self.task, spare_blocks)
        self.data = mujoco.MjData(self.model)
        self.action_names = ACTION_NAMES
        self._looks = Looks(self.model)
        self._renderer: SceneRenderer | None = None
        self._outcome: Outcome | None = None
        self._closed = False
        n_substeps = round(1.0 / self.task.fps / self.model.opt.timestep)
        self._substeps = np.arange(1, n_substeps + 1)[:, None]
        names = [block_name(index) for index in range(1 + self.task.confusers[1] + spare_blocks)]
        # Looked up once: by name, they would take a tenth of a step's time.
        self._pads = [self.model.geom(name).id for name in ("fixed_pad", "moving_pad")]
        self._blocks = [self.model.body(name).id for name in names]
        self._block_geoms = [self.model.geom(name).id for name in names]

        lower, upper = self.model.jnt_range[: len(JOINTS)].T.astype(np.float32)
        self.action_space = spaces.Box(lower, upper, dtype=np.float32)
        vectors: dict[str, spaces.Space[Any]] = {
            STATE: spaces.Box(-np.pi, np.pi, (len(JOINTS),), dtype=np.float32),
            ENVIRONMENT_STATE: spaces.Box(-1.0, 1.0, (len(self.task.environment_names),), dtype=np.float32),
        }
        images = {
            image_key(camera): spaces.Box(0, 255, (*self.task.size(camera), 3), dtype=np.uint8)
            for camera in self.task.cameras
        }
        self.observation_space = spaces.Dict({**vectors, **images})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; the seed decides everything random in it.

        Args:
            seed: Any whole number from 0 on; None goes on with the random numbers of the episode before.
            options: `target` (0, 1, ..) draws a scene in which each block could be the target and takes this one: the
                same seed shows the same scene with another block cued. `layout` (a `Layout`) stands in the place of
                the one drawn; all else is as the seed has it.

        Raises:
            SimulationError: If the task's blocks cannot be placed, or there is no such block.
        """
        super().reset(seed=seed)
        options = options or {}
        self.layout = sample_layout(self.task, self.np_random, target=options.get("target"))
        if "layout" in options:
            self.layout = self._fitting(options["layout"])
        if self.task.looks == "vary":
            self._looks.vary(self.np_random)
        mujoco.mj_resetData(self.model, self.data)
        self.model.body("bowl").pos[:2] = self.layout.bowl
        self._place_blocks()
        noise = self.np_random.uniform(-self.task.start_noise, self.task.start_noise, size=len(REST_ARM))
        start = np.append(np.array(REST_ARM) + noise, OPEN_ANGLE)
        self._command = np.clip(start, self.action_space.low, self.action_space.high)
        self.data.qpos[: len(JOINTS)] = self._command
        self.data.ctrl[:] = self._command
        mujoco.mj_forward(self.model, self.data)

        self._begin_to_judge()
        return self._observation(), self._info()

    def rearrange(self, layout: Layout) -> None:
        """Change the table while the episode goes on; blocks whose place is the same stay where they are by now.

        Raises:
            SimulationError: If it has more blocks than the scene.
        """
        before, self.layout = self.layout, self._fitting(layout)
        self.model.body("bowl").pos[:2] = layout.bowl
        old, new = ([*zip([of.target, *of.confusers], of.yaws, strict=True)] for of in (before, layout))
        for index in range(len(self._blocks)):
            is_same = index < min(len(old), len(new)) and np.array_equal(old[index][0], new[index][0])
            if not (is_same and old[index][1] == new[index][1]):
                self._place_block(index)
        mujoco.mj_forward(self.model, self.data)

    def retarget(self, block: int, cue: np.ndarray) -> None:
        """Cue another block while the arm goes on, and judge the episode from here on.

        Args:
            block: 0 is the target so far, the confusers follow. It becomes block 0; blocks are alike.
            cue: What the policy is told (2,) [m].

        Raises:
            SimulationError: If there is no such block.
        """
        self.layout = retargeted(self.layout, block, cue)
        one, other = (self.data.joint(block_name(index)) for index in (0, block))
        for ours, theirs in ((one.qpos, other.qpos), (one.qvel, other.qvel)):
            ours[:], theirs[:] = theirs.copy(), ours.copy()
        mujoco.mj_forward(self.model, self.data)
        self._begin_to_judge()

    def brighten(self, brightness: float) -> None:
        """Make the lights so many times as bright, until looks are drawn again."""
        self._looks.brighten(brightness)

    def observe(self) -> dict[str, np.ndarray]:
        """Return the observation as it is now."""
        return self._observation()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Advance by one control period.

        Args:
            action: Goal positions (6,) [rad]; cut to the joints' limits.

        Raises:
            SimulationError: If the action's shape is wrong or it is not finite.
        """
        goal = np.asarray(action, dtype=np.float64)
        if goal.shape != (len(JOINTS),) or not np.isfinite(goal).all():
            raise SimulationError(f"action must be {len(JOINTS)} finite joint positions [rad], not {action!r}")
        goal = np.clip(goal, self.action_space.low, self.action_space.high)
        if not self._closed and goal[-1] < CLOSING_ANGLE:
            self._closed = True
            blocks = self.block_positions()[:, :2]
            used = blocks[1 : 1 + len(self.layout.confusers)]
            self._closing = closing_offsets(self._jaws_middle()[:2], blocks[0], used)
        before, self._command = self._command, goal
        control = self.data.ctrl
        for command in before + (goal - before) * self._substeps / len(self._substeps):
            control[:] = command
            mujoco.mj_step(self.model, self.data)
        mujoco.mj_forward(self.model, self.data)  # what depends on the positions reached, contacts too

        self._steps += 1
        self._outcome = self._tracker.update(self._facts())
        terminated = self._outcome is not None
        truncated = not terminated and self._steps >= self.task.max_steps
        if truncated:
            self._outcome = self._tracker.judge()
        return self._observation(), float(self._outcome == "success"), terminated, truncated, self._info()

    def render(self) -> np.ndarray | None:
        """Return overhead and wrist camera side by side, uint8 (H, 2 W, 3) at `render_size`; None without a mode."""
        if self.render_mode is None:
            return None
        return np.concatenate([self.picture(camera, self.render_size) for camera in CAMERAS], axis=1)

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def picture(self, camera: str, size: tuple[int, int]) -> np.ndarray:
        """Return what a camera sees now, uint8 (H, W, 3)."""
        if self._renderer is not None and not self._renderer.fits(size):
            self.close()
        if self._renderer is None:
            sizes = [self.render_size, *(self.task.size(name) for name in CAMERAS), size]
            height, width = np.max(sizes, axis=0)
            self._renderer = SceneRenderer(self.model, height=int(height), width=int(width))
        return self._renderer.render(self.model, self.data, camera, size)

    def project(self, point: np.ndarray, camera: str, size: tuple[int, int]) -> tuple[float, float] | None:
        """Return the pixel (column, row) where a camera now sees a point of the world (3,) [m]; None if behind it."""
        return project(self.model, self.data, camera, point, size)

    def grip_position(self) -> np.ndarray:
        """Return where the gripper point is (3,) [m]."""
        return self.data.site("grip").xpos.copy()

    def block_positions(self) -> np.ndarray:
        """Return where the blocks' centres are, the target first (1 + n, 3) [m]; unused ones are parked far away."""
        return self.data.xpos[self._blocks]

    def block_yaw(self, index: int) -> float:
        """Return a block's turn about the vertical [rad], in [-pi/4, pi/4): a square looks the same four times."""
        matrix = self.data.body(block_name(index)).xmat
        yaw = float(np.arctan2(matrix[3], matrix[0]))
        return (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4

    def held(self, index: int) -> bool:
        """Return whether a block touches both jaws."""
        pairs = self.data.contact.geom
        touching = set(pairs[(pairs == self._block_geoms[index]).any(axis=1)].ravel().tolist())
        return touching.issuperset(self._pads)

    def _jaws_middle(self) -> np.ndarray:
        """Return the middle between the pads, however far open (3,) [m]."""
        return self.data.geom_xpos[self._pads].mean(axis=0)

    def _begin_to_judge(self) -> None:
        self._steps = 0
        self._tracker = OutcomeTracker()
        self._outcome = None
        self._closing = (float("inf"), float("inf"))
        self._closed = False

    def _fitting(self, layout: Layout) -> Layout:
        if 1 + len(layout.confusers) > len(self._blocks):
            raise SimulationError(
                f"the layout has {1 + len(layout.confusers)} blocks, the scene has {len(self._blocks)}; build it with "
                "spare_blocks"
            )
        return layout

    def _place_blocks(self) -> None:
        for index in range(len(self._blocks)):
            self._place_block(index)

    def _place_block(self, index: int) -> None:
        """Put a block where the layout has it, at rest; one that it does not use out of sight."""
        positions = [self.layout.target, *self.layout.confusers]
        used = index < len(positions)
        x, y = positions[index] if used else (PARKED[0], PARKED[1] + 0.1 * index)
        yaw = self.layout.yaws[index] if used else 0.0
        joint = self.data.joint(block_name(index))
        joint.qpos[:] = (x, y, BLOCK_SIZE / 2, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2))
        joint.qvel[:] = 0.0
        self.model.geom(block_name(index)).rgba[3] = float(used)

    def _facts(self) -> Facts:
        blocks = self.block_positions()
        lifts = blocks[:, 2] - BLOCK_SIZE / 2
        from_bowl = np.linalg.norm(blocks[:, :2] - self.layout.bowl, axis=1)
        in_bowl = (from_bowl < BOWL_RADIUS) & (blocks[:, 2] < BOWL_HEIGHT)
        velocities = self.data.qvel[len(JOINTS) :].reshape(-1, 6)[:, :3]
        return Facts(
            target_in_bowl=bool(in_bowl[0]),
            confuser_in_bowl=bool(in_bowl[1:].any()),
            target_lift=float(lifts[0]),
            confuser_lift=float(lifts[1:].max(initial=0.0)),
            target_held=self.held(0),
            at_rest=bool(np.linalg.norm(velocities, axis=1).max() < _REST_SPEED),
            gripper_open=bool(self.data.qpos[len(JOINTS) - 1] > RELEASE_ANGLE),
            release_commanded=bool(self._command[-1] > RELEASE_ANGLE),
        )

    def _observation(self) -> dict[str, np.ndarray]:
        vectors = {
            STATE: self.data.qpos[: len(JOINTS)].astype(np.float32),
            ENVIRONMENT_STATE: coordinates(self.task, self.layout),
        }
        images = {image_key(camera): self.picture(camera, self.task.size(camera)) for camera in self.task.cameras}
        return {**vectors, **images}

    def _info(self) -> dict[str, Any]:
        return {
            "outcome": self._outcome,
            "success": self._outcome == "success",
            "target": self.layout.target.copy(),
            "confusers": tuple((float(x), float(y)) for x, y in self.layout.confusers),
            "bowl": self.layout.bowl.copy(),
            "cue": self.layout.cue.copy(),
            "closing_target_mm": self._closing[0],
            "closing_confuser_mm": self._closing[1],
        }
