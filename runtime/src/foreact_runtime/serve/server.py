"""One websocket server for BEHAVIOR-1K's evaluators of 2025 and 2026 and for openpi's clients (FORMATS.md 5.3).

The network is shared and answers one observation at a time, in the order of their arrival, on a thread of its own: the
event loop goes on meanwhile, and what a client gets does not depend on who else asks, as it would, in the last bits,
if several were answered together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from foreact_runtime import __version__
from foreact_runtime.errors import ConfigError, ForeactError, ServingError
from foreact_runtime.records import Features
from foreact_runtime.serve.asking import answering
from foreact_runtime.serve.codec import decode, encode
from foreact_runtime.serve.door import CLOSE_TIMEOUT, BoundedConnection, Door, check_host
from foreact_runtime.serve.observation_names import ObservationNames
from foreact_runtime.serve.options import Clock
from foreact_runtime.serve.session import ServedPolicy, Session

_log = logging.getLogger(__name__)

_PING_INTERVAL = 60.0
_PING_TIMEOUT = 300.0
"""Seconds. A simulator that loads a scene answers nothing for minutes; a computer without power never does."""
_ACCEPTED_AT_ONCE, _WAITING = 4, 128
"""New connections that the event loop takes before it looks after the others again, and those that the system keeps for
later. asyncio has one number for both, and a hundred at once would make everybody else wait."""
_LONGEST_ERROR = 1000
_MEBIBYTE = 1 << 20
_HIGHEST_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Where to listen, who may come in, what a client may cost, and what its ticks are."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    api_key: str | None = None
    insecure: bool = False
    """Listen beyond this machine without a key."""
    most_clients: int = 16
    largest_message: int | None = None
    """Bytes; None takes `largest_message`'s."""
    open_timeout: float = 10.0
    """Seconds for a handshake."""
    send_timeout: float = 30.0
    """Seconds for a client to take a reply."""
    idle_timeout: float = 60.0
    """Seconds after which a client that asks nothing gives way to another where all places are taken."""
    clock: Clock = "wall"
    """Of a policy that is asynchronous."""


def largest_message(features: Features) -> int:
    """Return the bytes that a message may have: twice an observation's, at least 16 MiB.

    A picture counts four bytes a pixel for RGBA and four for depth. Room for more lets clients send what the policy
    does not use, and full-resolution RGB-D of three cameras (8 MB) to a policy that resizes.
    """
    pixels = 0
    for camera in features.cameras:
        height, width = camera.recorded_size or (camera.height, camera.width)
        pixels += height * width * (1 if camera.depth_range is None else 2)
    vectors = features.state_dim + features.environment_dim
    return max(2 * (4 * pixels + 8 * vectors), 16 * _MEBIBYTE)


