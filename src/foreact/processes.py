"""Worker processes that Ctrl-C does not reach: a terminal sends it to all, and the parent decides what it means."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
A = TypeVar("A")
T = TypeVar("T")


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until the end. Processes started inside never see one, not even while they start."""
    resource_tracker.ensure_running()  # its start would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited, unlike a handler
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerPool(ProcessPoolExecutor):
    """Processes that share nothing with their parent, since neither OpenGL nor torch survives a fork.

    They end with their parent, however that ends. A `with` that an error or Ctrl-C leaves ends them at once, in the
    middle of what they do; `shutdown` waits for it.
    """

    def __init__(
        self,
        n_workers: int,
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        preload: Sequence[str] = (),
    ) -> None:
        """Start no process yet.

        Args:
            n_workers: At most.
            initializer: `initializer(*initargs)` is called in each process.
            initargs: Its arguments.
            preload: Modules that take long to import. On Linux one process, which does nothing else, imports them for
                the workers of all pools and lives as long as this one: the first pool's modules count. They must
                start no thread and render nothing when they are imported, for the workers are forked from it.
        """
        has_server = bool(preload) and sys.platform == "linux"
        context: Any = get_context("forkserver" if has_server else "spawn")
        if has_server:
            context.set_forkserver_preload(list(preload))
        lifeline, self._lifeline = context.Pipe(duplex=False)
        super().__init__(n_workers, context, _begin, (lifeline, initializer, initargs))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule a call; processes are started here, one by one as they are needed."""
        with _interrupts_held():
            return super().submit(fn, *args, **kwargs)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if kind is not None:
            self._lifeline.close()
        return super().__exit__(kind, error, traceback)


def _begin(lifeline: Connection, initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


def _end_with(lifeline: Connection) -> None:
    """Wait for the other end of a pipe to be closed, by the parent or by its death, and end this process."""
    with suppress(EOFError, OSError):
        lifeline.recv()  # nothing is ever sent
    os._exit(1)


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
