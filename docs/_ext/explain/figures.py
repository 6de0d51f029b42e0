"""The deep dive's pictures, drawn from running code when the site is built: `:::{made} token_sequence`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
import numpy as np
from docutils import nodes
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from explain.drawing import BLUE, GREEN, GREY, INK, ORANGE, new_figure, svg_of
from explain.passes import PRESETS, Pass, record_pass
from explain.results import Cell, cells
from explain.two_ways import CHUNK, KL_WEIGHTS, chunks, demonstrations, trained
from foreact_runtime.executor import ChunkQueue, TemporalEnsemble

_log = logging.getLogger(__name__)
matplotlib.use("Agg")


def kinds_of_tokens(of: Pass) -> dict[str, int]:
    """Return how many of the encoder's tokens are of each kind, in their order."""
    cells = {f"camera {i + 1}": int(shape[0]) for i, shape in enumerate(_grids(of))}
    kinds = {"latent": 1, "state": int(of.features.state_dim > 0), "coordinates": int(of.features.environment_dim > 0)}
    return {name: n for name, n in {**kinds, **cells}.items() if n}


def _grids(of: Pass) -> list[tuple[int, ...]]:
    (call,) = of.recording.calls["foreact.model.act", "ACT.__init__"]
    return [shape for name, shape in call.shapes.items() if name.startswith("grids[")]


def token_sequence() -> Figure:
    """The encoder's sequence of both presets, and how much of the first gradient arrives at each kind of token."""
    figure, axes = new_figure(2, len(PRESETS), height=4.2, gridspec_kw={"height_ratios": [1, 3]})
    for column, name in enumerate(PRESETS):
        of = record_pass(name)
        kinds = kinds_of_tokens(of)
        assert sum(kinds.values()) == len(of.token_gradients)
        strip, bars = axes[0, column], axes[1, column]
        start, labels, shares, numbers = 0, [], [], []
        squares = of.token_gradients**2
        for number, (kind, n) in enumerate(kinds.items()):
            colour = _colour_of(kind)
            strip.barh([0], [n], left=[start], color=colour, height=0.8, alpha=1 if number % 2 else 0.75)
            labels.append(kind)
            numbers.append(100 * n / len(squares))
            shares.append(100 * float(squares[start : start + n].sum() / squares.sum()))
            start += n
        strip.set_title(f"{name}: {start} tokens", fontsize=10, color=INK)
        strip.set_yticks([])
        strip.set_xlim(0, start)
        _pairs(bars, labels, numbers, shares, "share of the tokens", "share of the gradient of L1 that arrives there")
        bars.set_xlabel("%")
    _legend(figure, axes[1, 0])
    return figure


def gradient_flow() -> Figure:
    """The gradients of L1 and of the weighted KL term at each part of the network, before the first step."""
    figure, axes = new_figure(1, len(PRESETS), height=3.9, sharex=True)
    for axis, name in zip(axes[0], PRESETS, strict=True):
        of = record_pass(name)
        boxes = list(of.l1_gradients)[::-1]
        for place in range(len(boxes)):
            axis.axhline(place, color=GREY, linewidth=0.4, alpha=0.5)
        for norms, colour, label in ((of.l1_gradients, BLUE, "of L1"), (of.kl_gradients, ORANGE, "of kl_weight KL")):
            reached = [(norms[box], place) for place, box in enumerate(boxes) if norms[box] > 0]
            axis.scatter(*zip(*reached, strict=True), color=colour, s=28, label=label, zorder=3)
        axis.set_yticks(range(len(boxes)), boxes, fontsize=8)
        axis.set_xscale("log")
        axis.set_title(name, fontsize=10, color=INK)
        axis.set_xlabel("norm of the gradient")
    _legend(figure, axes[0, 0])
    return figure


def latent() -> Figure:
    """Chunks from the same place with z = 0 and with samples of the prior, for two weights of the KL term."""
    figure, axes = new_figure(1, len(KL_WEIGHTS), height=3.6, sharex=True, sharey=True)
    z = np.random.default_rng(0).normal(size=(40, 2))
    start = np.zeros(2)
    for axis, weight in zip(axes[0], KL_WEIGHTS, strict=True):
        learned = trained(weight)
        source = demonstrations()
        for index in source.episode_indices[:30]:
            axis.plot(*source.episode(index).action[:CHUNK].T, color=GREY, linewidth=0.6, alpha=0.35)
        for i, way in enumerate(chunks(learned.policy, start, z)):
            axis.plot(*way.T, color=BLUE, linewidth=0.9, alpha=0.6, label="z from the prior" if i == 0 else None)
        axis.plot(*chunks(learned.policy, start, np.zeros((1, 2)))[0].T, color=ORANGE, linewidth=2.2, label="z = 0")
        axis.plot([], [], color=GREY, label="demonstrations")
        axis.set_title(f"kl_weight {weight:g}: KL {abs(learned.kl):.2f}", fontsize=10, color=INK)
        axis.set_xlabel("x")
    axes[0, 0].set_ylabel("y")
    _legend(figure, axes[0, 0])
    return figure


def weights_of(coeff: float, size: int) -> list[float]:
    """Return the weight of each of `size` predictions for one tick, oldest first, read off the executor."""
    weights = []
    for which in range(size):
        executor = TemporalEnsemble(size, coeff)
        for i in range(size):
            executor.add(np.full((size, 1), float(i == which)))
            action = executor.next_action()
        weights.append(float(action[0]))
    return weights


