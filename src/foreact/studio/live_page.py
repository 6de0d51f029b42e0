"""The page `/`: click a block, and watch the policy go there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import ui
from nicegui.events import KeyEventArguments, MouseEventArguments

from foreact.errors import ForeactError
from foreact.sim.scene import build_model
from foreact.sim.task import LEVELS, level
from foreact.studio.arm_meshes import BodyMesh, arm_meshes
from foreact.studio.arm_view import ArmView
from foreact.studio.clicking import block_at, read_click
from foreact.studio.drawing import joint_panels, legend, overhead_marks, to_table
from foreact.studio.figure_file import save_buttons, save_scene_button
from foreact.studio.insight import InsightCard
from foreact.studio.live import MOST_CONFUSERS, SIZES, Live
from foreact.studio.moving_picture import MovingPicture
from foreact.studio.page_frame import admitted, page_frame
from foreact.studio.range_input import RangeInput
from foreact.studio.setup import BRIGHTEST, LARGEST_DELAY, LARGEST_NOISE, Snapshot
from foreact.studio.shelf import EXPERT, MODES

if TYPE_CHECKING:
    from foreact.studio.server import Session, Studio

NOBODY = "nobody"
"""Beside the first policy."""
_OFTEN = 0.1
"""Seconds between two looks at the scenes: the usual control rate."""
_CURVES_EVERY = 3
"""Looks between two drawings of the curves."""
_CURVES = "Chunk per joint"
"""The name of the tab with the curves."""
_KEYS = (
    ("space", "pause"),
    (".", "step"),
    ("R", "again"),
    ("N", "next seed"),
    ("1-4", "pick a block, which is 1 from then on"),
    ("arrows", "on Pick 1, Pick 2, ...: move that block"),
)
_STEP = 0.01
"""Metres by which an arrow key moves a block."""
_WAYS = {"ArrowUp": (-1, 0), "ArrowDown": (1, 0), "ArrowLeft": (0, -1), "ArrowRight": (0, 1)}
"""As the overhead picture shows them: it looks from the front, so forward is down and the arm's left is right."""
_ARROWS = "(event) => { if (event.key.startsWith('Arrow')) { event.preventDefault(); emit(event.key); } }"
OUTCOMES = {
    "success": "success: the block is in the bowl",
    "confuser_in_bowl": "wrong block in the bowl",
    "picked_confuser": "picked the wrong block",
    "never_picked": "never picked a block",
    "dropped": "dropped the block",
    "missed_bowl": "missed the bowl",
    "timeout": "ran out of time",
}


@cache
def meshes() -> list[BodyMesh]:
    """The arm's, the same for every scene."""
    return arm_meshes(build_model(level("L0")))


def register(studio: Studio) -> None:
    """Add the page to the server."""

    @ui.page("/")
    async def live() -> None:
        page_frame("/")
        session = await admitted(studio.enter, most=studio.options.most_sessions, what="a simulation")
        if session is not None:
            # Ending a simulation takes a tick, in which other visitors' pages must not wait.
            ui.context.client.on_delete(lambda: threading.Thread(target=studio.leave, args=(session,)).start())
            LivePage(studio, session)


