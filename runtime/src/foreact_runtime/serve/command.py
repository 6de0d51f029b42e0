"""What the two commands that serve share, `foreact serve` and `python -m foreact_runtime.serve`: files and signals."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
from pathlib import Path

from foreact_runtime.errors import ConfigError
from foreact_runtime.serve.server import PolicyServer


def read_api_key(path: Path) -> str:
    """Return the key: a file's first line.

    Raises:
        ConfigError: If it cannot be read or has none.
    """
    lines = _text(path).splitlines()
    key = lines[0].strip() if lines else ""
    if not key:
        raise ConfigError(f"'{path}' has no key in its first line; write one there, for example 32 random characters")
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"the key in '{path}' must be plain ASCII, for it is sent in a header")
    return key


def read_names(path: Path) -> dict[str, str]:
    """Return a table from the clients' names of observations to the policy's.

    Raises:
        ConfigError: If it cannot be read or is not a JSON object of texts.
    """
    try:
        content = json.loads(_text(path))
    except ValueError as error:
        raise ConfigError(f"'{path}' is not JSON: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise ConfigError(f"'{path}' must be a JSON object, from the clients' names to the policy's")
    return content


def serve_until_stopped(server: PolicyServer) -> None:
    """Serve until Ctrl-C or SIGTERM, and say where and what.

    Raises:
        ServingError: If the address cannot be listened on.
    """

    def listening(url: str) -> None:
        mebibytes = server.largest_message >> 20
        print(f"serving '{server.name}' at {url}, messages up to {mebibytes} MiB; Ctrl-C stops", flush=True)

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await server.run(stop, listening)

    # What is loaded stays, and to look through it for garbage stops all clients for a third of a second each time.
    gc.collect()
    gc.freeze()
    asyncio.run(serve())
    print("stopped")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"cannot read '{path}': {reason}") from error
