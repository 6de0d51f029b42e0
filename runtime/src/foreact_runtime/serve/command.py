"""What the two commands that serve share, `foreact serve` and `python -m foreact_runtime.serve`."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
from collections.abc import Mapping
from pathlib import Path

from foreact_runtime.errors import ConfigError
from foreact_runtime.serve.observation_names import ObservationNames
from foreact_runtime.serve.server import PolicyServer, ServerOptions
from foreact_runtime.serve.session import ServedPolicy


def serve_policy(
    policy: ServedPolicy,
    *,
    name: str,
    options: ServerOptions,
    rename: Mapping[str, str] | None = None,
    rename_file: Path | None = None,
) -> None:
    """Serve a policy until Ctrl-C or SIGTERM, logging who comes and goes.

    Args:
        policy: Of a checkpoint or a bundle.
        name: What the metadata call it.
        options: Where and to whom.
        rename: From the clients' names of observations to the policy's; goes before those of the file.
        rename_file: The same as a JSON file.

    Raises:
        ConfigError: If the file, a name or an option is wrong.
        ServingError: If the address cannot be listened on.
    """
    names = {**({} if rename_file is None else _read_names(rename_file)), **(rename or {})}
    server = PolicyServer(policy, name=name, names=ObservationNames(policy.features, names), options=options)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("foreact_runtime.serve.server.websockets").setLevel(logging.ERROR)
    _serve_until_stopped(server)


def read_api_key(path: Path | None) -> str | None:
    """Return the key: a file's first line; None without a file.

    Raises:
        ConfigError: If it cannot be read or has none.
    """
    if path is None:
        return None
    lines = _text(path).splitlines()
    key = lines[0].strip() if lines else ""
    if not key:
        raise ConfigError(f"'{path}' has no key in its first line; write one there, for example 32 random characters")
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"the key in '{path}' must be plain ASCII, for it is sent in a header")
    return key


def _read_names(path: Path) -> dict[str, str]:
    """Return a table from the clients' names of observations to the policy's; ConfigError where the file holds none."""
    try:
        content = json.loads(_text(path))
    except ValueError as error:
        raise ConfigError(f"'{path}' is not JSON: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise ConfigError(f"'{path}' must be a JSON object, from the clients' names to the policy's")
    return content


def _serve_until_stopped(server: PolicyServer) -> None:
    """Say where and what is served."""

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