class LivePage:
    """One visitor's page."""

    def __init__(self, studio: Studio, session: Session) -> None:
        """Build it, and begin the first scene."""
        self._studio = studio
        self._session = session
        self._setup = studio.first
        self._is_paused = False
        self._dragged: int | None = None
        self._looks = 0
        self._n_buttons = 0
        self._lanes: list[_Lane] = []
        session.lives.append(Live(studio.shelf, self._setup))
        with ui.element("main").classes("columns") as self._root:
            with ui.element("div").classes("stack"):
                self._lane_row = ui.element("div").classes("lanes")
                self._which_row = ui.element("div").classes("row fourth")
                with self._which_row:
                    ui.label("Curves, questions and arm are of the")
                    self._which = ui.toggle({0: "first scene", 1: "second scene"}, value=0, on_change=self._on_which)
                    self._which.props('dense no-caps aria-label="the scene whose curves, answers and arm are shown"')
                self._which_row.set_visibility(False)
                with ui.element("section").classes("card fourth").props('aria-label="predictions"'):
                    self._build_insight()
            with ui.element("div").classes("stack"):
                self._build_transport()
                self._build_controls()
                with ui.element("section").classes("card fifth").props('aria-label="three dimensions"'):
                    self._arm = ArmView(meshes())
                    ui.label("drag or arrows turn, wheel, + and - zoom").classes("soft")
                    ui.label("yellow: the predicted path, blue: the second scene's").classes("soft")
                    save_scene_button(self._arm.scene, "three-dimensions")
        self._build_lanes()
        ui.keyboard(on_key=self._on_key, repeating=False)
        ui.timer(_OFTEN, self._look)

    # What can be set.

    def _build_transport(self) -> None:
        with ui.element("section").classes("card second").props('aria-label="clock"'):
            with ui.element("div").classes("row"):
                self._pause_button = ui.button("Pause", on_click=lambda: self._pause(not self._is_paused)).props(
                    "no-caps"
                )
                ui.button("Step", on_click=self._step).props("outline no-caps")
                ui.button("Again", on_click=lambda: self._each(lambda live: live.begin())).props("outline no-caps")
                ui.button("Next seed", on_click=self._next_seed).props("outline no-caps")
            with ui.element("div").classes("row"):
                self._seed = ui.number("Seed", value=self._setup.seed, min=0, precision=0, on_change=self._on_seed)
                self._seed.props("dense outlined debounce=400").classes("grow")
                self._level = ui.select(list(LEVELS), value=self._setup.level, label="Level", on_change=self._on_level)
                self._level.props("dense outlined").classes("grow")
            self._blocks_row = ui.element("div").classes("row").props('role=group aria-label="pick a block"')
            with ui.element("div").classes("soft"):
                ui.html(", ".join(f"<kbd>{key}</kbd> {what}" for key, what in _KEYS), sanitize=False)

    def _build_controls(self) -> None:
        setup = self._setup
        names = list(self._studio.shelf.names)
        with ui.element("section").classes("card third").props('aria-label="settings"'):
            self._policy = _select("Policy", names, setup.policy, lambda value: self._set_policy(0, value))
            self._second = _select("Beside it", [NOBODY, *names], NOBODY, self._set_second)
            with ui.element("div").classes("row"):
                _select("Execution", list(MODES), setup.mode, lambda value: self._set(mode=value)).classes("grow")
                latents = {"zero": "zero", "prior": "sampled"}
                _select("Latent", latents, setup.latent, lambda value: self._set(latent=value)).classes("grow")
            _slider(
                "Light", 0.2, BRIGHTEST, 0.1, setup.brightness, "{:.1f} x", lambda value: self._set(brightness=value)
            )
            noise = 1000 * level(setup.level).cue_sigma
            self._noise = _slider(
                "Cue noise",
                0,
                1000 * LARGEST_NOISE,
                1,
                noise,
                "{:.0f} mm",
                lambda value: self._set(cue_noise=value / 1000),
            )
            _slider(
                "Delay",
                0,
                1000 * LARGEST_DELAY,
                50,
                0,
                "{:.0f} ms",
                lambda value: self._set(delay=value / 1000),
            )
            with ui.element("div").classes("row"):
                ui.label("Confusers")
                self._fewer = ui.button("less", on_click=lambda: self._each(lambda live: live.remove_confuser()))
                self._more = ui.button("more", on_click=lambda: self._each(lambda live: live.add_confuser()))
                for button, what in ((self._fewer, "remove"), (self._more, "add")):
                    button.props(f'outline dense no-caps padding="xs sm" aria-label="{what} a confuser"')
            self._pointer = ui.toggle({"pick": "click picks", "drag": "drag moves blocks"}, value="pick")
            self._pointer.props('dense no-caps aria-label="what the pointer does"')
            self._pointer.on_value_change(lambda event: self._root.classes(toggle="drag"))
            self._keep_arm = ui.switch("A click lets the arm go on")
            self._keep_arm.tooltip("From where it is; otherwise each click begins the episode again")

    def _build_insight(self) -> None:
        with ui.tabs().props("dense no-caps align=left inline-label outside-arrows mobile-arrows") as tabs:
            curves = ui.tab(_CURVES)
            insight = ui.tab("Why it goes there")
        self._panels = ui.tab_panels(tabs, value=_CURVES).style("background: transparent")
        with self._panels:
            with ui.tab_panel(curves).style("padding: 0"):
                keys = (
                    ("state", "measured"),
                    ("sent", "sent"),
                    ("chunk", "predicted chunks"),
                    ("plan", "queue or ensemble: what would be sent"),
                )
                with ui.element("div").classes("stack") as figure:
                    with ui.element("div").classes("row"):
                        ui.html(legend(*keys), sanitize=False).classes("soft grow")
                        save_buttons(figure, "chunk-per-joint")
                    self._curves = ui.html("", sanitize=False).classes("panels")
                self._limits = ui.label().classes("soft")
            with ui.tab_panel(insight).style("padding: 0"):
                self._insight = InsightCard(self._studio.shelf, lambda: self._session.lives[self._followed].snapshot)

    @property
    def _followed(self) -> int:
        """The scene whose curves, answers and arm are shown."""
        return int(self._which.value) if len(self._session.lives) > 1 else 0

    def _on_which(self) -> None:
        self._insight.forget()

    def _build_lanes(self) -> None:
        self._which.set_value(self._followed)
        self._which_row.set_visibility(len(self._session.lives) > 1)
        self._lane_row.clear()
        with self._lane_row:
            self._lanes = [
                _Lane(self._session.token, number, self._on_pointer) for number in range(len(self._session.lives))
            ]

    # What happens.

    def _each(self, act: Callable[[Live], None]) -> None:
        for live in self._session.lives:
            act(live)

    def _set(self, **changes: Any) -> None:
        try:
            self._setup = replace(self._setup, **changes)
            self._each(lambda live: live.change(replace(live.setup, **changes)))
        except ForeactError as error:
            ui.notify(str(error), type="negative")

    def _set_policy(self, number: int, name: str) -> None:
        live = self._session.lives[number]
        live.change(replace(live.setup, policy=name))
        if number == 0:
            self._setup = replace(self._setup, policy=name)
        self._begin_together()

    def _set_second(self, name: str) -> None:
        lives = self._session.lives
        if name == NOBODY:
            if len(lives) > 1:
                gone = lives.pop()
                threading.Thread(target=gone.close).start()
        elif len(lives) > 1:
            self._set_policy(1, name)
        else:
            lives.append(Live(self._studio.shelf, replace(self._setup, policy=name), scene_of=lives[0]))
            if self._is_paused:
                lives[1].pause(True)
            self._begin_together()
        self._build_lanes()

    def _begin_together(self) -> None:
        if len(self._session.lives) > 1:
            self._each(lambda live: live.begin())

    def _pause(self, is_paused: bool) -> None:
        self._is_paused = is_paused
        self._pause_button.set_text("Go on" if is_paused else "Pause")
        self._each(lambda live: live.pause(is_paused))

    def _step(self) -> None:
        self._is_paused = True
        self._pause_button.set_text("Go on")
        self._each(lambda live: live.step())

    def _next_seed(self) -> None:
        self._seed.set_value(self._setup.seed + 1)

    def _on_seed(self, event: Any) -> None:
        if event.value is not None and int(event.value) != self._setup.seed:
            self._set(seed=int(event.value))

    def _on_level(self, event: Any) -> None:
        self._noise.set(1000 * level(event.value).cue_sigma)
        self._set(level=event.value, cue_noise=None)

    def _pick(self, block: int, snapshot: Snapshot) -> None:
        if block < len(snapshot.blocks):
            point = snapshot.blocks[block].placed
            self._each(lambda live: live.pick(block, point, keep_arm=self._keep_arm.value))
            self._go()

    def _go(self) -> None:
        """A click is to be seen: let the clock go on."""
        if self._is_paused:
            self._pause(False)

    def _on_pointer(self, number: int, event: MouseEventArguments) -> None:
        snapshot = self._session.lives[number].snapshot
        if snapshot is None:
            return
        pixel = (event.image_x, event.image_y)
        if self._pointer.value == "drag":
            if event.type == "pointerdown":
                self._dragged = block_at(snapshot, pixel)
            elif event.type == "pointerup" and self._dragged is not None:
                block, self._dragged = self._dragged, None
                if (place := to_table(snapshot.overhead, pixel)) is not None:
                    self._each(lambda live: live.move_block(block, place))
        elif event.type == "pointerup" and (click := read_click(snapshot, pixel)) is not None:
            keep_arm = bool(self._keep_arm.value)
            self._each(lambda live: live.pick(click.block, click.point, keep_arm=keep_arm))
            self._go()

    def _on_key(self, event: KeyEventArguments) -> None:
        modifiers = event.modifiers
        if not event.action.keydown or modifiers.ctrl or modifiers.alt or modifiers.meta:
            return
        key = event.key
        if key.space:
            self._pause(not self._is_paused)
        elif key.name == ".":
            self._step()
        elif key.name in ("r", "R"):
            self._each(lambda live: live.begin())
        elif key.name in ("n", "N"):
            self._next_seed()
        elif key.number and (snapshot := self._session.lives[0].snapshot) is not None:
            self._pick(key.number - 1, snapshot)

    # What is seen.

    def _look(self) -> None:
        lives = list(self._session.lives)
        if not lives:
            return
        self._looks += 1
        snapshots = [live.snapshot for live in lives]
        shows_curves, followed = self._panels.value == _CURVES, self._followed
        for lane, live, snapshot in zip(self._lanes, lives, snapshots, strict=False):
            is_followed = lane.number == followed
            live.shows_plan = shows_curves and is_followed
            lane.show(live, snapshot, heat=self._insight.heat(live.setup.policy) if is_followed else None)
        self._arm.show(snapshots, followed)
        if snapshots[0] is not None:
            self._show_blocks(snapshots[0])
        of = snapshots[followed]
        if of is not None and shows_curves and self._looks % _CURVES_EVERY == 0:
            self._curves.set_content(joint_panels(of))
            self._limits.set_text(_counts(of))

    def _show_blocks(self, snapshot: Snapshot) -> None:
        n = len(snapshot.blocks)
        self._more.set_enabled(n <= MOST_CONFUSERS)
        self._fewer.set_enabled(n > 1)
        if self._n_buttons != n:  # not the row's children: tooltips are among them
            self._n_buttons = n
            self._blocks_row.clear()
            with self._blocks_row:
                for block in range(n):
                    button = ui.button(f"Pick {block + 1}", on_click=lambda block=block: self._pick_now(block))
                    button.props('outline dense padding="xs sm" no-caps').tooltip("Arrow keys move the block")
                    button.on("keydown", lambda event, block=block: self._shift(block, event.args), js_handler=_ARROWS)

    def _shift(self, block: int, arrow: str) -> None:
        by = _STEP * np.array(_WAYS[arrow])
        self._each(lambda live: live.shift_block(block, by))

    def _pick_now(self, block: int) -> None:
        snapshot = self._session.lives[0].snapshot
        if snapshot is not None:
            self._pick(block, snapshot)


