"""What all pages of the studio have: the style, the top with its links, light or dark."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from nicegui import ui

Place = TypeVar("Place")

_STYLE = Path(__file__).parent / "style.css"
_ROOM_EVERY = 1.0
"""Seconds between two looks whether somebody has left a full studio."""
_LINKS = (("/", "Live"), ("/data", "Data sets"))


def page_frame(here: str) -> None:
    """Begin a page; `here` is its address."""
    ui.add_css(_STYLE.read_text(encoding="utf-8"))
    ui.colors(primary="#1d5fb8", dark="#202226", dark_page="#16171a", negative="#b42318")
    ui.context.client.on_exception(_tell)
    dark = ui.dark_mode(None)
    with ui.element("header").classes("top"):
        with ui.element("h1"):
            ui.label("foreact studio")
        with ui.element("nav").props('aria-label="pages"'):
            for address, name in _LINKS:
                link = ui.link(name, address)
                if address == here:
                    link.props('aria-current="page"')
        choice = ui.toggle({None: "auto", False: "light", True: "dark"}, value=None)
        choice.on_value_change(lambda event: dark.set_value(event.value))
        choice.props('dense unelevated no-caps size=sm aria-label="light or dark"')


def _tell(error: Exception) -> None:
    ui.notify(f"{type(error).__name__}: {error}; this is a bug, the log shows where", type="negative")


async def admitted(enter: Callable[[], Place | None], *, most: int, what: str) -> Place | None:
    """Return a visitor's place as soon as there is one, and say meanwhile that there is none.

    Args:
        enter: Gives a place; None where there is no room.
        most: How many places there are.
        what: What each of them has, such as "a simulation".

    Returns:
        The place, which the caller gives back; None where the visitor has gone.
    """
    client = ui.context.client
    waiting = ui.label("connecting ...").classes("soft")
    await client.connected()  # whoever only fetches the page gets no place
    if client.is_deleted:  # and waiting for that one is over
        return None
    waiting.delete()
    place = enter()
    if place is None:
        sign = _full(most, what)
        while place is None:
            await asyncio.sleep(_ROOM_EVERY)
            if client.is_deleted:
                return None
            place = enter()
        sign.delete()
    return place


def _full(most: int, what: str) -> ui.element:
    with ui.element("section").classes("card").props("role=alert") as sign:
        with ui.element("h2"):
            ui.label("The studio is full")
        ui.label(
            f"{most} page{'s' * (most != 1)} with {what} {'are' if most != 1 else 'is'} open already, and more would "
            "slow all of them down. This one begins by itself once one of them is closed; --max-sessions makes more "
            "room."
        )
    return sign
