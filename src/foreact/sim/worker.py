"""What a simulating process works with: the task, its own copy of the policy, and a context for pictures."""

from __future__ import annotations

import logging
import pickle
from functools import cache
from typing import Any

from foreact.sim.backend import render_in_this_thread
from foreact.sim.task import TaskConfig

_PICKLED: bytes
_TASK: TaskConfig
"""Of this process, which keeps what it makes of them from one job to the next."""


def begin(pickled: bytes, task: TaskConfig) -> None:
    """Set a process up, on one core; the policy is unpickled with the first job that asks for it."""
    import torch

    global _PICKLED, _TASK
    _PICKLED, _TASK = pickled, task
    torch.set_num_threads(1)
    render_in_this_thread()
    logging.getLogger("foreact_runtime.limits").setLevel(logging.ERROR)  # results count what was limited


@cache
def policy() -> Any:
    """Return this process's policy."""
    return pickle.loads(_PICKLED)


def task() -> TaskConfig:
    """Return the task that is played."""
    return _TASK
