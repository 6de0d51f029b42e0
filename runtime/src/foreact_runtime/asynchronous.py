"""The next chunk is computed while the present one is executed: for a robot that does not wait."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from typing import Any, Protocol

import numpy as np

from foreact_runtime.controller import Check, Controller, PredictChunk
from foreact_runtime.observation import Observation
from foreact_runtime.records import Features
from foreact_runtime.settings import ExecutorSettings
from foreact_runtime.worth_saying import worth_saying

_log = logging.getLogger(__name__)

_REMEMBERED = 20
"""Latest chunks whose latency counts."""
_QUANTILE = 0.9
"""Of those latencies: one in ten may be later, and what is left of the chunk before bridges it."""
_MARGIN = 1
"""Ticks of reserve before the actions run out."""
_FOLLOW = 0.1
"""Share of the distance between a tick and the robot's loop that is made up for in each tick."""


class Worker(Protocol):
    """Predicts one chunk at a time beside the control loop."""

    @property
    def busy(self) -> bool:
        """Whether a chunk was asked for that nobody has taken yet."""
        ...

    def start(self, observation: Observation) -> None:
        """Ask for the chunk that begins with an observation."""
        ...

    def poll(self) -> np.ndarray | None:
        """Return the chunk if it is there, and raise what went wrong with it."""
        ...

    def wait(self) -> np.ndarray:
        """Return the chunk once it is there, and raise what went wrong with it."""
        ...

    def drop(self) -> None:
        """Forget the chunk that was asked for, whatever comes of it."""
        ...

    def close(self) -> None:
        """End."""
        ...


class ThreadWorker:
    """A worker in a thread of its own, started with the first chunk."""

    def __init__(self, predict_chunk: PredictChunk) -> None:
        """Take what predicts."""
        self._predict_chunk = predict_chunk
        self._pool: ThreadPoolExecutor | None = None
        self._future: Future[np.ndarray] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as one that has nothing to do: a thread stays where it is."""
        return ThreadWorker, (self._predict_chunk,)

    @property
    def busy(self) -> bool:
        """Whether a chunk was asked for that nobody has taken yet."""
        return self._future is not None

    def start(self, observation: Observation) -> None:
        """Ask for a chunk, from a copy: whoever made the observation may use its arrays again."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="predict_chunk")
        self._future = self._pool.submit(self._predict_chunk, deepcopy(observation))

    def poll(self) -> np.ndarray | None:
        """Return the chunk if it is there."""
        return self.wait() if self._future is not None and self._future.done() else None

    def wait(self) -> np.ndarray:
        """Return the chunk once it is there."""
        assert self._future is not None
        future, self._future = self._future, None
        return future.result()

    def drop(self) -> None:
        """Wait until the chunk is there and forget it, so that two are never computed at once."""
        if self._future is not None:
            self._future.exception()
            self._future = None

    def close(self) -> None:
        """End the thread."""
        self.drop()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


