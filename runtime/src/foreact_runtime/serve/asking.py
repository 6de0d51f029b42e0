"""Which client is being answered: what its executor logs meanwhile, of limits and alarms, is said to be of that one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_asking: ContextVar[str] = ContextVar("asking", default="")


@contextmanager
def answering(client: str) -> Iterator[None]:
    """Name the client that is answered in the block, on this thread."""
    token = _asking.set(client)
    try:
        yield
    finally:
        _asking.reset(token)


class NamesClient(logging.Filter):
    """For a handler: puts the client that is being answered before what is logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything through."""
        client = _asking.get()
        if client:
            record.msg, record.args = f"{client}: {record.getMessage()}", None
        return True