class _Lane:
    """One scene's pictures and how it goes."""

    def __init__(self, token: str, number: int, on_pointer: Callable[[int, MouseEventArguments], None]) -> None:
        self.number = number
        self._token = token
        self._seen = 0
        with ui.element("section").classes("card").props(f'aria-label="scene {number + 1}"'):
            with ui.element("h2"):
                self._title = ui.label()
            self._outcome = ui.label("building the scene").classes("outcome status").props("role=status")
            self._outcome.props('aria-live=polite data-testid="outcome"')
            with ui.element("div").classes("pictures") as pictures:
                with ui.element("figure"):
                    self._overhead = MovingPicture(
                        SIZES["overhead"],
                        "overhead camera",
                        on_mouse=lambda event: on_pointer(number, event),
                        events=["pointerdown", "pointerup"],
                    ).classes("overhead")
                    with ui.element("figcaption"):
                        ui.label("overhead: click on a block")
                with ui.element("figure").classes("second"):
                    self._wrist = MovingPicture(SIZES["wrist"], "wrist camera")
                    with ui.element("figcaption"):
                        ui.label("wrist")
            with ui.element("div").classes("row"):
                self._status = ui.label().classes("status soft grow")
                save_buttons(pictures, f"scene-{number + 1}")
            self._error = ui.label().classes("error").props("role=alert")

    def show(self, live: Live, snapshot: Snapshot | None, heat: Any) -> None:
        self._error.set_text(live.error)
        self._title.set_text((live if snapshot is None else snapshot).setup.policy)
        if snapshot is None:
            self._outcome.classes(remove="good bad")
            self._outcome.set_text("stopped" if live.error else "building the scene")
            return
        if snapshot.number == self._seen:
            return
        self._seen = snapshot.number
        address = f"/studio/picture/{self._token}/{self.number}"
        self._overhead.show(f"{address}/overhead?{snapshot.number}", overhead_marks(snapshot, heat))
        self._wrist.show(f"{address}/wrist?{snapshot.number}")
        self._show_outcome(snapshot)
        self._status.set_text(_status(snapshot))

    def _show_outcome(self, snapshot: Snapshot) -> None:
        outcome = snapshot.outcome
        self._outcome.classes(remove="good bad")
        if outcome is None:
            self._outcome.set_text("stopped" if snapshot.error else "paused" if snapshot.is_paused else "running")
        else:
            self._outcome.set_text(OUTCOMES[outcome])
            self._outcome.classes("good" if outcome == "success" else "bad")


