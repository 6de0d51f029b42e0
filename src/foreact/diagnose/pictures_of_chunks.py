"""Pictures of the answers about what comes out: open-loop error, shift, gripper, smoothness, agreement, ranges."""

from __future__ import annotations

from typing import Any

import numpy as np

from foreact.diagnose.drawing import AMBER, NO, OTHERS, PALE, PLAIN, YES, Drawing, ink, tall
from foreact.diagnose.open_loop import HOLD, MEAN, NEAREST, PHASE, REPEAT

_SHORT = {HOLD: "hold still", REPEAT: "repeat last", MEAN: "mean chunk", PHASE: "its part's mean", NEAREST: "nearest"}
_COLOURS = dict(zip(_SHORT, (PALE, OTHERS[7], AMBER, OTHERS[3], YES), strict=True))


def _open_loop(figure: Any, evidence: Any) -> None:
    rows = evidence["by_joint_and_step_in_standard_deviations"]
    taller = tall(len(rows))
    figure.set_size_inches(6, 5.3 + 3.1 * taller)
    heat, by_step, by_phase = figure.subplots(3, 1, height_ratios=(1.2 * taller, 1, 1))
    values = np.array([[np.nan if value is None else value for value in row] for row in rows.values()], float)
    extent = (0.5, values.shape[1] + 0.5, len(rows), 0)
    image = heat.imshow(values, aspect="auto", cmap="cividis", vmin=0, extent=extent)
    heat.set_yticks(np.arange(len(rows)) + 0.5, [_shortened(name) for name in rows])
    heat.set_xlabel("step in the chunk")
    figure.colorbar(image, ax=heat, label="error [std]")
    _against_baselines(by_step, evidence, "by_step", np.arange(1, values.shape[1] + 1), "step in the chunk")
    n = len(evidence["by_phase"])
    _against_baselines(by_phase, evidence, "by_phase", 100 * (np.arange(n) + 0.5) / n, "way through the episode [%]")
    handles, labels = by_step.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=11)


def _against_baselines(axes: Any, evidence: Any, of: str, x: np.ndarray, label: str) -> None:
    for name, values in evidence[f"baselines_{of}"].items():
        axes.plot(x, _numbers(values), color=_COLOURS[name], linewidth=1.2, label=_SHORT[name])
    axes.plot(x, _numbers(evidence[of]), color=PLAIN, linewidth=2.5, label="policy")
    axes.set_xlabel(label)
    axes.set_ylabel("error [std]")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)


def _shift(figure: Any, evidence: Any) -> None:
    if "lag_frames" not in evidence:
        return
    axes = figure.subplots()
    lags = evidence["lag_frames"]
    halves = evidence["first_and_second_half_of_the_chunk_by_lag"]
    for half, name, colour in zip(halves, ("first half of the chunk", "second half"), (PLAIN, AMBER), strict=True):
        axes.plot(lags, half, "o-", color=colour, label=name)
    axes.axvline(0, color=ink(), linewidth=0.8, linestyle=":")
    if evidence["shifted_by_frames"]:
        axes.axvline(evidence["shifted_by_frames"], color=NO, linewidth=2, alpha=0.6)
    axes.set_xlabel("demonstrated so many frames later")
    axes.set_ylabel("distance from the\nprediction [std]")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)


def _gripper_timing(figure: Any, evidence: Any) -> None:
    figure.set_size_inches(6, 6)
    when, example = figure.subplots(2, 1)
    of = {kind: evidence[kind]["offsets_s"] for kind in ("closing", "opening")}
    widest = max((abs(value) for values in of.values() for value in values), default=0.0)
    widest = max(widest, 2 / evidence["fps_hz"])
    when.hist(list(of.values()), bins=21, range=(-widest, widest), color=[PLAIN, AMBER], label=list(of))
    when.axvline(0, color=ink(), linewidth=0.8, linestyle=":")
    when.set_xlabel("after the demonstrator [s]")
    when.set_ylabel("switches")
    when.legend(frameon=False)
    shown = evidence["example"]
    t = np.arange(len(shown["demonstrated"])) / evidence["fps_hz"]
    example.plot(t, shown["demonstrated"], color=PALE, linewidth=3, label="demonstrated")
    example.plot(t, shown["executed"], color=PLAIN, linewidth=1.5, label="executed")
    example.set_xlabel("longest episode [s]")
    example.set_ylabel(_shortened(evidence["grippers"][0]))
    example.grid(alpha=0.25)
    example.legend(frameon=False)


