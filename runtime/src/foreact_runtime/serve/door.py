"""Who may come in, and what one connection may cost before and after it is in.

A connection that says nothing, reads nothing or floods the server ends alone. Of too many that are coming or going the
oldest gives way to the newest, so that a robot gets in while somebody opens a thousand. Where all places are taken, the
client that has asked nothing for longest gives way, if that is long enough.
"""

from __future__ import annotations

import asyncio
import hmac
import http
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, State

from foreact_runtime.errors import ConfigError

HEALTH = "/healthz"
CLOSE_TIMEOUT = 5.0
"""Seconds for a client to go after the server or itself has said good-bye."""
_MOST_ON_THRESHOLD = 64
"""Connections that are coming or going."""
_MOST_UNSENT = 1 << 16
"""Bytes that wait for a client that does not read: more are only reached by one that keeps asking nevertheless."""
_SYSTEM_BUFFER = 1 << 18
"""Bytes that the system may keep besides; a reply has a few thousand."""
_MOST_PIECES = 256
"""Of one message, and pings in a second; they may be empty, so their bytes do not bound them."""
_MOST_UNWANTED = 1 << 26
"""Bytes that are still read, and forgotten, from a client that was told to go: with fewer it might never hear why."""
_SLICE = 1 << 13
"""Bytes that are looked at between two counts: an empty piece takes six, and each costs 20 microseconds."""


class Door:
    """Answers the health check, and refuses clients without the key and those for whom there is no room."""

    def __init__(self, api_key: str | None, most_clients: int, idle_timeout: float) -> None:
        """Take the key, None for no key, how many clients may be in, and seconds for which one keeps an idle place."""
        self._api_key = None if api_key is None else api_key.encode()
        self._most_clients = most_clients
        self._idle_timeout = idle_timeout
        self._threshold: dict[BoundedConnection, None] = {}

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return the HTTP response that ends a connection here; None lets it in."""
        if request.path == HEALTH:
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if self._api_key is not None and not self._has_key(request, self._api_key):
            response = connection.respond(
                http.HTTPStatus.UNAUTHORIZED, "wrong or missing key: send the header Authorization: Api-Key KEY\n"
            )
            response.headers["WWW-Authenticate"] = "Api-Key"
            return response
        if self._api_key is None and "Origin" in request.headers:
            return connection.respond(
                http.HTTPStatus.FORBIDDEN, "a web page may not come in without a key: start the server with one\n"
            )
        if not self._has_place(connection.server.connections):
            return connection.respond(
                http.HTTPStatus.SERVICE_UNAVAILABLE, f"{self._most_clients} clients are in already; try again later\n"
            )
        return None

    def _has_place(self, connections: set[ServerConnection]) -> bool:
        """Whether there is a place, or a client that gives way."""
        inside = [of for of in connections if isinstance(of, BoundedConnection) and not of.is_leaving]
        if len(inside) < self._most_clients:
            return True
        idlest = max(inside, key=lambda of: of.idle_seconds)
        if idlest.idle_seconds < self._idle_timeout:
            return False
        idlest.give_way(f"nothing was asked for {self._idle_timeout:g} seconds, and another client needs the place")
        return True

    @staticmethod
    def _has_key(request: Request, key: bytes) -> bool:
        sent = request.headers.get_all("Authorization")
        offered = sent[0].encode(errors="surrogateescape") if len(sent) == 1 else b""
        return hmac.compare_digest(offered, b"Api-Key " + key)

    def arrive(self, connection: BoundedConnection) -> None:
        """Note a connection that is coming or going; the oldest ends where there are too many."""
        self._threshold[connection] = None
        if len(self._threshold) > _MOST_ON_THRESHOLD:
            oldest = next(iter(self._threshold))
            del self._threshold[oldest]
            oldest.transport.abort()

    def cross(self, connection: BoundedConnection) -> None:
        """Note one that is in now, or gone."""
        self._threshold.pop(connection, None)


class BoundedConnection(ServerConnection):
    """A connection that may give way to others while it comes or goes, and that ends where its client floods it."""

    def __init__(self, door: Door, *args: Any, **kwargs: Any) -> None:
        """Take the door, and what the library passes on."""
        super().__init__(*args, **kwargs)
        self._door = door
        self._pieces = 0
        self._pings = 0
        self._unwanted = 0
        self._second = 0.0
        self._idle_since: float | None = None
        self._closing: asyncio.Task[None] | None = None
        self.is_leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin. Without a bound of ours, the system keeps megabytes for a client that does not read."""
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SYSTEM_BUFFER)
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._door.arrive(self)

    async def handshake(self, *args: Any, **kwargs: Any) -> None:
        """Shake hands; see `Door.arrive`."""
        await super().handshake(*args, **kwargs)
        if self.state is State.OPEN:
            self._door.cross(self)

    def data_received(self, data: bytes) -> None:
        """Read on, but not for long at once, for all clients wait meanwhile."""
        for start in range(0, len(data), _SLICE):
            super().data_received(data[start : start + _SLICE])
            # The library answers each ping at once, however many answers still wait to be read.
            is_flood = max(self._pieces, self._pings) > _MOST_PIECES
            if is_flood or self.transport.get_write_buffer_size() > _MOST_UNSENT:
                self.transport.abort()
                return
        if self.state is State.CLOSING:
            self.leave()
            self._unwanted += len(data)
            if self._unwanted > _MOST_UNWANTED:
                self.transport.abort()

    def process_event(self, event: Event) -> None:
        """Count the pieces of a message and the pings of a second."""
        if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._pieces = 0 if event.fin else self._pieces + 1
        elif isinstance(event, Frame):
            now = self.loop.time()
            if now - self._second > 1:
                self._second, self._pings = now, 0
            self._pings += 1
        super().process_event(event)

    @property
    def idle_seconds(self) -> float:
        """Since the last reply, or since it came; 0 while it is being answered."""
        return 0.0 if self._idle_since is None else self.loop.time() - self._idle_since

    @contextmanager
    def being_answered(self) -> Iterator[None]:
        """While the block runs, the client waits for the server, and not the other way round."""
        self._idle_since = None
        try:
            yield
        finally:
            self._idle_since = self.loop.time()

    def give_way(self, reason: str) -> None:
        """Say why, and go."""
        self.leave()
        self._closing = self.loop.create_task(self.close(CloseCode.TRY_AGAIN_LATER, reason))

    def leave(self) -> None:
        """Begin to go: the library waits for its client to hang up, and a client may have no mind to."""
        if not self.is_leaving:
            self.is_leaving = True
            self._door.arrive(self)
            self.loop.call_later(CLOSE_TIMEOUT, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """End. What the library notes of the end holds the last message, in a cycle that may not be freed for long."""
        super().connection_lost(exc)
        self._door.cross(self)
        if self.protocol.parser_exc is not None:
            self.protocol.parser_exc.__traceback__ = None


def check_host(host: str, *, has_key: bool, insecure: bool) -> None:
    """Refuse to listen to the network without a key.

    Raises:
        ConfigError: If others than this machine could come in without a key and nobody said that they may.
    """
    if has_key or insecure or is_loopback(host):
        return
    raise ConfigError(
        f"on '{host}' the whole network could command the robot's policy; pass --api-key-file FILE, or --insecure "
        "where the network is yours alone"
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
