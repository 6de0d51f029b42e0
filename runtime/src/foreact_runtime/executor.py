"""From chunks to one action a tick: the one executor for simulation, server and robot.

Either a queue (execute `n_action_steps` of a chunk, then ask again) or the paper's temporal ensemble
(Zhao et al. 2023, section IV-A and algorithm 2). Plain numpy.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np

from foreact_runtime.errors import UnreachableError
from foreact_runtime.hand import POSE, action_layout, known_arm
from foreact_runtime.kinematics import InverseKinematics
from foreact_runtime.records import Features
from foreact_runtime.settings import ExecutorSettings


class Executor(Protocol):
    """Turns predicted chunks (T, A) into actions (A,), one a control tick."""

    @property
    def needs_chunk(self) -> bool:
        """Whether `add` must come before the next `next_action`."""
        ...

    def add(self, chunk: np.ndarray) -> None:
        """Take a chunk (T, A) that was predicted for this tick and the T - 1 after it."""
        ...

    def next_action(self) -> np.ndarray:
        """Return the action (A,) of this tick and go on to the next."""
        ...

    def reset(self) -> None:
        """Forget everything: a new episode begins."""
        ...


class ChunkQueue:
    """Executes the first `n_action_steps` of a chunk, then needs another."""

    def __init__(self, n_action_steps: int) -> None:
        self._n_action_steps = n_action_steps
        self._queue: deque[np.ndarray] = deque()

    @property
    def needs_chunk(self) -> bool:
        """Whether the queue is empty."""
        return not self._queue

    def add(self, chunk: np.ndarray) -> None:
        """Replace what is left by the first steps of a chunk (T, A)."""
        self._queue = deque(chunk[: self._n_action_steps])

    def next_action(self) -> np.ndarray:
        """Return the next action (A,) of the chunk; IndexError where `needs_chunk` was ignored."""
        return self._queue.popleft()

    def reset(self) -> None:
        """Empty the queue."""
        self._queue.clear()


class TemporalEnsemble:
    """Averages all predictions for a tick with weights w_i = exp(-m i), i = 0 for the OLDEST one.

    The weights are the paper's; the walkthrough of seed 003 says that recent ones weigh more, but its code, like
    the paper's, does the opposite. m = 0 is a plain mean, m < 0 favours the newest. How many predictions a tick
    has is counted, never inferred from values: the published code takes an exact 0 for an empty slot.

    Kept as a running mean, so memory is O(T A) and a tick costs O(T A).
    """

    def __init__(self, chunk_size: int, coeff: float) -> None:
        self._chunk_size = chunk_size
        # When a tick's prediction number c arrives, it gets the share w_c / (w_0 + ... + w_c), which equals
        # 1 / (e^0 + e^m + ... + e^(m c)): no weight itself is formed, so a large |m| cannot overflow to nan.
        with np.errstate(over="ignore"):
            self._share = 1 / np.cumsum(np.exp(coeff * np.arange(chunk_size)))
        self._mean = np.zeros((0, 0))
        self._count = np.zeros(0, np.int64)
        self._fresh = False

    @property
    def needs_chunk(self) -> bool:
        """Whether this tick's own prediction is still missing: an ensemble asks every tick."""
        return not self._fresh

    def add(self, chunk: np.ndarray) -> None:
        """Average a chunk (T, A) into the ticks it covers."""
        chunk = np.asarray(chunk, np.float64)
        known = len(self._mean)
        if known:
            share = self._share[self._count][:, None]
            self._mean += share * (chunk[:known] - self._mean)
            self._mean = np.concatenate([self._mean, chunk[known:]])
        else:
            self._mean = chunk.copy()
        self._count = np.concatenate([self._count + 1, np.ones(self._chunk_size - known, np.int64)])
        self._fresh = True

    def next_action(self) -> np.ndarray:
        """Return this tick's mean (A,), float32; IndexError where `needs_chunk` was ignored at the start."""
        action = self._mean[0].astype(np.float32)
        self._mean, self._count = self._mean[1:], self._count[1:]
        self._fresh = False
        return action

    def reset(self) -> None:
        """Forget all predictions."""
        self._mean = np.zeros((0, 0))
        self._count = np.zeros(0, np.int64)
        self._fresh = False