class PolicyServer:
    """Serves one policy to several clients, each with its own executor."""

    def __init__(
        self,
        policy: ServedPolicy,
        *,
        name: str = "policy",
        options: ServerOptions | None = None,
        names: ObservationNames | None = None,
    ) -> None:
        """Take what to serve.

        Args:
            policy: Of a checkpoint or a bundle.
            name: What the metadata call it.
            options: Where and to whom; by default this machine only.
            names: How clients call their observations; by default without a table of the user's.

        Raises:
            ConfigError: If the options open the server to the network without a key.
        """
        self.name = name
        self.options = options or ServerOptions()
        check_host(self.options.host, has_key=self.options.api_key is not None, insecure=self.options.insecure)
        if not 0 <= self.options.port <= _HIGHEST_PORT:
            raise ConfigError(f"port {self.options.port} does not exist; choose one of 0 to {_HIGHEST_PORT}")
        if self.options.api_key == "":
            raise ConfigError("the key is empty; write one into its file, or leave the option out")
        self._policy = policy
        self._names = names or ObservationNames(policy.features)
        self.largest_message = self.options.largest_message or largest_message(policy.features)
        self.fps = policy.features.fps
        self.is_asynchronous = policy.executor_settings.asynchronous
        self.clock: Clock = self.options.clock if self.is_asynchronous else "calls"
        """Whoever waits for its chunks counts calls."""
        # On that clock the chunk that is asked for in a tick is there in the same tick, however long it takes.
        self._settings = policy.executor_settings if self.clock == "wall" else policy.executor_settings.waiting()
        self._metadata = encode({**_metadata(policy, name), "asynchronous": self.is_asynchronous, "clock": self.clock})
        self._door = Door(self.options.api_key, self.options.most_clients, self.options.idle_timeout)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="policy")

    async def run(self, stop: asyncio.Event, listening: Callable[[str], None] = lambda url: None) -> None:
        """Serve until `stop` is set.

        Args:
            stop: Ends the server: clients are told, and what is being computed is finished.
            listening: Called with the URL once clients can come in.

        Raises:
            ServingError: If the address cannot be listened on.
        """
        options = self.options
        server = serve(
            self._serve,
            options.host,
            options.port,
            compression=None,
            process_request=self._door.check,
            server_header=None,
            open_timeout=options.open_timeout,
            ping_interval=_PING_INTERVAL,
            ping_timeout=_PING_TIMEOUT,
            close_timeout=CLOSE_TIMEOUT,
            max_size=self.largest_message,
            max_queue=1,
            backlog=_ACCEPTED_AT_ONCE,
            logger=_log.getChild("websockets"),
            create_connection=partial(BoundedConnection, self._door),  # type: ignore[arg-type]  # it is only called
        )
        try:
            await server
        except OSError as error:
            raise ServingError(
                f"cannot listen on {options.host}:{options.port}: {error.strerror}; choose another --host or --port"
            ) from error
        for of in server.sockets:
            with socket.fromfd(of.fileno(), of.family, of.type) as same:
                same.listen(_WAITING)
        async with server:
            listening(f"ws://{_address(options.host, server.sockets[0].getsockname()[1])}")
            await stop.wait()
        self._worker.shutdown()

    async def _serve(self, connection: ServerConnection) -> None:
        """Answer one client until it leaves or makes an error, which ends its connection and no other."""
        address = connection.remote_address  # None where it is gone already
        who = f"client {_address(*address[:2]) if address else 'without an address'}"
        session = Session(self._policy, self._names, self._settings)
        ending = "ended here"
        _log.info("%s came in", who)
        try:
            await self._converse(connection, session, who)
        except ConnectionClosed as closed:
            ending = str(closed)
        except TimeoutError:
            _log.warning("%s does not read its replies; its connection is ended", who)
            connection.transport.abort()
        except ForeactError as error:
            message = str(error)  # not the error: who keeps the log would keep what the client sent
            _log.warning("%s: %s", who, message)
            await self._refuse(connection, message)
        except Exception:
            _log.exception("%s: an error of the server", who)
            await self._refuse(connection, "the server failed to answer; its log says why")
        finally:
            counts = ", ".join(f"{what} {times}" for what, times in session.counts.items())
            _log.info("%s left after %d replies; ticks: %s; %s", who, session.replies, counts or "none", ending)

    async def _converse(self, connection: ServerConnection, session: Session, who: str) -> None:
        assert isinstance(connection, BoundedConnection)
        in_worker = partial(asyncio.get_running_loop().run_in_executor, self._worker)
        previous: float | None = None
        try:
            await self._send(connection, self._metadata)
            while True:
                message = await connection.recv()
                if isinstance(message, str):
                    raise ServingError("the server got a text, expected a binary message of msgpack")
                began = time.perf_counter()
                with connection.being_answered():
                    reply = await in_worker(self._answer, session, who, message, previous)
                    del message  # it may be large, and the next may be long in coming
                    if reply is not None:
                        await self._send(connection, reply)
                        previous = 1000 * (time.perf_counter() - began)
        finally:
            await in_worker(session.close)

    def _answer(self, session: Session, who: str, message: bytes, previous: float | None) -> bytes | None:
        """Return the reply, None for a reset. Decoding runs here too: a large message takes milliseconds."""
        request = decode(message)
        began = time.perf_counter()
        with answering(who):
            reply: dict[str, Any] | None = session.answer(request)
        if reply is None:
            return None
        timing = {"infer_ms": 1000 * (time.perf_counter() - began)}
        if previous is not None:
            timing["prev_total_ms"] = previous
        return encode({**reply, "server_timing": timing})

    async def _send(self, connection: ServerConnection, message: bytes) -> None:
        async with asyncio.timeout(self.options.send_timeout):
            await connection.send(message)

    async def _refuse(self, connection: ServerConnection, message: str) -> None:
        """Send an error as the protocol has it: a text, then the code 1011."""
        line = " ".join(message.split())
        assert isinstance(connection, BoundedConnection)
        connection.leave()
        try:
            async with asyncio.timeout(self.options.send_timeout):
                await connection.send(line if len(line) <= _LONGEST_ERROR else f"{line[: _LONGEST_ERROR - 3]}...")
                await connection.close(CloseCode.INTERNAL_ERROR, "error")
        except ConnectionClosed:
            pass  # it left before it could be told
        except TimeoutError:
            connection.transport.abort()


@contextlib.contextmanager
def serve_in_background(server: PolicyServer) -> Iterator[str]:
    """Serve on a thread of its own while the block runs, and yield the URL.

    Raises:
        ServingError: If the address cannot be listened on.
    """
    ready: threading.Event = threading.Event()
    started: dict[str, Any] = {}

    async def run() -> None:
        started["stop"], started["loop"] = asyncio.Event(), asyncio.get_running_loop()

        def listening(url: str) -> None:
            started["url"] = url
            ready.set()

        try:
            await server.run(started["stop"], listening)
        except ServingError as error:
            started["error"] = error
            ready.set()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="policy-server", daemon=True)
    thread.start()
    ready.wait()
    if "error" in started:
        raise started["error"]
    try:
        yield started["url"]
    finally:
        started["loop"].call_soon_threadsafe(started["stop"].set)
        thread.join()


def _metadata(policy: ServedPolicy, name: str) -> dict[str, Any]:
    features = policy.features
    return {
        "policy": name,
        "action_names": features.action_names,
        "cameras": {of.name: of.recorded_size or (of.height, of.width) for of in features.cameras},
        "fps": features.fps,
        "chunk_size": policy.executor_settings.chunk_size,
        "features": asdict(features),
        "foreact_version": __version__,
    }


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
