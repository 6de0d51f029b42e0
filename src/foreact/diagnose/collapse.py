"""Collapse index: do the predicted chunks vary with the coordinate as the demonstrations do, or are they one?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreact.diagnose.finding import Finding, Severity
from foreact.diagnose.probe import Probe
from foreact.diagnose.response import ENOUGH, LEAST_EXPLAINED

COLLAPSED, NARROW = 0.75, 0.4
"""Index from which the policy counts as collapsed, and from which as pulled to the mean."""


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """What was measured at the first frames, where little but the coordinate says where to go."""

    index: float
    """0 = as varied as the data, 1 = one trajectory for all; more than 1 where they vary against the data."""
    spread: float
    """Root mean square distance of the predicted chunks from their mean, a normalised action."""
    demonstrated_spread: float
    """The same of the demonstrations."""
    explained: float
    """Share of the demonstrations' variance that the coordinate explains."""
    episodes: int


def collapse_index(cue: np.ndarray, demonstrated: np.ndarray, predicted: np.ndarray) -> Collapse | None:
    """Return 1 - <p, f> / <f, f>: the share of the demonstrations' variation that the predictions lack.

    f is the part of the demonstrations' deviation from their mean chunk that the coordinate explains (least squares,
    linear), p the predictions' deviation from theirs. Predictions equal to the demonstrations give exactly 0, since
    the residual of a least-squares fit is orthogonal to it; one chunk for all gives exactly 1; variation that has
    nothing to do with the coordinate, such as the arm's starting pose, counts for nothing.

    Args:
        cue: Coordinates (N, 2).
        demonstrated: Chunks (N, T, A), normalised, over steps that none of them pads.
        predicted: Chunks (N, T, A) for the same observations.

    Returns:
        None where there are too few episodes, or they hardly depend on the coordinate.
    """
    n = len(cue)
    if n < ENOUGH:
        return None
    demonstrations = (demonstrated - demonstrated.mean(axis=0)).reshape(n, -1)
    predictions = (predicted - predicted.mean(axis=0)).reshape(n, -1)
    centred = cue - cue.mean(axis=0)
    slope, *_ = np.linalg.lstsq(centred, demonstrations, rcond=1e-3)
    fitted = centred @ slope
    total, of_cue = (demonstrations**2).sum(), (fitted**2).sum()
    if total == 0 or of_cue / total < LEAST_EXPLAINED:
        return None
    return Collapse(
        index=float(1 - (predictions * fitted).sum() / of_cue),
        spread=float(np.sqrt((predictions**2).mean())),
        demonstrated_spread=float(np.sqrt((demonstrations**2).mean())),
        explained=float(of_cue / total),
        episodes=n,
    )


def collapse(probe: Probe) -> Collapse | None:
    """Measure a probe's episodes at their first frames."""
    first = probe.samples(0.0)
    n_steps = max(1, int((~probe.is_pad(first).any(axis=0)).sum()))
    demonstrated, predicted = probe.demonstrated(first).action, probe.predict(first).action
    return collapse_index(probe.cues(first), demonstrated[:, :n_steps], predicted[:, :n_steps])


def judge_collapse(measured: Collapse, remedy: str) -> Finding:
    """Put a collapse index into words."""
    severity: Severity = "fine"
    words = "as varied as the demonstrations"
    if measured.index >= COLLAPSED:
        severity, words = "fault", "nearly one trajectory for all coordinates"
    elif measured.index >= NARROW:
        severity, words = "warning", "pulled to the mean trajectory"
    return Finding(
        question="collapse",
        title="Is it one trajectory for all coordinates?",
        verdict=f"collapse index {measured.index:.2f}: {words} (0 = as varied as the data, 1 = one trajectory for all)",
        severity=severity,
        remedy="" if severity == "fine" else remedy,
        evidence={
            "index": measured.index,
            "predicted_spread": measured.spread,
            "demonstrated_spread": measured.demonstrated_spread,
            "demonstrated_variance_explained_by_coordinate": measured.explained,
            "episodes": measured.episodes,
        },
    )
