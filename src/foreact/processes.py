"""Worker processes that Ctrl-C does not reach: a terminal sends it to all, and the parent decides what it means."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context, resource_tracker
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
A = TypeVar("A")
T = TypeVar("T")


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until the end. Processes started inside never see one, not even while they start."""
    resource_tracker.ensure_running()  # its start would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited, unlike a handler
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerPool(ProcessPoolExecutor):
    """Spawned processes, since neither OpenGL nor torch survives a fork."""

    def __init__(
        self, n_workers: int, initializer: Callable[..., None] | None = None, initargs: tuple[Any, ...] = ()
    ) -> None:
        """Start no process yet; `initializer(*initargs)` is called in each."""
        super().__init__(n_workers, mp_context=get_context("spawn"), initializer=initializer, initargs=initargs)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule a call; processes are started here, one by one as they are needed."""
        with interrupts_held():
            return super().submit(fn, *args, **kwargs)


def results_in_order(pool: Executor, function: Callable[[A], T], arguments: Iterable[A], ahead: int) -> Iterator[T]:
    """Yield the results of calls in the order of their arguments, so many of them begun ahead.

    The arguments may be without end: they are taken as they are needed.
    """
    waiting = iter(arguments)
    pending = deque(pool.submit(function, argument) for argument in islice(waiting, ahead))
    while pending:
        result = pending.popleft().result()
        pending.extend(pool.submit(function, argument) for argument in islice(waiting, 1))
        yield result
