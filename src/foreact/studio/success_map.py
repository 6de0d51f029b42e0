"""Where in the workspace a policy succeeds, as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib

from foreact.sim.evaluation import CONFUSIONS, Evaluation

COLOURS = {"success": "#2a9d4a", "wrong block": "#c0392b", "other failure": "#e0a030"}


def draw_success_map(evaluation: Evaluation, path: Path) -> None:
    """Write a PNG: each episode's target position, seen from above, coloured by how the episode ended.

    Args:
        evaluation: The episodes.
        path: The PNG file.
    """
    matplotlib.use("agg")
    from matplotlib import pyplot

    groups: dict[str, list[tuple[float, float]]] = {name: [] for name in COLOURS}
    for episode in evaluation.episodes:
        wrong = "wrong block" if episode.outcome in CONFUSIONS else "other failure"
        groups["success" if episode.success else wrong].append(episode.target)
    figure, axes = pyplot.subplots(figsize=(6, 4.2), layout="constrained")
    for name, points in groups.items():
        label = f"{name} ({len(points)})"
        axes.scatter([-y * 100 for _, y in points], [x * 100 for x, _ in points], c=COLOURS[name], label=label, s=36)
    axes.set_xlabel("to the right of the base [cm]")
    axes.set_ylabel("in front of the base [cm]")
    axes.set_title(f"{evaluation.name}: {evaluation.rate_text()}")
    axes.set_aspect("equal")
    axes.grid(alpha=0.25)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3, frameon=False)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)
