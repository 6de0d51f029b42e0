"""Where a chunk would have the hand, and what joints it asks for."""

from __future__ import annotations

import numpy as np

from foreact.errors import UnreachableError
from foreact.records import Arm, Features
from foreact_runtime.executor import ChunkQueue, HandPoses
from foreact_runtime.kinematics import InverseKinematics
from foreact_runtime.settings import ExecutorSettings


class Hand:
    """The hand of a policy's arm."""

    def __init__(self, features: Features, settings: ExecutorSettings, arm: Arm) -> None:
        """Take what the policy was trained on, and an arm, for policies that do not say what theirs is."""
        self._features = features
        self.takes_poses = settings.hand_poses
        """Whether chunks hold hand poses, for which joints are found by inverse kinematics."""
        arm = features.arm or arm
        self._unit = 1.0 if arm.unit == "rad" else np.pi / 180
        self._joints = [features.action_names.index(name) for name in arm.joints if name in features.action_names]
        self._is_whole = len(self._joints) == len(arm.joints)
        self._kinematics = InverseKinematics(arm)

    def path(self, chunks: np.ndarray) -> np.ndarray | None:
        """Return where chunks (..., T, C) would have the hand, (..., T, 3) [m]; None where its joints are not known."""
        return np.asarray(chunks[..., :3], np.float64) if self.takes_poses else self.reached(chunks)

    def reached(self, actions: np.ndarray) -> np.ndarray | None:
        """Return where actions (..., A) would have the hand, (..., 3) [m]; None where its joints are not known."""
        if not self._is_whole:
            return None
        return self._kinematics.forward(actions[..., self._joints].astype(np.float64) * self._unit)[0]

    def actions(self, chunk: np.ndarray) -> np.ndarray:
        """Return a chunk (T, C) as actions (t, A), up to the first that the arm cannot reach."""
        if not self.takes_poses:
            return chunk
        executor = HandPoses(ChunkQueue(len(chunk)), self._features)
        executor.add(chunk)
        actions = []
        try:
            while executor.left:
                actions.append(executor.next_action())
        except UnreachableError:  # what comes after it would be reached from elsewhere
            pass
        return np.array(actions, np.float32).reshape(-1, self._features.action_dim)
