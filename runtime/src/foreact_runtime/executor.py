"""From chunks to one action a tick: the one executor for simulation, server and robot.

Either a queue (execute `n_action_steps` of a chunk, then ask again) or the paper's temporal ensemble; around it what
turns hand poses into joints, thresholds and limits. All take chunks that come late: time is counted in ticks, and an
action whose tick has gone is dropped. Plain numpy, no clock.
"""

from __future__ import annotations

import numpy as np

from foreact_runtime.binary_actions import BinaryActions
from foreact_runtime.chunk_queue import ChunkQueue
from foreact_runtime.executor_protocol import Executor
from foreact_runtime.hand_poses import HandPoses
from foreact_runtime.limited_actions import LimitedActions
from foreact_runtime.limits import Limiter
from foreact_runtime.records import Features
from foreact_runtime.settings import ExecutorSettings
from foreact_runtime.temporal_ensemble import TemporalEnsemble

__all__ = [
    "BinaryActions",
    "ChunkQueue",
    "Executor",
    "HandPoses",
    "LimitedActions",
    "TemporalEnsemble",
    "make_executor",
]


def make_executor(settings: ExecutorSettings, features: Features) -> LimitedActions:
    """Return the executor that the settings ask for, for a robot with these features."""
    executor: Executor
    if settings.temporal_ensemble_coeff is None:
        executor = ChunkQueue(settings.n_action_steps, settings.blending)
    else:
        executor = TemporalEnsemble(settings.chunk_size, settings.temporal_ensemble_coeff)
    if settings.hand_poses:
        executor = HandPoses(executor, features)
    binary = np.array(settings.binary, bool)
    if binary.any():
        executor = BinaryActions(executor, binary)
    return LimitedActions(executor, Limiter(settings.limits, features.action_names, features.fps))
