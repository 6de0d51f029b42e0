"""Why the arm goes there: the part of the live page that asks the policy what it looks at and what it answers to."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from nicegui import run, ui

from foreact.errors import ForeactError
from foreact.policy.hand import Hand
from foreact.sim.calibration import arm_of_model
from foreact.sim.scene import build_arm
from foreact.studio.attention import AttentionSeen, attention_seen
from foreact.studio.click_map import ClickMap, click_map
from foreact.studio.drawing import Cells, click_arrows, heat_cells, tiles
from foreact.studio.figure_file import save_buttons
from foreact.studio.occlusion import occlusion
from foreact.studio.recordings import jpeg
from foreact.studio.setup import Snapshot
from foreact.studio.shelf import EXPERT, SharedPolicy, Shelf, executed
from foreact_runtime.keys import image_key

_EVERY_S = 2.0
"""Between two questions while somebody keeps asking."""
_ABOUT = "Each question is about what the policy saw when it was last asked for a chunk, or first in this episode."
_UNKNOWN = "where this policy's chunks would have the hand is not known"


class InsightCard:
    """Three questions to a scene's policy, each about what it saw last."""

    def __init__(self, shelf: Shelf, snapshot: Callable[[], Snapshot | None]) -> None:
        """Build it in the present slot."""
        self._shelf = shelf
        self._snapshot = snapshot
        self._is_asking = False
        self._heat: tuple[str, np.ndarray] | None = None
        """Of which policy, and what `heat` returns of it."""
        with ui.element("div").classes("row"):
            ui.button("Where does it look?", on_click=self._ask_occlusion).props("outline no-caps")
            ui.button("Where would a click lead?", on_click=self._ask_clicks).props("outline no-caps")
            ui.button("What does it attend to?", on_click=self._ask_attention).props("outline no-caps")
            self._moment = ui.toggle(["now", "at the start"], value="now")
            self._moment.props('dense no-caps aria-label="the moment that is asked about"')
            self._repeats = ui.switch("keep asking").props('aria-label="keep asking the last question"')
            self._spinner = ui.spinner(size="1.2em").props('aria-label="computing"')
            self._spinner.set_visibility(False)
        self._said = ui.label(_ABOUT).classes("soft").props("role=status")
        self._shown = ui.html("", sanitize=False).style("width: 100%").props("data-testid=answer")
        self._save = save_buttons(self._shown, "answer")
        self._last: Callable[[], object] | None = None
        self._turn = 0
        """Grows with every scene that is asked about."""
        self.forget()
        ui.timer(_EVERY_S, self._repeat)

    def forget(self) -> None:
        """Take the answer away: another scene is looked at from now on."""
        self._turn += 1
        self._heat, self._last = None, None
        self._say(_ABOUT, "")

    def _say(self, said: str, shown: str) -> None:
        self._said.set_text(said)
        self._shown.set_content(shown)
        self._save.set_visibility(bool(shown))

    def heat(self, policy: str) -> np.ndarray | None:
        """Return how far the path moves where a patch of the overhead picture is covered (r, c) [m].

        None where nobody has asked that policy, or the picture of the scene shows more or less than the policy's.
        """
        return self._heat[1] if self._heat is not None and self._heat[0] == policy else None

    async def _repeat(self) -> None:
        if self._repeats.value and self._last is not None:
            await self._last()  # type: ignore[misc]

    async def _ask(self, question: Callable[[SharedPolicy, Hand, Snapshot], tuple[str, str]]) -> None:
        """Answer in a thread, and show it; one question at a time."""
        snapshot = self._snapshot()
        if self._is_asking or snapshot is None:
            return
        if snapshot.setup.policy == EXPERT or not snapshot.observation:
            self._said.set_text("The scripted expert reads the true positions and looks at nothing: choose a policy.")
            return
        if self._moment.value == "at the start":
            blocks = [replace(of, now=np.append(of.placed, of.now[2])) for of in snapshot.blocks]
            snapshot = replace(snapshot, observation=snapshot.first_observation, blocks=blocks)
        self._is_asking, turn = True, self._turn
        self._spinner.set_visibility(True)
        try:
            answer = await run.io_bound(self._answer, question, snapshot)
            said, shown = answer or ("the server stops", "")
        except ForeactError as error:
            said, shown = str(error), ""
        finally:
            self._is_asking = False
            self._spinner.set_visibility(False)
        if turn == self._turn:
            self._say(said, shown)

    def _answer(
        self, question: Callable[[SharedPolicy, Hand, Snapshot], tuple[str, str]], snapshot: Snapshot
    ) -> tuple[str, str]:
        # With the latent's mode: what its samples move would be taken for an answer.
        policy = self._shelf.open(snapshot.setup.policy)
        settings = executed(policy.executor_settings, snapshot.setup.mode)
        hand = Hand(policy.features, settings, arm_of_model(build_arm()))
        return question(policy, hand, snapshot)

    async def _ask_occlusion(self) -> None:
        self._last = self._ask_occlusion
        await self._ask(self._occlusion)

    async def _ask_clicks(self) -> None:
        self._last = self._ask_clicks
        self._heat = None
        await self._ask(_clicks)

    async def _ask_attention(self) -> None:
        self._last = self._ask_attention
        self._heat = None
        await self._ask(_attention)

    def _occlusion(self, policy: SharedPolicy, hand: Hand, snapshot: Snapshot) -> tuple[str, str]:
        if not policy.features.cameras:
            return "this policy looks through no camera", ""
        figures, said = [], []
        for camera in policy.features.cameras:
            moved = occlusion(policy, hand, snapshot.observation, camera.name)
            if moved is None:
                return _UNKNOWN, ""
            picture = snapshot.observation[image_key(camera.name)]
            if camera.name == "overhead" and picture.shape[0] == picture.shape[1]:  # like the one that it lies over
                self._heat = snapshot.setup.policy, moved
            figures.append(_figure(camera.name, picture, moved, tiles(moved, picture.shape[:2])))
            row, column = np.unravel_index(int(moved.argmax()), moved.shape)
            said.append(
                f"{camera.name}: covering the patch in row {row + 1}, column {column + 1} of {len(moved)} moves the "
                f"path most, by {1000 * moved.max():.1f} mm on average"
            )
        return (
            f"Where it looks, by covering patches. {'; '.join(said)}.",
            f'<div class="heats">{"".join(figures)}</div>',
        )


