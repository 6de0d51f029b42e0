"""The studio's server: the door, the pages, pictures and meshes, and who is in."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import socket
import threading
from dataclasses import dataclass, field

from fastapi import Response
from nicegui import app, background_tasks, ui

from foreact.errors import ConfigError, ForeactError
from foreact.studio.door import Door
from foreact.studio.live import Live
from foreact.studio.recordings import Recordings, jpeg
from foreact.studio.setup import Setup
from foreact.studio.shelf import Shelf


@dataclass(frozen=True, kw_only=True)
class StudioOptions:
    """Where the studio listens, and to how many."""

    host: str = "127.0.0.1"
    port: int = 8080
    api_key: str | None = None
    """None where no key is asked for."""
    most_sessions: int = 4
    """Pages with a simulation at once, and as many with a data set's episode in memory."""


@dataclass(kw_only=True, eq=False)
class Session:
    """One visitor's page: one scene, or two side by side."""

    token: str
    """Names its pictures; nobody else can guess it."""
    lives: list[Live] = field(default_factory=list)


class Studio:
    """What the pages share."""

    def __init__(self, shelf: Shelf, recordings: Recordings, options: StudioOptions, first: Setup) -> None:
        """Take policies, data sets, options, and what a new page shows."""
        self.shelf = shelf
        self.recordings = recordings
        self.options = options
        self.first = first
        self._sessions: dict[str, Session] = {}
        self._readers: set[object] = set()
        self._changing = threading.Lock()

    def enter(self) -> Session | None:
        """Return a session for one more visitor; None where there is no room."""
        with self._changing:
            if len(self._sessions) >= self.options.most_sessions:
                return None
            session = Session(token=secrets.token_urlsafe(16))
            self._sessions[session.token] = session
            return session

    def leave(self, session: Session) -> None:
        """End a visitor's simulations; the room is free once they have ended. Waits for a tick to end."""
        lives, session.lives = session.lives, []
        for live in lives:
            live.close()
        with self._changing:
            self._sessions.pop(session.token, None)

    def enter_data(self) -> object | None:
        """Return a place for one more page with a data set; None where there is no room."""
        with self._changing:
            if len(self._readers) >= self.options.most_sessions:
                return None
            place = object()
            self._readers.add(place)
            return place

    def leave_data(self, place: object) -> None:
        """Give a place back."""
        with self._changing:
            self._readers.discard(place)

    def close(self) -> None:
        """End all simulations."""
        for session in list(self._sessions.values()):
            self.leave(session)

    def picture(self, token: str, number: int, camera: str) -> bytes | None:
        """Return the latest picture of a session's scene as a JPEG file; None where there is none."""
        session = self._sessions.get(token)
        lives = list(session.lives) if session is not None else []
        snapshot = lives[number].snapshot if 0 <= number < len(lives) else None
        picture = None if snapshot is None else snapshot.pictures.get(camera)
        return None if picture is None else jpeg(picture, longest=max(picture.shape[:2]))


def serve(studio: Studio) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: If the address cannot be listened on.
    """
    options = studio.options
    port = _free_port(options.host, options.port)
    _add_routes(studio)
    app.add_middleware(Door, api_key=options.api_key, host=options.host)
    app.on_shutdown(studio.close)
    name = f"[{options.host}]" if ":" in options.host else options.host
    app.on_startup(lambda: background_tasks.create(_announce(f"http://{name}:{port}", options.host, port)))
    # The server underneath takes both signals, ends in peace, and raises them once more.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        _run(options.host, port)


def _run(host: str, port: int) -> None:
    ui.run(
        host=host,
        port=port,
        title="foreact studio",
        dark=None,
        language="en-US",
        reload=False,
        show=False,
        show_welcome_message=False,
        tailwind=False,
        reconnect_timeout=5.0,
        # What a page missed is repeated from memory; pictures go another way, so these are small.
        message_history_length=200,
        binding_refresh_interval=None,
    )


def _add_routes(studio: Studio) -> None:
    from foreact.studio import data_page, live_page

    live_page.register(studio)
    data_page.register(studio)

    @app.get("/studio/picture/{token}/{number}/{camera}")
    def picture(token: str, number: int, camera: str) -> Response:
        return _answer(studio.picture(token, number, camera), "image/jpeg")

    @app.get("/studio/frame/{data:path}/{episode}/{frame}")
    def frame(data: str, episode: int, frame: int, camera: str, depth: bool = False) -> Response:
        # A camera is no part of the path: its name may have a slash in it.
        try:
            return _answer(studio.recordings[data].clip(episode).picture(camera, frame, depth=depth), "image/jpeg")
        except ForeactError:  # the page that asks has said why
            return _answer(None, "image/jpeg")

    meshes = live_page.meshes()

    @app.get("/studio/mesh/{number}.stl")
    def mesh(number: int) -> Response:
        response = _answer(meshes[number].stl() if 0 <= number < len(meshes) else None, "model/stl")
        response.headers["Cache-Control"] = "max-age=3600"
        return response


async def _announce(url: str, host: str, port: int) -> None:
    """Say where the studio is once it listens there."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    while True:
        try:
            _, writer = await asyncio.open_connection(here, port)
        except OSError:  # not yet
            await asyncio.sleep(0.05)
            continue
        writer.close()
        print(f"the studio is at {url}; Ctrl-C stops", flush=True)
        return


def _answer(content: bytes | None, kind: str) -> Response:
    if content is None:
        return Response(status_code=404)
    return Response(content, media_type=kind, headers={"Cache-Control": "no-store"})


def _free_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0; refuses one that is taken before anything is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
        return int(listener.getsockname()[1])
