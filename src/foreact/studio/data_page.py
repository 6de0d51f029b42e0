"""The page `/data`: an episode's cameras and curves side by side in time, and what is wrong with it."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from nicegui import run, ui
from nicegui.events import GenericEventArguments

from foreact.errors import ForeactError
from foreact.finding import Finding
from foreact.studio.depth_picture import depth_gradient, shown_range, unmeasured_colour
from foreact.studio.drawing import Curve, legend, panel
from foreact.studio.figure_file import save_buttons
from foreact.studio.moving_picture import MovingPicture
from foreact.studio.page_frame import admitted, page_frame
from foreact.studio.range_input import RangeInput
from foreact.studio.recordings import Clip, Mark, Recording, marks

if TYPE_CHECKING:
    from foreact.studio.server import Studio

_OFTEN = 0.05
"""Seconds between two looks at the clock while an episode plays."""
_CURVES_S = 0.25
"""Between two drawings of the curves while an episode plays: they are hundreds of kilobytes."""
_TO_FRAME = "(event) => { const of = event.target.closest('[data-at]'); if (of) emit(Number(of.dataset.at)); }"
"""What a click on a band of the curves or a mark of the timeline sends."""
_NOT_INSPECTED = "Reads the whole data set as foreact inspect does; a large one takes minutes."


def register(studio: Studio) -> None:
    """Add the page to the server."""

    @ui.page("/data")
    async def data() -> None:
        page_frame("/data")
        if not studio.recordings.names:
            with ui.element("section").classes("card"):
                ui.label("The studio was given no data set. Start it with: foreact studio --data FOLDER")
            return
        place = await admitted(studio.enter_data, most=studio.options.most_sessions, what="an episode in memory")
        if place is not None:
            ui.context.client.on_delete(lambda: studio.leave_data(place))
            DataPage(studio)


class DataPage:
    """One visitor's page."""

    def __init__(self, studio: Studio) -> None:
        """Build it, and open the first data set."""
        self._studio = studio
        self._name = studio.recordings.names[0]
        self._clip: Clip | None = None
        self._images: dict[tuple[str, bool], MovingPicture] = {}
        """By camera, and whether of its depth."""
        self._findings: Sequence[Finding] = ()
        self._marks: tuple[Mark, ...] = ()
        self._frame = 0
        self._began: tuple[float, int] | None = None
        """When and at which frame playing began; None while it stands."""
        self._fps = 1.0
        self._drawn = 0.0
        """When the curves were drawn."""
        names = list(studio.recordings.names)
        with ui.element("main").classes("columns"):
            with ui.element("div").classes("stack"):
                with ui.element("section").classes("card").props('aria-label="episode"'):
                    self._title = ui.label().classes("soft").props("role=status")
                    self._error = ui.label().classes("error").props("role=alert")
                    self._cameras = ui.element("div").classes("lanes")
                    with ui.element("div").classes("row"):
                        self._play_button = ui.button("Play", on_click=self._toggle).props("no-caps")
                        ui.button("-1", on_click=lambda: self._go(-1)).props('outline aria-label="one frame back"')
                        ui.button("+1", on_click=lambda: self._go(1)).props('outline aria-label="one frame on"')
                        with ui.element("div").classes("grow"):
                            self._timeline = ui.html("", sanitize=False).classes("marks")
                            self._timeline.on("click", self._on_mark, js_handler=_TO_FRAME)
                            self._slider = RangeInput("frame", 0, 1, 1, 0)
                        self._slider.on_move(lambda frame: self._show(int(frame)))
                        self._clock = ui.label().classes("soft")
                with ui.element("section").classes("card").props('aria-label="curves"'):
                    with ui.element("div").classes("stack") as figure:
                        with ui.element("div").classes("row"):
                            ui.html(legend(("state", "measured"), ("action", "action")), sanitize=False).classes(
                                "soft grow"
                            )
                            save_buttons(figure, "curves")
                        self._curves = ui.html("", sanitize=False).classes("panels")
                    self._curves.on("click", self._on_mark, js_handler=_TO_FRAME)
            with ui.element("div").classes("stack"):
                with ui.element("section").classes("card first").props('aria-label="choice"'):
                    self._data = ui.select(names, value=self._name, label="Data set", on_change=self._on_data)
                    self._episode = ui.select([], label="Episode", with_input=True, on_change=self._on_episode)
                    for field in (self._data, self._episode):
                        field.props("dense outlined options-dense")
                    self._about = ui.label().classes("soft")
                with ui.element("section").classes("card").props('aria-label="findings"'):
                    with ui.element("h2"):
                        ui.label("What is wrong with it")
                    with ui.element("div").classes("row"):
                        self._inspect = ui.button("Inspect", on_click=self._on_inspect).props("outline no-caps")
                        self._spinner = ui.spinner(size="1.2em").props('aria-label="inspecting"')
                        self._spinner.set_visibility(False)
                    self._said = ui.label(_NOT_INSPECTED).classes("soft")
                    self._list = ui.element("div").classes("timeline")
        ui.timer(_OFTEN, self._tick)
        ui.timer(0, self._open, once=True)

    @property
    def _recording(self) -> Recording:
        return self._studio.recordings[self._name]

    async def _on_data(self, event: object) -> None:
        self._name = str(self._data.value)
        await self._open()

    async def _open(self) -> None:
        """Read a data set's metadata, and its first episode."""
        recording = self._recording
        self._show_nothing("")
        self._episode.set_options([], value=None)
        self._about.set_text("")
        try:
            source = await run.io_bound(lambda: recording.source)
        except ForeactError as error:
            if recording is self._recording:
                self._show_nothing(str(error))
            return
        if source is None or recording is not self._recording:  # the server stops, or another was chosen meanwhile
            return
        indices = list(source.episode_indices)
        features = source.features
        self._fps = features.fps
        cameras = [
            f"{of.name} {of.height}x{of.width}{' with depth' if of.depth_range else ''}" for of in features.cameras
        ]
        self._about.set_text(
            f"{len(indices)} episodes, {sum(source.lengths.values())} frames, {features.fps:g} Hz; "
            f"{', '.join(cameras) or 'no cameras'}; "
            f"{type(source).__name__.removesuffix('Source')}"
        )
        self._take_report()
        self._episode.set_options({index: str(index) for index in indices})  # the number 0 would show nothing
        self._episode.set_value(indices[0])  # from nothing to something, so that it is opened

    def _show_nothing(self, error: str) -> None:
        """Take away what is shown, and say what went wrong."""
        self._clip, self._images = None, {}
        self._stop()
        self._error.set_text(error)
        self._title.set_text("")
        self._curves.set_content("")
        self._timeline.set_content("")
        self._cameras.clear()
        self._list.clear()

    async def _on_episode(self, event: object) -> None:
        index, recording = self._episode.value, self._recording
        if index is None:
            return
        self._title.set_text(f"reading episode {index} ...")
        self._stop()
        try:
            clip = await run.io_bound(recording.clip, int(index))
        except ForeactError as error:
            if (index, recording) == (self._episode.value, self._recording):
                self._show_nothing(str(error))
            return
        if clip is None or (index, recording) != (self._episode.value, self._recording):  # as above
            return
        self._clip = clip
        self._error.set_text("; ".join(f"{camera}: {why}" for camera, why in clip.damaged.items()))
        what = f"{clip.episode.task or 'no task'}, {clip.episode.length} frames, of {self._name}"
        self._title.set_text(f"episode {index}: {what}")
        self._images = {}
        self._cameras.clear()
        with self._cameras:
            for key, track in clip.tracks.items():
                if track.pictures:
                    with ui.element("figure").classes("recorded"):
                        self._images[key] = MovingPicture(track.size, track.title)
                        with ui.element("figcaption"):
                            ui.label(track.title)
                            if track.depth_range is not None:
                                ui.html(depth_legend(track.depth_range), sanitize=False)
        self._show_findings()
        self._slider.set(0, high=clip.episode.length - 1)

    async def _on_inspect(self) -> None:
        self._spinner.set_visibility(True)
        self._inspect.disable()
        try:
            await run.io_bound(self._recording.inspect)
        except ForeactError as error:
            self._said.set_text(str(error))
        else:
            self._take_report()
            self._show_findings()
            self._show(self._frame)
        finally:
            self._spinner.set_visibility(False)
            self._inspect.enable()

    def _take_report(self) -> None:
        report = self._recording.report
        self._findings = () if report is None else report.findings
        self._said.set_text(_NOT_INSPECTED if report is None else f"{report.counts}; {report.looked_at}")

    def _show_findings(self) -> None:
        """List what is wrong with the episode that is open, then with the others."""
        if self._clip is None:
            return
        episode = self._clip.episode
        self._marks = marks(self._findings, episode)
        self._timeline.set_content(timeline(self._marks, episode.length))
        here = {mark.title for mark in self._marks}
        self._list.clear()
        with self._list:
            for mark in self._marks:
                frames = f"frame{'s' * (mark.stop - mark.start > 1)} {mark.start}"
                frames += f" to {mark.stop - 1}" if mark.stop - mark.start > 1 else ""
                where = "the whole episode" if mark.is_whole else frames
                self._add_finding(mark.severity, mark.title, where, mark.text, frame=mark.start)
            for finding in self._findings:
                if finding.severity in ("fault", "warning") and finding.title not in here:
                    episodes = finding.evidence.get("episodes") or ()
                    other = int(episodes[0]) if episodes else None
                    where = "the data set" if other is None else f"not this episode; go to {other}"
                    self._add_finding(finding.severity, finding.title, where, finding.verdict, episode=other)

    def _add_finding(
        self, severity: str, title: str, where: str, text: str, *, frame: int | None = None, episode: int | None = None
    ) -> None:
        def go() -> None:
            if frame is not None:
                self._go_to(frame)
            elif episode is not None:
                self._episode.set_value(episode)

        with ui.element("button").classes(f"mark {severity}").props("type=button").on("click", go):
            ui.label(f"{severity}: {title} ({where})")
            ui.label(text).classes("soft")

    def _on_mark(self, event: GenericEventArguments) -> None:
        self._go_to(int(event.args))

    def _go_to(self, frame: int) -> None:
        self._stop()
        self._slider.set(frame)

    def _toggle(self) -> None:
        if self._began is not None:
            self._stop()
        elif self._clip is not None:
            if self._frame >= self._clip.episode.length - 1:
                self._slider.set(0)
            self._began = (time.perf_counter(), self._frame)
            self._play_button.set_text("Stop")

    def _stop(self) -> None:
        was_playing, self._began = self._began is not None, None
        self._play_button.set_text("Play")
        if was_playing:
            self._show(self._frame)

    def _go(self, frames: int) -> None:
        self._stop()
        if self._clip is not None:
            self._slider.set(int(np.clip(self._frame + frames, 0, self._clip.episode.length - 1)))

    def _tick(self) -> None:
        if self._began is None or self._clip is None:
            return
        began, first = self._began
        frame = first + int((time.perf_counter() - began) * self._fps)
        last = self._clip.episode.length - 1
        if frame != self._frame:
            self._slider.set(min(frame, last))
        if frame >= last:
            self._stop()

    def _show(self, frame: int) -> None:
        clip = self._clip
        if clip is None:
            return
        self._frame = frame
        for (camera, is_depth), element in self._images.items():
            path = f"{quote(self._name)}/{clip.episode.index}/{frame}?camera={quote(camera, safe='')}"
            element.show(f"/studio/frame/{path}{'&depth=true' if is_depth else ''}")
        self._clock.set_text(f"frame {frame}, {frame / self._fps:.2f} s")
        if self._began is None or time.perf_counter() - self._drawn > _CURVES_S:
            self._drawn = time.perf_counter()
            self._curves.set_content(episode_panels(clip, self._recording, frame, self._marks))


