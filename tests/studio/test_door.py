"""Who may see the studio."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from starlette.types import Receive, Scope, Send

from foreact.cli.main import run
from foreact.studio.door import COOKIE, Door
from foreact.studio.shelf import short_names
from studio.running import RunningStudio


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})
    else:
        await send({"type": "websocket.accept"})


def knock(
    door: Door, *, kind: str = "http", method: str = "GET", body: bytes = b"", **headers: str
) -> list[dict[str, Any]]:
    """Return what the door, or what is behind it, sends."""
    sent: list[dict[str, Any]] = []
    named = {"host": "127.0.0.1:8080", **headers}
    scope = {
        "type": kind,
        "method": method,
        "path": "/",
        "query_string": b"",
        "scheme": "http",
        "server": ("127.0.0.1", 8080),
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    asyncio.run(door(scope, receive, send))
    return sent


def status(*args: Any, **kwargs: Any) -> Any:
    (first, *_) = knock(*args, **kwargs)
    return first.get("status", first["type"])


@pytest.fixture
def open_door() -> Door:
    return Door(inside, api_key=None, host="127.0.0.1")


@pytest.fixture
def locked_door() -> Door:
    return Door(inside, api_key="sesame", host="0.0.0.0")


def test_this_machine_comes_in_without_a_key(open_door: Door) -> None:
    assert status(open_door) == 200
    assert status(open_door, host="localhost:8080", origin="http://localhost:8080") == 200
    assert status(open_door, kind="websocket", origin="http://127.0.0.1:8080") == "websocket.accept"


def test_another_sites_page_does_not_come_in(open_door: Door) -> None:
    assert status(open_door, origin="http://evil.example") == 403
    assert status(open_door, kind="websocket", origin="http://evil.example") == "websocket.close"


def test_a_name_that_somebody_elses_server_gives_this_machine_does_not_come_in(open_door: Door) -> None:
    assert status(open_door, host="evil.example:8080", origin="http://evil.example:8080") == 403
    assert status(open_door, host="[evil", origin="http://[evil") == 403
    assert status(open_door, origin="null") == 403
    assert status(Door(inside, api_key=None, host="0.0.0.0"), host="", origin="null") == 403


def test_without_the_key_nobody_comes_in_neither_by_page_nor_by_websocket(locked_door: Door) -> None:
    assert status(locked_door) == 401
    assert status(locked_door, kind="websocket") == "websocket.close"
    assert status(locked_door, authorization="Api-Key barley") == 401
    assert status(locked_door, cookie=f"{COOKIE}=sesame") == 401
    assert status(locked_door, method="POST", body=b"key=barley") == 401
    assert status(locked_door, method="POST", body=b"key=" + b"x" * 10_000) == 401


def test_the_key_comes_in_a_header_or_once_in_a_form_and_then_in_a_cookie_that_does_not_hold_it(
    locked_door: Door,
) -> None:
    assert status(locked_door, authorization="Api-Key sesame") == 200
    (answer, *_) = knock(locked_door, method="POST", body=b"key=sesame")
    assert answer["status"] == 303
    (cookie,) = [value.decode() for name, value in answer["headers"] if name == b"set-cookie"]
    assert "sesame" not in cookie
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    pair = cookie.partition(";")[0]
    assert status(locked_door, cookie=pair) == 200
    assert status(locked_door, kind="websocket", cookie=pair) == "websocket.accept"
    begun_anew = Door(inside, api_key="sesame", host="0.0.0.0")
    assert status(begun_anew, cookie=pair) == 200
    assert status(Door(inside, api_key="other", host="0.0.0.0"), cookie=pair) == 401


def test_the_command_listens_to_the_network_only_with_a_key_or_where_that_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("sesame\n")
    alone = "on '0.0.0.0' the whole network could command the robot's policy"
    later = "--max-sessions is 0"  # which is looked at next, so that nothing is ever served here
    for options, message in (
        ([], alone),
        (["--insecure"], later),
        (["--api-key-file", str(tmp_path / "key")], later),
    ):
        assert run(["studio", "--host", "0.0.0.0", "--max-sessions", "0", *options]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_pictures_are_those_of_the_data_sets_that_were_given_and_of_no_other_path(
    studio: RunningStudio, sim_recording: Path, dataset: Path, jumping: Path
) -> None:
    (name, *_) = short_names([sim_recording, dataset, jumping])

    def answer(data: str) -> int:
        try:
            with urlopen(f"{studio.url}/studio/frame/{quote(data)}/0/0?camera=overhead", timeout=60) as found:
                return int(found.status)
        except HTTPError as error:
            with error:
                return error.code

    assert answer(name) == 200
    for path in (str(sim_recording), str(sim_recording).lstrip("/"), f"{name}/.", f"./{name}", f"{name}/../{name}", ""):
        assert answer(path) == 404, path
