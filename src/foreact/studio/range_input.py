"""The browser's own slider: it has a name and takes the keyboard where the library's does so only in part."""

from __future__ import annotations

from collections.abc import Callable

from nicegui.element import Element
from nicegui.events import GenericEventArguments


class RangeInput(Element, component="range_input.js"):
    """A number between two others."""

    def __init__(self, name: str, low: float, high: float, step: float, value: float) -> None:
        """Build it in the present slot; `name` is for those who do not see what stands beside it."""
        super().__init__()
        self.value = value
        self._moving: list[Callable[[float], object]] = []
        self.classes("range").props["aria-label"] = name
        self.props.update(low=low, high=high, step=step, value=value)
        self.on("input", self._moved, js_handler="(event) => emit(event.target.valueAsNumber)")

    def on_move(self, act: Callable[[float], object]) -> None:
        """Call this with each value that it is moved to, by hand or by `set`."""
        self._moving.append(act)

    def on_let_go(self, act: Callable[[float], object]) -> None:
        """Call this with the value that a hand leaves it at."""
        self.on("change", lambda: act(self.value))

    def set(self, value: float, *, high: float | None = None) -> None:
        """Move it, and let it reach further or less far."""
        if high is not None:
            self.props["high"] = high
            self.update()
        self.run_method("show", value)
        self._note(value)

    def _moved(self, event: GenericEventArguments) -> None:
        self._note(float(event.args))

    def _note(self, value: float) -> None:
        self.value = value
        for act in self._moving:
            act(value)
