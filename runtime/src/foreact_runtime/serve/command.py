"""What the two commands that serve share, `foreact serve` and `python -m foreact_runtime.serve`."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
from collections.abc import Callable
from pathlib import Path

from foreact_runtime.errors import ConfigError
from foreact_runtime.serve.asking import NamesClient
from foreact_runtime.serve.door import check_host
from foreact_runtime.serve.observation_names import ObservationNames
from foreact_runtime.serve.options import Clock, ServingOptions
from foreact_runtime.serve.server import PolicyServer, ServerOptions
from foreact_runtime.serve.session import ServedPolicy


def serve_policy(load: Callable[[], ServedPolicy], *, name: str, options: ServingOptions) -> None:
    """Serve a policy until Ctrl-C or SIGTERM, logging who comes and goes.

    Args:
        load: Returns the policy; called once the options are known to be right, for it may take long.
        name: What the metadata call it.
        options: Where, to whom and how; those of a bundle's network and its pictures are for whoever loads it.

    Raises:
        ConfigError: If a file, a name or an option is wrong.
        ServingError: If the address cannot be listened on.
        ForeactError: Like `load`.
    """
    server_options = _server_options(options)
    renamed = {**({} if options.rename_file is None else _read_names(options.rename_file)), **options.rename}
    policy = load()
    names = ObservationNames(policy.features, renamed)
    server = PolicyServer(policy, name=name, names=names, options=server_options)
    handler = logging.StreamHandler()
    handler.addFilter(NamesClient())
    logging.basicConfig(level=logging.INFO, handlers=[handler], format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("foreact_runtime.serve.server.websockets").setLevel(logging.ERROR)
    _serve_until_stopped(server)


def _server_options(options: ServingOptions) -> ServerOptions:
    """Refuse what is wrong, before a policy is loaded."""
    check_host(options.host, has_key=options.api_key_file is not None, insecure=options.insecure)
    for name in ("most_clients", "largest_message", "threads"):
        number = getattr(options, name)
        if number is not None and number < 1:
            raise ConfigError(f"--{name.replace('_', '-')} is {number}; it must be at least 1")
    return ServerOptions(
        host=options.host,
        port=options.port,
        api_key=read_api_key(options.api_key_file),
        insecure=options.insecure,
        most_clients=options.most_clients,
        largest_message=None if options.largest_message is None else options.largest_message << 20,
        clock=options.clock,
    )


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


_CLOCKS: dict[Clock, str] = {
    "wall": "asynchronous, by the clock on the wall: for robots, which act {fps:g} times a second whatever comes; for "
    "simulations that wait for each answer, pass --clock calls",
    "calls": "asynchronous, by the clients' calls: an action asked for is a tick, and each chunk is waited for; for "
    "robots, which do not wait, pass --clock wall",
}


def _serve_until_stopped(server: PolicyServer) -> None:
    """Say where and what is served."""

    def listening(url: str) -> None:
        mebibytes = server.largest_message >> 20
        print(f"serving '{server.name}' at {url}, messages up to {mebibytes} MiB; Ctrl-C stops", flush=True)
        if server.is_asynchronous:
            print(_CLOCKS[server.clock].format(fps=server.fps), flush=True)

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