def ensemble_weights() -> Figure:
    """How much each prediction for a tick counts: given 1 for one of them and 0 for the others."""
    figure, axes = new_figure(1, 1, height=2.8)
    axis, size = axes[0, 0], 20
    for coeff, colour in ((0.01, BLUE), (0.1, ORANGE), (-0.1, GREEN)):
        axis.plot(range(size), weights_of(coeff, size), marker="o", markersize=3, color=colour, label=f"m = {coeff:g}")
    axis.set_xticks(range(0, size, 4))
    axis.set_xlabel("prediction, 0 the oldest")
    axis.set_ylabel("weight")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8, labelcolor=INK, framealpha=0)
    return figure


def overlapping_chunks() -> Figure:
    """Every fifth chunk of an episode, and what queue and ensemble make of all of them."""
    figure, axes = new_figure(1, 1, height=3.2)
    axis = axes[0, 0]
    policy, ticks = trained(KL_WEIGHTS[0]).policy, 28
    noise = np.random.default_rng(1)
    queue, ensemble = ChunkQueue(CHUNK // 2), TemporalEnsemble(CHUNK, 0.01)
    state, sent, queued = np.zeros(2), [], []
    for tick in range(ticks):
        (chunk,) = chunks(policy, state + noise.normal(0, 0.02, 2), np.zeros((1, 2)))
        if tick % 5 == 0:
            axis.plot(tick + np.arange(CHUNK), chunk[:, 1], color=GREY, linewidth=0.9, alpha=0.8)
            axis.plot([tick], chunk[:1, 1], marker="o", markersize=3, color=GREY)
        if queue.needs_chunk:
            queue.add(chunk)
        ensemble.add(chunk)
        queued.append(float(queue.next_action()[1]))
        state = ensemble.next_action().astype(float)
        sent.append(float(state[1]))
    axis.plot([], [], color=GREY, label="chunks")
    axis.plot(queued, color=BLUE, linewidth=1.6, drawstyle="steps-mid", label=f"queue, {CHUNK // 2} steps")
    axis.plot(sent, color=ORANGE, linewidth=2.2, label="ensemble, m = 0.01")
    axis.set_xlim(0, ticks + 4)
    axis.set_xlabel("tick")
    axis.set_ylabel("y")
    axis.legend(fontsize=8, labelcolor=INK, framealpha=0)
    return figure


def closing_errors() -> Figure:
    """How far from the told block the jaws close, of the study's policies at L1, one dot an episode."""
    shown = cells()
    figure, axes = new_figure(1, 1, height=0.55 * len(shown) + 0.9)
    axis = axes[0, 0]
    jitter = np.random.default_rng(0)
    for row, cell in enumerate(shown):
        height = len(shown) - 1 - row + jitter.uniform(-0.28, 0.28, len(cell.errors))
        axis.scatter(
            np.maximum(cell.errors, 0.3), height, s=4, color=_of(cell), alpha=0.55, linewidths=0, rasterized=True
        )
        axis.plot([cell.median] * 2, [len(shown) - 1.42 - row, len(shown) - 0.58 - row], color=INK, linewidth=1.6)
    axis.set_yticks(range(len(shown)), [f"{cell.label}\n{cell.successes}/{cell.episodes}" for cell in reversed(shown)])
    axis.tick_params(axis="y", labelsize=8)
    axis.set_xscale("log")
    axis.set_xlim(0.3, 300)
    axis.set_xticks([1, 10, 100], ["1", "10", "100"])
    axis.axvline(12, color=GREEN, linewidth=1, linestyle="--")
    axis.set_xlabel("distance of the first closing from the told block [mm]; the jaws forgive 12 (dashed)")
    return figure


def _of(cell: Cell) -> str:
    return BLUE if cell.is_cured else ORANGE


def _colour_of(kind: str) -> str:
    return {"latent": GREEN, "state": ORANGE, "coordinates": "#d6336c"}.get(kind, BLUE)


def _pairs(axis: Axes, labels: list[str], first: list[float], second: list[float], one: str, two: str) -> None:
    """Two bars a label, numbers beside them, the first label on top."""
    places = np.arange(len(labels))[::-1]
    for values, offset, colour, name in ((first, 0.19, GREY, one), (second, -0.19, BLUE, two)):
        axis.barh(places + offset, values, height=0.36, color=colour, label=name)
        for place, value in zip(places, values, strict=True):
            axis.text(value + 0.8, place + offset, f"{value:.2g}" if value < 10 else f"{value:.0f}",
                      va="center", fontsize=7, color=INK)  # fmt: skip
    axis.set_yticks(places, labels, fontsize=8)
    axis.set_xlim(0, max(first + second) * 1.16)


def _legend(figure: Figure, axis: Axes) -> None:
    """One legend below all axes."""
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, labelcolor=INK,
                  framealpha=0)  # fmt: skip


FIGURES: Mapping[str, Callable[[], Figure]] = {
    of.__name__: of
    for of in (token_sequence, gradient_flow, latent, ensemble_weights, overlapping_chunks, closing_errors)
}
MOST_BYTES = 200_000


class MadeDirective(SphinxDirective):
    """A figure of this file; its content is the caption."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Draw it into the page."""
        name = self.arguments[0]
        caption = " ".join(self.content)
        svg = svg_of(FIGURES[name](), name, title=FIGURES[name].__doc__ or name)
        if len(svg) > MOST_BYTES:
            _log.warning("figure '%s' has %d bytes", name, len(svg), location=self.get_location(), type="explain")
        figure = nodes.figure(classes=["made"], ids=[nodes.make_id(f"figure-{name}")])
        said, messages = self.parse_inline(caption)
        figure += [nodes.raw("", f'<div class="made-svg">{svg}</div>', format="html"), nodes.caption("", "", *said)]
        return [figure, *messages]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("made", MadeDirective)
    return {"version": "1", "parallel_read_safe": False}
