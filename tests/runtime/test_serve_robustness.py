"""Hostile and broken clients, on real sockets: an error for each of them, and nobody else notices."""

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import hostile_clients as hostile
from foreact_runtime.serve.client import PolicyClient
from foreact_runtime.serve.server import PolicyServer, ServerOptions, largest_message, serve_in_background
from served_policies import packed, r1pro_policy, spot_observation, spot_policy

OPTIONS = ServerOptions(port=0, send_timeout=1.0, open_timeout=2.0)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, PolicyClient, Callable[[], None]]]:
    """A URL, a good client that was there before, and a check that it still gets the right actions."""
    policy = spot_policy()
    alone = policy.make_controller()
    with serve_in_background(PolicyServer(policy, options=OPTIONS)) as url, PolicyClient(url) as good:
        good.reset()
        ticks = iter(range(1_000_000))

        def check() -> None:
            observation = spot_observation(next(ticks))
            np.testing.assert_array_equal(good.act(observation), alone.act(observation))

        check()
        yield url, good, check


Served = tuple[str, PolicyClient, Callable[[], None]]


@pytest.mark.parametrize("attack", hostile.HOSTILE, ids=lambda attack: attack.__name__)
def test_nobody_else_notices(server: Served, attack: Callable[[str], None]) -> None:
    url, _, check = server
    attack(url)
    check()
    with PolicyClient(url) as another:
        another.act(spot_observation())


PAYLOADS = {
    "objects": packed({"observation.state": {b"__ndarray__": True, b"data": b"x", b"dtype": "|O", b"shape": [1]}}),
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.",
    "wrong shape": packed({**spot_observation(), "observation.images.wrist": np.zeros((31, 32, 3), np.uint8)}),
    "wrong size": packed({**spot_observation(), "observation.state": np.zeros(99, np.float32)}),
    "not finite": packed({**spot_observation(), "observation.state": np.full(2, np.nan, np.float32)}),
    "nothing": b"",
    "text of megabytes": packed({"x" * 1_000_000: 1}),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_wrong_message_ends_its_own_connection_only(server: Served, name: str) -> None:
    url, _, check = server
    hostile.garbage(url, PAYLOADS[name])
    check()


def test_a_message_in_two_hundred_pieces_with_pings_between_them_is_read(server: Served) -> None:
    url, _, check = server
    data = packed(spot_observation())
    size = -(-len(data) // 200)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    connection = hostile.upgraded(url)
    for place, piece in enumerate(pieces):
        opcode = hostile.CONTINUATION if place else hostile.BINARY
        connection.sendall(hostile.header(opcode, len(piece), final=place == len(pieces) - 1) + piece)
        connection.sendall(hostile.header(hostile.PING, 0))
    connection.sendall(hostile.message(packed({**spot_observation(), "observation.state": np.zeros(3, np.float32)})))
    assert hostile.close_code(connection) == 1011, "the first was read, the second is wrong"
    check()


def test_a_text_instead_of_a_message_is_refused(server: Served) -> None:
    url, _, check = server
    connection = hostile.upgraded(url)
    connection.sendall(hostile.header(0x1, 2) + b"{}")
    assert hostile.close_code(connection) == 1011
    check()


def test_a_client_that_asks_and_never_reads_is_ended(server: Served) -> None:
    """Its replies fill the sockets' buffers; then the server waits for `send_timeout` and for nothing longer.

    Chunks of 1000 actions make 24 kB a reply.
    """
    _, _, check = server
    with serve_in_background(PolicyServer(spot_policy(chunk_size=1000), options=OPTIONS)) as url:
        hostile.asking_without_reading(url, packed({**spot_observation(), "__action_chunk_size__": 1000}))
        check()


def test_a_thousand_half_open_connections_keep_nobody_out_and_fill_no_memory(server: Served) -> None:
    """The hundred before them show what the library takes once. Of the thousand this process holds both ends."""
    url, _, check = server
    for connection in hostile.half_open(url, 100):
        connection.close()
    gc.collect()
    before = resident()
    connections = hostile.half_open(url, 1000)
    check()
    assert resident() - before < 20 << 20
    with PolicyClient(url) as another:
        another.act(spot_observation())
    ended = sum(hostile.is_ended(connection) for connection in connections)
    assert ended >= 1000 - 64 - 1, "the oldest gave way to the newest"
    deadline = time.monotonic() + 30
    while not all(hostile.is_ended(connection) for connection in connections) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert all(hostile.is_ended(connection) for connection in connections), "and the rest ended by the open timeout"
    check()
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("piece", [1 << 16, 4 << 20], ids=["64 KiB", "4 MiB"])
def test_a_message_of_a_gigabyte_in_pieces_ends_at_the_bound(server: Served, piece: int) -> None:
    """16 MiB is the most that a message may have here; what comes behind is forgotten, and not for long."""
    url, _, check = server
    gc.collect()
    before = resident()
    taken = hostile.long_message(url, 1 << 30, piece)
    assert taken < 128 << 20, "the rest was never read"
    check()
    gc.collect()
    assert resident() - before < 60 << 20


def test_memory_stays_bounded(server: Served) -> None:
    """Each round would leave ten megabytes if the server kept anything of what it was sent."""
    url, _, check = server
    noise = bytes(10 << 20)
    hostile.garbage(url, noise)
    gc.collect()
    before = resident()
    for _ in range(20):
        hostile.garbage(url, noise)
        hostile.vanishing(url)
        check()
    assert resident() - before < 60 << 20


def resident() -> int:
    """Bytes of memory that this process, in which the server runs, holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_a_message_may_be_twice_an_observation_but_at_least_16_mebibytes() -> None:
    assert largest_message(spot_policy().features) == 16 << 20
    full = 4 * 2 * (480 * 480 + 480 * 480 + 720 * 720) + 8 * 37
    assert largest_message(r1pro_policy().features) == max(2 * full, 16 << 20)
    options = ServerOptions(port=0, largest_message=1 << 20)
    with serve_in_background(PolicyServer(spot_policy(), options=options)) as url:
        connection = hostile.upgraded(url)
        connection.sendall(hostile.header(hostile.BINARY, (1 << 20) + 1))
        assert hostile.close_code(connection) == 1009