def _smoothness(figure: Any, evidence: Any) -> None:
    by_joint = evidence["by_joint"]
    taller = tall(len(by_joint))
    figure.set_size_inches(6, 3 + 3 * taller)
    bars, example = figure.subplots(2, 1, height_ratios=(taller, 1))
    places = range(len(by_joint))
    bars.barh(places, list(by_joint.values()), color=PLAIN)  # by number: shortened names may be alike
    bars.set_yticks(places, [_shortened(name) for name in by_joint])
    bars.invert_yaxis()
    bars.axvline(1, color=ink(), linewidth=0.8, linestyle=":")
    bars.set_xlabel("jerk (1 = the demonstrations')")
    shown = evidence["example"]
    seams = shown["ticks_where_chunks_meet"]
    example.plot(shown["demonstrated"], color=PALE, linewidth=3, label="demonstrated")
    example.plot(shown["executed"], color=PLAIN, linewidth=1.5, label="executed")
    if len(seams) < 0.7 * len(shown["executed"]):
        example.plot(seams, [shown["executed"][tick] for tick in seams], ".", color=NO, label="chunks meet")
    example.set_xlabel("tick")
    example.set_ylabel(_shortened(shown["joint"]))
    example.grid(alpha=0.25)
    example.legend(frameon=False, fontsize=11)


def _agreement(figure: Any, evidence: Any) -> None:
    axes = figure.subplots()
    values = evidence["disagreement_in_standard_deviations_by_ticks_ahead"]
    axes.plot(range(len(values)), values, "o-", color=PLAIN, label="two chunks, same tick")
    motion = evidence["motion_in_between_in_standard_deviations"]
    axes.axhline(motion, color=ink(), linewidth=0.8, linestyle=":", label="motion between them")
    axes.set_xlabel("ticks after the later observation")
    axes.set_ylabel("difference [std]")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)


def _out_of_range(figure: Any, evidence: Any) -> None:
    rows = evidence["by_dimension"][:14]
    if not rows:
        return
    axes = figure.subplots()
    for place, of in enumerate(rows):
        (low, high), (seen_low, seen_high) = of["training_range"], of["seen"]
        width = max(high - low, 1e-9)
        colour = NO if of["share_outside"] > 0.02 else PLAIN
        ends = [min(max((value - low) / width, -1), 2) for value in (seen_low, seen_high)]
        axes.barh(place, 1, color=PALE, alpha=0.5, height=0.7)
        axes.plot(ends, [place, place], color=colour, linewidth=3, solid_capstyle="butt")
        if of["share_outside"]:
            axes.text(2.05, place, f"{100 * of['share_outside']:.1f} %", color=colour, va="center", fontsize=11)
    axes.set_yticks(range(len(rows)), [_shortened(of["name"]) for of in rows])
    axes.set_xlim(-1.05, 2.4)
    axes.set_xticks([0, 1], ["lowest", "highest"])
    axes.invert_yaxis()
    axes.set_xlabel("seen here (line) in the training range (band)")


def _shortened(name: str) -> str:
    """A joint's name without what all of them have."""
    name = name.removesuffix(".pos")
    return name if len(name) <= 16 else f"{name[:7]}…{name[-8:]}"  # the end tells joints of one arm apart


def _numbers(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)


DRAWINGS: dict[str, Drawing] = {
    "open_loop": _open_loop,
    "shift": _shift,
    "gripper_timing": _gripper_timing,
    "smoothness": _smoothness,
    "agreement": _agreement,
    "out_of_range": _out_of_range,
}
