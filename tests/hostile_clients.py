"""Clients of a policy server that mean no good, on bare sockets. Each returns what the server did about it."""

import base64
import os
import secrets
import socket
import struct
import time
from collections.abc import Callable
from urllib.parse import urlsplit

BINARY, CONTINUATION, PING, CLOSE = 0x2, 0x0, 0x9, 0x8
_TIMEOUT = 30.0


def opened(url: str) -> socket.socket:
    """A TCP connection that says nothing yet."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # before it connects: the system heeds it then
    connection.settimeout(_TIMEOUT)
    connection.connect((parts.hostname, parts.port))
    return connection


def upgraded(url: str) -> socket.socket:
    """A websocket whose metadata were read."""
    connection = opened(url)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = ["GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
    connection.sendall("\r\n".join(lines).encode())
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(4096)
    assert b" 101 " in received, received
    _frame(connection, received.partition(b"\r\n\r\n")[2])
    return connection


def header(opcode: int, length: int, *, final: bool = True) -> bytes:
    """A client's frame up to its payload, with a mask of zeros."""
    first = (0x80 if final else 0) | opcode
    if length < 126:
        return struct.pack("!BB", first, 0x80 | length) + bytes(4)
    if length < 1 << 16:
        return struct.pack("!BBH", first, 0x80 | 126, length) + bytes(4)
    return struct.pack("!BBQ", first, 0x80 | 127, length) + bytes(4)


def message(payload: bytes) -> bytes:
    """A whole binary message."""
    return header(BINARY, len(payload)) + payload


def close_code(connection: socket.socket) -> int | None:
    """Read what comes until the server's close frame, and return its code; None where the connection just ends."""
    rest = b""
    try:
        while True:
            opcode, payload, rest = _frame(connection, rest)
            if opcode == CLOSE:
                return int(struct.unpack("!H", payload[:2])[0])
    except (ConnectionError, EOFError):
        return None
    finally:
        connection.close()


def huge_frame(url: str) -> None:
    """Announces 1 GB and sends none of it."""
    connection = upgraded(url)
    connection.sendall(header(BINARY, 1 << 30))
    assert close_code(connection) == 1009


def garbage(url: str, payload: bytes | None = None) -> None:
    """Sends a megabyte of noise."""
    connection = upgraded(url)
    connection.sendall(message(secrets.token_bytes(1 << 20) if payload is None else payload))
    assert close_code(connection) == 1011


def empty_pieces(url: str) -> None:
    """Sends one message in pieces without end, none of which has a byte that counts."""
    connection = upgraded(url)
    try:
        connection.sendall(header(BINARY, 0, final=False) + header(CONTINUATION, 0, final=False) * 20_000)
    except ConnectionError:
        return
    assert close_code(connection) is None


def long_message(url: str, length: int, piece: int) -> int:
    """Sends one message in pieces that are full of bytes, and returns how many bytes the server let it send."""
    connection = upgraded(url)
    payload = bytes(piece)
    sent = 0
    try:
        for _ in range(0, length, piece):
            connection.sendall(header(CONTINUATION if sent else BINARY, piece, final=False) + payload)
            sent += piece
    except ConnectionError:
        return sent
    finally:
        connection.close()
    raise AssertionError("the server took it all")


def vanishing(url: str) -> None:
    """Is gone, without a word, in the middle of a frame."""
    connection = upgraded(url)
    connection.sendall(header(BINARY, 1 << 20) + bytes(1 << 18))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def never_reading(url: str) -> None:
    """Pings as fast as it can and reads no answer, until the server has had enough."""
    _flood(upgraded(url), header(PING, 125) + bytes(125))


def asking_without_reading(url: str, payload: bytes) -> None:
    """Asks as fast as it can and reads no answer, until the server has had enough."""
    _flood(upgraded(url), message(payload))


def _flood(connection: socket.socket, piece: bytes) -> None:
    pieces = piece * max(1, (1 << 16) // len(piece))
    end = time.monotonic() + _TIMEOUT
    try:
        while time.monotonic() < end:
            connection.sendall(pieces)
    except ConnectionError:
        return
    finally:
        connection.close()
    raise AssertionError("the server went on reading")


def half_open(url: str, number: int) -> list[socket.socket]:
    """Connections whose handshake never comes, or never ends."""
    connections = []
    for place in range(number):
        connection = opened(url)
        if place % 2:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade:")
        connections.append(connection)
    return connections


def is_ended(connection: socket.socket) -> bool:
    """Whether the server has ended a connection."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


HOSTILE: tuple[Callable[[str], None], ...] = (huge_frame, garbage, empty_pieces, vanishing, never_reading)


def _frame(connection: socket.socket, rest: bytes) -> tuple[int, bytes, bytes]:
    """Read a server's frame: its opcode, its payload and what came behind it."""

    def need(size: int) -> None:
        nonlocal rest
        while len(rest) < size:
            more = connection.recv(1 << 16)
            if not more:
                raise EOFError
            rest += more

    need(2)
    opcode, length, at = rest[0] & 0x0F, rest[1] & 0x7F, 2
    if length >= 126:
        at = 4 if length == 126 else 10
        need(at)
        length = int.from_bytes(rest[2:at], "big")
    need(at + length)
    return opcode, rest[at : at + length], rest[at + length :]
