"""A picture that changes many times a second: the next one is sent when the browser has shown the one before."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from nicegui import ui
from nicegui.events import MouseEventArguments

_PATIENCE_S = 1.0
"""A picture that is not there after this long will not come; a slow network takes less."""


class MovingPicture:
    """Addresses, one after the other, of what a camera sees.

    A browser that is given a new address before it has loaded the one before shows nothing at all.
    """

    def __init__(
        self,
        size: tuple[int, int],
        name: str,
        *,
        on_mouse: Callable[[MouseEventArguments], None] | None = None,
        events: Sequence[str] = (),
    ) -> None:
        """Build it in the present slot.

        Args:
            size: Height and width [pixels] of the pictures.
            name: What they show, for those who do not see it.
            on_mouse: Called with the pixel, for each of the events.
            events: The browser's, such as `pointerup`.
        """
        self._element = ui.interactive_image(
            size=(size[1], size[0]), sanitize=False, on_mouse=on_mouse, events=list(events)
        )
        self._element.classes("picture").props("role=img")
        self._element.props["aria-label"] = name  # whatever is in it: a camera's name is the data's
        self._element.style(f"aspect-ratio: {size[1] / size[0]}")
        self._element.on("loaded", self._loaded, args=[])
        self._next: tuple[str, str] | None = None
        self._asked: float | None = None
        """When the browser was told of a picture that it has not shown yet."""

    def classes(self, names: str) -> MovingPicture:
        """Add classes."""
        self._element.classes(names)
        return self

    def show(self, address: str, marks: str = "") -> None:
        """Show a picture with SVG over it as soon as the browser is ready; what comes meanwhile takes its place."""
        self._next = (address, marks)
        if self._asked is None or time.monotonic() - self._asked > _PATIENCE_S:
            self._send()

    def _loaded(self) -> None:
        self._asked = None
        if self._next is not None:
            self._send()

    def _send(self) -> None:
        assert self._next is not None
        (address, marks), self._next = self._next, None
        self._asked = time.monotonic()
        self._element.set_source(address)
        self._element.set_content(marks)