class AsynchronousController(Controller):
    """Never waits for a chunk but for the first of an episode, or where one was so late that no action of it is left.

    Time is counted in ticks since then, by the clock, in step with the loop that calls. A chunk is aligned by the tick
    of its observation, so that actions that come too late are dropped; it is asked for early enough to be there, going
    by the latencies measured so far, when `n_action_steps` of the one before were executed. Where it is later than
    that, the rest of the chunk before is executed; where that ends too, the arm is held and the tick counts as a stall.
    """

    def __init__(
        self,
        predict_chunk: PredictChunk,
        settings: ExecutorSettings,
        features: Features,
        *,
        check: Check | None = None,
        clock: Callable[[], float] = time.monotonic,
        worker: Worker | None = None,
    ) -> None:
        """Take the parts.

        Args:
            predict_chunk: Called in the worker's thread, never twice at once.
            settings: How chunks are executed.
            features: The robot's.
            check: Of the pictures, as `Controller`'s.
            clock: Seconds.
            worker: Where chunks are computed; None for a thread.
        """
        super().__init__(predict_chunk, settings, features, check=check)
        self._clock = clock
        self._worker: Worker = ThreadWorker(predict_chunk) if worker is None else worker
        self._begun: float | None = None
        self._tick = 0
        self._asked_at = 0
        self.latencies: deque[int] = deque(maxlen=_REMEMBERED)
        """Of the latest chunks [ticks], from the observation to the tick that could use it."""
        self.stalls = 0
        """Ticks without an action, in which the arm was held, since this was made."""
        self.repeated = 0
        """Times that it was asked again within one tick, since this was made."""
        self.dropped = 0
        """Ticks that nobody asked for, since this was made."""
        self._too_late = 0

    @property
    def counts(self) -> Counter[str]:
        """What happened since this was made, by what a log calls it [ticks]."""
        own = {"stalled": self.stalls, "asked for twice": self.repeated, "not asked for": self.dropped}
        return Counter({**super().counts, **own})

    def reset(self) -> None:
        """Begin an episode: forget all chunks, but not how long they take."""
        super().reset()
        self._worker.drop()
        self._begun = None

    def close(self) -> None:
        """End the thread; the next `act` starts another."""
        self._worker.close()

    def _next_action(self, observation: Observation, measured: np.ndarray) -> np.ndarray:
        if self._begun is None or self._last is None:  # the arm has not moved yet
            self._begin(observation)
        elif not self._pass_time():
            return self._last  # asked twice in one tick
        self._take_chunk(observation)
        if not self._worker.busy and self._tick > self._asked_at and self._is_time():
            self._asked_at = self._tick
            self._worker.start(observation)
            self._take_chunk(observation)
        if self.executor.left or self._last is None:
            return self.executor.next_action(measured)
        self.stalls += 1
        self.executor.limiter.hold()
        return self._last

    def _hold(self, measured: np.ndarray) -> np.ndarray:
        self._begun = None
        return super()._hold(measured)

    def _begin(self, observation: Observation) -> None:
        """Wait for the first chunk. The arm waits too, so that none of its actions is late."""
        self._worker.drop()
        self.executor.skip(self.executor.left)  # what is left of the last one that was waited for
        before = self._clock()
        self._worker.start(observation)
        chunk = self._worker.wait()
        self._begun, self._tick, self._asked_at = self._clock(), 0, 0
        self.latencies.append(math.ceil((self._begun - before) * self._features.fps))
        self.executor.add(chunk)

    def _pass_time(self) -> bool:
        """Go on to the present tick, dropping actions of ticks that nobody asked for; False if it is the same one."""
        assert self._begun is not None
        elapsed = (self._clock() - self._begun) * self._features.fps
        tick = round(elapsed)
        passed, self._tick = tick - self._tick, max(tick, self._tick)
        if passed <= 0:
            self.repeated += 1
            self._say_pace(self.repeated, "again within one tick: the action before is repeated")
            return False
        # A loop half way between two ticks would now be rounded up, now down.
        self._begun += _FOLLOW * (elapsed - tick) / self._features.fps
        if passed > 1:
            self.dropped += passed - 1
            self._say_pace(self.dropped, "only after %d ticks: the actions of those before are dropped", passed)
            self.executor.skip(passed - 1)
        return True

    def _say_pace(self, times: int, what: str, *values: int) -> None:
        """Say that the loop does not keep the policy's rate."""
        if worth_saying(times):
            _log.warning(
                f"asked {what} (%d ticks so far); ask %g times a second, or have each chunk waited for "
                "(synchronous; a server: --clock calls)",
                *values,
                times,
                self._features.fps,
            )

    def _take_chunk(self, observation: Observation) -> None:
        """Hand on a chunk that is there; where it is too late as a whole, begin anew: the arm is held by then."""
        chunk = self._worker.poll()
        if chunk is None:
            return
        age = self._tick - self._asked_at
        self.latencies.append(age)
        if age < len(chunk):
            self.executor.add(chunk, age)
            return
        self._too_late += 1
        if worth_saying(self._too_late):
            _log.warning(
                "a chunk came %d ticks after its observation and has %d actions, so the arm was held (%d times so "
                "far); it needs a faster network, a lower rate or longer chunks",
                age,
                len(chunk),
                self._too_late,
            )
        self._begin(observation)
        self.executor.limiter.hold()
        self.stalls += self.latencies[-1]

    def _is_time(self) -> bool:
        """Whether a chunk that is asked for now comes when it should take over, or just before the actions run out."""
        latency = int(np.quantile(self.latencies, _QUANTILE, method="higher"))
        return self.executor.due <= latency or self.executor.left <= latency + _MARGIN


def make_controller(
    predict_chunk: PredictChunk, settings: ExecutorSettings, features: Features, *, check: Check | None = None
) -> Controller:
    """Return the controller that the settings ask for, for one robot; the arguments are those of `Controller`."""
    kind = AsynchronousController if settings.asynchronous else Controller
    return kind(predict_chunk, settings, features, check=check)