def _status(snapshot: Snapshot) -> str:
    parts = [f"tick {snapshot.tick}, {snapshot.seconds:.1f} s"]
    if snapshot.rate and snapshot.outcome is None and not snapshot.is_paused:
        parts.append(f"{snapshot.rate:.0f} Hz")
    if snapshot.setup.policy != EXPERT:
        cue = 1000 * float(((snapshot.cue - snapshot.blocks[0].placed) ** 2).sum() ** 0.5)
        parts.append(f"cue {cue:.0f} mm from the block")
    for count, what in ((snapshot.stalls, "stalled"), (snapshot.unreachable, "out of reach")):
        if count:
            parts.append(f"{what} {count} ticks")
    if snapshot.limited is not None and snapshot.limited.ticks:
        parts.append(f"limited {snapshot.limited.ticks} ticks")
    return ", ".join(parts)


def _counts(snapshot: Snapshot) -> str:
    if snapshot.limited is None:
        return "the scripted expert predicts no chunks and has no limits"
    limited, total = snapshot.limited.ticks, snapshot.tick
    return f"limits changed the action in {limited} of {total} ticks"


def _select(label: str, options: Any, value: str, act: Callable[[Any], None]) -> ui.select:
    return ui.select(options, value=value, label=label, on_change=lambda event: act(event.value)).props(
        "dense outlined options-dense"
    )


def _slider(
    label: str, low: float, high: float, step: float, value: float, text: str, act: Callable[[float], None]
) -> RangeInput:
    with ui.element("div").classes("labelled"):
        ui.label(label)
        slider = RangeInput(label, low, high, step, value)
        shown = ui.label(text.format(value)).classes("value")
    slider.on_move(lambda moved: shown.set_text(text.format(moved)))
    slider.on_let_go(act)
    return slider
