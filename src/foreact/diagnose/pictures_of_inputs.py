"""Pictures of the answers about the inputs: coordinate, pictures, state, attention, gradients at the inputs."""

from __future__ import annotations

from math import dist
from typing import Any

from foreact.diagnose.drawing import NO, OTHERS, PALE, PLAIN, YES, Drawing, ink, paper, tall
from foreact.diagnose.gradient import COORDINATES


def _told(figure: Any, evidence: Any) -> None:
    pairs = evidence["told_and_demonstrated_along_the_main_direction"]
    axes, _ = _pairs(figure, evidence, pairs, "as the coordinate says", "what the coordinate tells", "demonstrated")
    axes.legend(frameon=False)


def _pairs(figure: Any, evidence: Any, pairs: Any, equal: str, x: str, y: str) -> tuple[Any, list[float]]:
    """Pairs as points, with the line on which both are equal; returns the axes and that line's ends."""
    in_cm = evidence["unit"] == "m of the hand"
    scaled = [[(100 if in_cm else 1) * value for value in pair] for pair in pairs]
    axes = figure.subplots()
    ends = [min(x for x, _ in scaled), max(x for x, _ in scaled)]
    axes.plot(ends, ends, color=YES, linewidth=0.8, label=equal)
    axes.plot(*zip(*scaled, strict=True), ".", color=PLAIN)
    unit = "cm of the hand" if in_cm else "normalised actions"
    axes.set_xlabel(f"{x} [{unit}]")
    axes.set_ylabel(f"{y} [{unit}]")
    axes.grid(alpha=0.25)
    return axes, ends


def _swap(figure: Any, evidence: Any) -> None:
    in_space = "end_point_after_m" in evidence
    figure.set_size_inches(6, 7.4 if in_space else 3.8)
    axes = figure.subplots(1 + in_space, 1, squeeze=False)[:, 0]
    ways = evidence["share_of_the_way"]
    shown = [min(max(way, -0.5), 1.5) for way in ways]
    axes[0].hist([way for way in shown if way > 0.5], bins=20, range=(-0.5, 1.5), color=YES, label="obeyed")
    axes[0].hist([way for way in shown if way <= 0.5], bins=20, range=(-0.5, 1.5), color=NO, label="not obeyed")
    axes[0].axvline(0.5, color=ink(), linewidth=0.8, linestyle=":")
    axes[0].set_xlabel("way moved towards the named place\n(0 = ignored, 1 = as demonstrations do)")
    axes[0].set_xticks([-0.5, 0, 0.5, 1, 1.5])
    axes[0].set_ylabel("trials")
    axes[0].legend(frameon=False)
    if in_space:
        _map(axes[1], evidence)


def _map(axes: Any, evidence: Any) -> None:
    """Seen from above: from where the chunk ends under its own cue to where it ends under the other."""

    def place(point: Any) -> tuple[float, float]:
        return -100 * point[1], 100 * point[0]

    keys = ("end_point_before_m", "end_point_after_m", "own_cue_m", "named_cue_m")
    for before, after, own, named in zip(*(evidence[key] for key in keys), strict=True):
        colour = YES if dist(after, named) < dist(after, own) else NO
        (x0, y0), (x1, y1) = place(before), place(after)
        axes.plot([x0, x1], [y0, y1], color=colour, linewidth=0.8, alpha=0.7)
        axes.plot(x1, y1, ".", color=colour, markersize=5)
    all_named = [place(point) for point in evidence["named_cue_m"]]
    axes.plot(
        *zip(*all_named, strict=True), "+", color=ink(), markersize=6, label="place named (green: nearer than the own)"
    )
    axes.set_xlabel("to the right of the base [cm]")
    axes.set_ylabel("in front of the base [cm]")
    axes.set_aspect("equal")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _collapse(figure: Any, evidence: Any) -> None:
    pairs = evidence["demonstrated_and_predicted_along_the_main_direction"]
    words = ("index 0: as the demonstrations", "demonstrated, from the mean chunk", "predicted")
    axes, ends = _pairs(figure, evidence, pairs, *words)
    axes.plot(ends, [0, 0], color=NO, linewidth=0.8, label="index 1: one trajectory for all")
    axes.legend(frameon=False)


def _sensitivity(figure: Any, evidence: Any) -> None:
    at = evidence["by_share_of_the_episode"]
    knows_hand = at[0]["hand_cm_per_cm"] is not None
    names = list(at[0]["actions_per_cm"])
    taller = tall(len(names))
    figure.set_size_inches(6, 3.4 + 3.4 * taller)
    left, right = figure.subplots(2, 1, height_ratios=(1, taller))
    key = "hand_cm_per_cm" if knows_hand else "normalised_chunk_per_cm"
    left.plot([100 * of["share"] for of in at], [of[key] for of in at], "o-", color=PLAIN)
    left.set_ylim(bottom=0)
    left.set_xlabel("way through the episode [%]")
    left.set_ylabel("hand [cm per cm]" if knows_hand else "normalised actions per cm")
    left.grid(alpha=0.25)
    right.barh(names, [at[0]["actions_per_cm"][name] for name in names], color=PLAIN)
    right.invert_yaxis()
    right.set_xlabel(f"at the start, actions per cm ({evidence['actions_are']})")


def _inputs(figure: Any, evidence: Any) -> None:
    names = list(evidence["changes"])
    figure.set_size_inches(6, 1.4 + 0.34 * len(names))
    axes = figure.subplots()
    values = [evidence["changes"][name] for name in names]
    axes.barh(names, values, color=[PALE if name.endswith("blanked") else PLAIN for name in names])
    axes.tick_params(axis="y", labelsize=10)
    axes.invert_yaxis()
    axes.axvline(1, color=ink(), linewidth=0.8, linestyle=":")
    axes.set_xlabel("change of the chunk\n(1 = as much as the exchanged demonstrations differ)", fontsize=11)


def _attention(figure: Any, evidence: Any) -> None:
    axes = figure.subplots()
    layers = evidence["share_by_layer"]
    total = sum(evidence["tokens"].values())
    columns = {"even": {name: n / total for name, n in evidence["tokens"].items()}, **layers}
    bottom = [0.0] * len(columns)
    for i, name in enumerate(evidence["tokens"]):
        heights = [100 * share[name] for share in columns.values()]
        colour = NO if name == "coordinate" else OTHERS[i % len(OTHERS)]
        axes.bar(list(columns), heights, bottom=bottom, label=name, color=colour, edgecolor=paper(), linewidth=0.5)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.tick_params(axis="x", labelrotation=30)
    axes.set_ylabel("attention [%]")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=11)


def _gradient(figure: Any, evidence: Any) -> None:
    axes = figure.subplots()
    for i, (name, of) in enumerate(evidence.items()):
        colour = NO if name == COORDINATES else OTHERS[i % len(OTHERS)]
        axes.plot(of["step"], [100 * value for value in of["share"]], label=name, color=colour)
    axes.set_xlabel("training step")
    axes.set_ylabel("share of the inputs' gradient [%]")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


DRAWINGS: dict[str, Drawing] = {
    "coordinate": _told,
    "swap": _swap,
    "collapse": _collapse,
    "sensitivity": _sensitivity,
    "inputs": _inputs,
    "attention": _attention,
    "gradient": _gradient,
}
