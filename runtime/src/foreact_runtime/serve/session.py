"""One client's episode: what it is told, from what it asks and how often it asks.

Whoever asks every tick gets the policy's own executor: its queue or its ensemble, as in simulation and on a robot.
Whoever executes several actions between two questions gets a chunk, for then an executor here would be out of step.
A reply's `actions` are those to execute before the next question, and `action` is the first of them:

| client | `actions` |
|---|---|
| asks every tick: it has sent `reset`, like BEHAVIOR-1K's evaluators | (1, A), the executor's |
| asks for N of them with `__action_chunk_size__` | (N, A), a chunk's first, also as `action_chunk` |
| never resets, like openpi's, which have no word for it | (T, A), the chunk that begins with this observation |

In the last case `action` is a list of numbers: openpi's `ActionChunkBroker` slices every array of a reply by its step,
which fails for one of (A,).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from foreact_runtime.controller import Controller
from foreact_runtime.errors import ServingError
from foreact_runtime.records import Features
from foreact_runtime.serve.observation_names import ObservationNames
from foreact_runtime.settings import ExecutorSettings

RESET = "reset"
"""A map with this key begins an episode, whatever its value, and gets no reply."""
CHUNK_SIZE = "__action_chunk_size__"
"""How many actions a client of 2026 wants at once."""


class ServedPolicy(Protocol):
    """What is served: a checkpoint's `Policy` and a bundle's alike."""

    @property
    def features(self) -> Features:
        """What it was trained on."""
        ...

    @property
    def executor_settings(self) -> ExecutorSettings:
        """How it wants its chunks executed."""
        ...

    def make_controller(self, settings: ExecutorSettings | None = None) -> Controller:
        """Return the state of one more client, which shares the network; None for the policy's own settings."""
        ...


class Session:
    """A client's state, from its connection to the end of it."""

    def __init__(self, policy: ServedPolicy, names: ObservationNames, settings: ExecutorSettings) -> None:
        """Take the policy, shared by all, how its clients call their observations, and how it acts every tick."""
        self._policy = policy
        self._names = names
        self._settings = settings
        self._chunk_size = settings.chunk_size
        self._every_tick: Controller | None = None
        self._in_chunks: tuple[int, Controller] | None = None
        self._of_others: Counter[str] = Counter()
        self.replies = 0

    @property
    def counts(self) -> Counter[str]:
        """What happened since the client came in, over all its episodes; see `Controller.counts`."""
        counts = Counter(self._of_others)
        for controller in self._controllers():
            counts.update(controller.counts)
        return counts

    def answer(self, message: Mapping[str, Any]) -> dict[str, np.ndarray | list[float]] | None:
        """Return the reply to a message, None to a reset.

        Raises:
            ServingError: If the message asks for what there is not.
            ForeactError: Like `Controller.act`.
        """
        if RESET in message:
            self._reset()
            return None
        asked = _asked(message)
        observation = self._names.translate({key: value for key, value in message.items() if key != CHUNK_SIZE})
        reply = self._reply(observation, asked)
        self.replies += 1
        return reply

    def close(self) -> None:
        """Free what it has started."""
        for controller in self._controllers():
            controller.close()

    def _reply(self, observation: dict[str, Any], asked: int) -> dict[str, np.ndarray | list[float]]:
        if 1 < asked <= self._chunk_size:
            chunk = self._controller_of(asked).act_ahead(observation, asked)
            return {"action": chunk[0], "actions": chunk, "action_chunk": chunk}
        if self._every_tick is not None:
            action = self._every_tick.act(observation)
            return {"action": action, "actions": action[None]}
        controller = self._controller_of(self._chunk_size)
        controller.reset()  # how many of the last chunk were executed is not known
        actions = controller.act_ahead(observation, self._chunk_size)
        return {"action": actions[0].tolist(), "actions": actions}

    def _controllers(self) -> list[Controller]:
        both = (self._every_tick, None if self._in_chunks is None else self._in_chunks[1])
        return [controller for controller in both if controller is not None]

    def _reset(self) -> None:
        for controller in self._controllers():
            controller.reset()
        if self._every_tick is None:
            self._every_tick = self._policy.make_controller(self._settings)

    def _controller_of(self, size: int) -> Controller:
        """The one that executes as many actions of each chunk as its client does."""
        if self._in_chunks is not None and self._in_chunks[0] != size:
            self._of_others.update(self._in_chunks[1].counts)
            self._in_chunks = None
        if self._in_chunks is None:
            self._in_chunks = size, self._policy.make_controller(self._policy.executor_settings.ahead(size))
        return self._in_chunks[1]


def _asked(message: Mapping[str, Any]) -> int:
    """How many actions the client wants at once; 1 where it does not say."""
    value = message.get(CHUNK_SIZE, 1)
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ServingError(f"'{CHUNK_SIZE}' must be a whole number from 1 on")
    return int(value)