def depth_legend(depth_range: tuple[float, float]) -> str:
    """Return what the colours of a camera's depth mean, as a strip with metres under it."""
    near, far = shown_range(depth_range)
    metres = (f"≤ {near:.2g} m", f"{(near * far) ** 0.5:.2g} m", f"≥ {far:.2g} m")
    return (
        f'<div class="depth-key" style="background: {depth_gradient()}"></div>'
        f'<div class="depth-metres">{"".join(f"<span>{of}</span>" for of in metres)}</div>'
        f'<span class="unmeasured" style="background: {unmeasured_colour()}"></span>not measured'
    )


def timeline(found: Sequence[Mark], length: int) -> str:
    """Return the marks of an episode of so many frames as stretches over its slider; a click on one goes there."""
    rects = ""
    for of in found:
        if not of.is_whole:
            width = max(of.stop - of.start, length / 100)  # to be seen, and hit
            rects += (
                f'<rect class="{of.severity}" data-at="{of.start}" x="{min(of.start, length - width):g}" y="0" '
                f'width="{width:g}" height="1"><title>{html.escape(of.title)}</title></rect>'
            )
    # The list of findings is the same for those who do not see it.
    return f'<svg viewBox="0 0 {length} 1" preserveAspectRatio="none" aria-hidden="true">{rects}</svg>' if rects else ""


def episode_panels(clip: Clip, recording: Recording, frame: int, found: Sequence[Mark]) -> str:
    """Return an episode's curves, state and action of the same name together, with what is wrong as bands behind."""
    episode, features = clip.episode, recording.source.features
    columns: dict[str, list[Curve]] = {}
    frames = np.arange(episode.length)
    if episode.state is not None:
        for dim, name in enumerate(features.state_names):
            columns.setdefault(name, []).append(Curve(kind="state", x=frames, y=episode.state[:, dim]))
    for dim, name in enumerate(features.action_names):
        columns.setdefault(name, []).append(Curve(kind="action", x=frames, y=episode.action[:, dim]))
    bands = [(of.start, of.stop, of.severity) for of in found if not of.is_whole]
    figures = []
    for name, curves in columns.items():
        value = float(curves[0].y[frame])
        drawn = panel(curves, f"{name}: {value:.3g}", span=(0, max(1, episode.length - 1)), now=frame, bands=bands,
                      flattest=1e-3)  # fmt: skip
        figures.append(f"<figure><figcaption>{html.escape(name)} <b>{value:.3g}</b></figcaption>{drawn}</figure>")
    return "".join(figures)
