"""Pictures of the answers about normalisation, pictures, latent, training and overfitting."""

from __future__ import annotations

from typing import Any

from foreact.diagnose.drawing import AMBER, NO, PALE, PLAIN, YES, Drawing, ink
from foreact.diagnose.normalisation import FAR


def _pictures(figure: Any, evidence: Any) -> None:
    errors, intervals = evidence["error_as_share_of_that"], evidence["interval_of_the_share"]
    names = sorted(errors, key=errors.__getitem__)[:12]
    figure.set_size_inches(6, 1.4 + 0.36 * len(names))
    axes = figure.subplots()
    for row, name in enumerate(names):
        low, high = intervals[name]
        colour = NO if high < 1 else PLAIN
        axes.plot([low, high], [row, row], color=colour, linewidth=2)
        axes.plot(errors[name], row, "o", color=colour)
    axes.axvline(1, color=ink(), linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(names)), names, fontsize=9.5)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("error, as a share of that as they are", fontsize=11)


def _normalisation(figure: Any, evidence: Any) -> None:
    rows = evidence["table"]
    colours = evidence["colours"]
    n = len(rows) + 3 * len(colours)
    figure.set_size_inches(6, 1.4 + 0.24 * n)
    axes = figure.subplots()
    labels: list[str] = []
    for row in rows:
        _bar(axes, len(labels), row["mean"], row["sd"], is_bad=row["fits"] == "no")
        labels.append(f"{row['vector']} {row['dimension']}")
    for of in colours:
        for channel, mean, std in zip(("red", "green", "blue"), of["mean"], of["std"], strict=True):
            _bar(axes, len(labels), mean, std, is_bad=bool(of["wrong"]))
            labels.append(f"{of['camera']} {channel}")
    axes.axvspan(-1, 1, color=YES, alpha=0.12, linewidth=0)
    axes.axvline(0, color=ink(), linewidth=0.6)
    axes.set_yticks(range(n), labels, fontsize=8.5)
    axes.invert_yaxis()
    if any(abs(row["mean"]) + row["sd"] > FAR for row in rows) or any(of["wrong"] for of in colours):
        axes.set_xscale("symlog", linthresh=FAR)
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("once normalised: mean and 1 sd to either side", fontsize=11)


def _bar(axes: Any, row: int, mean: float, std: float, *, is_bad: bool) -> None:
    colour = NO if is_bad else PLAIN
    axes.plot([mean - std, mean + std], [row, row], color=colour, linewidth=2)
    axes.plot(mean, row, "o", color=colour, markersize=4)


def _latent(figure: Any, evidence: Any) -> None:
    kl = evidence["kl_by_dimension_nats"]
    figure.set_size_inches(6, 5.6 if kl else 2.8)
    panels = figure.subplots(2, 1) if kl else [figure.subplots()]
    bars = {
        "error, z = 0": (evidence["error_z_zero"], PLAIN),
        "error, posterior's z": (evidence["error_z_posterior"], PLAIN),
        "change by posterior's z": (evidence["change_rms_by_posterior"], AMBER),
        "spread over prior": (evidence["prior_spread_rms"], AMBER),
        "spread of demonstrations": (evidence["demonstrated_spread_rms"], PALE),
    }
    known = {name: of for name, of in bars.items() if of[0] is not None}
    panels[0].barh(list(known), [of[0] for of in known.values()], color=[of[1] for of in known.values()])
    panels[0].invert_yaxis()
    panels[0].set_xlabel("normalised actions", fontsize=11)
    if kl:
        panels[1].bar(range(len(kl)), sorted(kl, reverse=True), color=PLAIN)
        panels[1].set_xlabel("dimensions of the latent, most used first", fontsize=11)
        panels[1].set_ylabel("KL [nats]")


def _training(figure: Any, evidence: Any) -> None:
    norms = [(step, of) for step, of in zip(evidence["step"], evidence["gradient_norm"], strict=True) if of is not None]
    figure.set_size_inches(6, 5.6 if norms else 3.4)
    panels = figure.subplots(2, 1, sharex=True) if norms else [figure.subplots()]
    panels[0].plot(evidence["step"], evidence["l1"], color=PALE, linewidth=1)
    panels[0].plot(evidence["step"], evidence["l1_smooth"], color=PLAIN, label="L1 (posterior's z)")
    panels[0].axhline(
        evidence["l1_of_one_chunk_for_all"], color=NO, linewidth=1, linestyle=":", label="one chunk for all"
    )
    _logarithmic(panels[0])
    panels[0].legend(frameon=False, fontsize=10)
    if norms:
        panels[1].plot(*zip(*norms, strict=True), color=PLAIN)
        _logarithmic(panels[1])
        panels[1].set_ylabel("gradient norm")
        if evidence["gradient_clip"]:
            panels[1].axhline(evidence["gradient_clip"], color=AMBER, linewidth=1, label="clipped to")
            panels[1].legend(frameon=False, fontsize=10)
    panels[-1].set_xlabel("training step")
    for axes in panels:
        axes.grid(alpha=0.25)


def _overfitting(figure: Any, evidence: Any) -> None:
    of_episodes = "error_by_training_episode" in evidence
    logged = {name: evidence[f"logged_{name}"] for name in _COLOURS if f"logged_{name}" in evidence}
    figure.set_size_inches(6, 2.6 * of_episodes + 3.2 * bool(logged))
    panels = list(figure.subplots(of_episodes + bool(logged), 1, squeeze=False)[:, 0])
    if of_episodes:
        axes = panels.pop(0)
        kinds = {
            "training": (evidence["error_by_training_episode"], PLAIN),
            "held out": (evidence["error_by_held_out_episode"], AMBER),
        }
        for row, (values, colour) in enumerate(kinds.values()):
            axes.plot(values, [row] * len(values), ".", color=colour, alpha=0.6)
            axes.plot(sum(values) / len(values), row, "|", color=colour, markersize=34, markeredgewidth=2.5)
        axes.set_yticks(range(2), list(kinds))
        axes.set_ylim(-0.6, 1.6)
        axes.set_xlim(left=0)
        axes.set_xlabel("error of an episode, z = 0", fontsize=11)
    if logged:
        axes = panels.pop(0)
        for name, pairs in logged.items():
            axes.plot(*zip(*pairs, strict=True), "o-" if len(pairs) < 30 else "-", color=_COLOURS[name], label=name)
        _logarithmic(axes)
        axes.set_xlabel("training step")
        axes.set_ylabel("L1")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=10)


def _logarithmic(axes: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


_COLOURS = {"train/l1": PALE, "val/l1": AMBER, "val/l1_posterior": PLAIN}

DRAWINGS: dict[str, Drawing] = {
    "pictures": _pictures,
    "normalisation": _normalisation,
    "latent": _latent,
    "training": _training,
    "overfitting": _overfitting,
}