class BinaryActions:
    """Sends some dimensions as +1 where positive, else -1, after another executor has queued or averaged them.

    Thresholding before the average would send fractions to a gripper that only opens and shuts (FORMATS.md 4.6).
    """

    def __init__(self, executor: Executor, binary: np.ndarray) -> None:
        """Take the executor and a mask, bool (A,)."""
        self._executor = executor
        self._binary = binary

    @property
    def needs_chunk(self) -> bool:
        """As the executor inside."""
        return self._executor.needs_chunk

    def add(self, chunk: np.ndarray) -> None:
        """Hand a chunk (T, A) on."""
        self._executor.add(chunk)

    def next_action(self) -> np.ndarray:
        """Return this tick's action (A,), float32."""
        action = self._executor.next_action()
        return np.where(self._binary, np.where(action > 0, 1.0, -1.0), action).astype(np.float32)

    def reset(self) -> None:
        """Begin a new episode."""
        self._executor.reset()


_ELSEWHERE = 1.0
"""An arm that is this far [rad] from its last command was held or pushed; a chunk is some ticks old, so not less."""


class HandPoses:
    """Turns hand poses, after another executor has queued or averaged them, into joint positions.

    Poses are averaged as poses; the inverse kinematics run for the one that is executed, within the joints' limits.
    """

    def __init__(self, executor: Executor, features: Features) -> None:
        """Take the executor inside and the robot's features, whose arm is known."""
        arm = known_arm(features)
        self._executor = executor
        self._kinematics = InverseKinematics(arm)
        self._joints, self._others = action_layout(features)
        self._unit = 1.0 if arm.unit == "rad" else 180 / np.pi
        self._last: np.ndarray | None = None

    @property
    def needs_chunk(self) -> bool:
        """As the executor inside."""
        return self._executor.needs_chunk

    def add(self, chunk: np.ndarray) -> None:
        """Hand a chunk (T, C) from `ObjectFrame.decode` on."""
        self._executor.add(chunk)

    def next_action(self) -> np.ndarray:
        """Return this tick's action (A,), float32 in the robot's units.

        Raises:
            UnreachableError: If the arm cannot bring its hand there; the tick is over nevertheless, so that a caller
                may hold the arm still and go on.
        """
        row = self._executor.next_action().astype(np.float64)
        n_joints = len(self._joints)
        angles = self._angles(row[:3], _orthonormal(row[3:6], row[6:POSE]), present=row[-n_joints:])
        action = np.empty(n_joints + len(self._others), np.float32)
        action[self._joints] = angles * self._unit
        action[self._others] = row[POSE:-n_joints]
        return action

    def _angles(self, position: np.ndarray, turn: np.ndarray, *, present: np.ndarray) -> np.ndarray:
        """Solve from the last command, so that commands are smooth, or from where the arm was seen, if elsewhere."""
        last, self._last = self._last, None
        starts = [present] if last is None or np.abs(last - present).max() > _ELSEWHERE else [last, present]
        for start in starts:
            try:
                self._last = self._kinematics.inverse(position, turn, start)
                return self._last
            except UnreachableError as error:
                unreachable = error
        raise unreachable

    def reset(self) -> None:
        """Begin a new episode."""
        self._executor.reset()
        self._last = None


def _orthonormal(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) whose first two columns are nearest to these (Gram-Schmidt)."""
    x = x / np.linalg.norm(x)
    y = y - x * (x @ y)
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def make_executor(settings: ExecutorSettings, features: Features) -> Executor:
    """Return the executor that the settings ask for, for a robot with these features."""
    executor: Executor
    if settings.temporal_ensemble_coeff is None:
        executor = ChunkQueue(settings.n_action_steps)
    else:
        executor = TemporalEnsemble(settings.chunk_size, settings.temporal_ensemble_coeff)
    if settings.hand_poses:
        executor = HandPoses(executor, features)
    binary = np.array(settings.binary, bool)
    return BinaryActions(executor, binary) if binary.any() else executor