def _clicks(policy: SharedPolicy, hand: Hand, snapshot: Snapshot) -> tuple[str, str]:
    if not policy.features.environment_dim:
        return "this policy takes no coordinate, so no click moves it", ""
    of = click_map(policy, hand, snapshot.observation)
    if of is None:
        return _UNKNOWN, ""
    return _clicks_said(of, policy), click_arrows(of, snapshot)


def _clicks_said(of: ClickMap, policy: SharedPolicy) -> str:
    seconds = policy.executor_settings.chunk_size / policy.features.fps
    judged = "it goes where it is told" if of.follows > 0.6 else "it hardly listens" if of.follows < 0.2 else "in part"
    return (
        f"Each line leads from a click to where the arm would be {seconds:.1f} s later: the arm follows "
        f"{of.follows:.0%} of the click ({judged}), its ends lie {1000 * of.spread:.0f} mm from their middle."
    )


def _attention(policy: SharedPolicy, hand: Hand, snapshot: Snapshot) -> tuple[str, str]:
    seen = attention_seen(policy, snapshot.observation)
    figures = "".join(_figure(of.camera, of.picture, of.weights, of.cells) for of in seen.cameras)
    return (
        "What the decoder's last layer attends to. Attention is not use: go by the other two questions.",
        f'{_bars(seen)}<div class="heats">{figures}</div>',
    )


def _bars(seen: AttentionSeen) -> str:
    return "".join(
        f'<div class="bar"><span>{html.escape(name)}</span><div class="track"><div class="fill" '
        f'style="width:{100 * share:.1f}%"></div></div><span>{100 * share:.1f} %</span></div>'
        for name, share in seen.shares.items()
    )


def _figure(name: str, picture: np.ndarray, heat: np.ndarray, cells: Cells) -> str:
    """Return a picture with its heat, and the figures in words."""
    file = base64.b64encode(jpeg(picture)).decode()
    height, width = picture.shape[:2]
    caption = html.escape(name)
    return (
        f'<figure class="heat-figure"><div class="frame"><img alt="{caption}" src="data:image/jpeg;base64,{file}">'
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">'
        f"{heat_cells(heat, cells)}</svg></div><figcaption>{caption}, as the policy gets it</figcaption>"
        "</figure>"
    )
