"""Collapse index: do the predicted chunks vary with the coordinate as the demonstrations do, or are they one?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from foreact.diagnose.probe import Probe
from foreact.diagnose.response import Response, points
from foreact.finding import Finding, Severity

COLLAPSED, NARROW = 0.75, 0.4
"""Index from which the policy counts as collapsed, and from which as pulled to the mean."""


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """What was measured at the first frames, where little but the coordinate says where to go."""

    index: float
    """0 = as varied as the data, 1 = one trajectory for all; more than 1 where they vary against the data."""
    spread: float
    """Root mean square deviation of the predicted points from their mean: hand [m], or normalised actions."""
    demonstrated_spread: float
    """The same of the demonstrations."""
    along: tuple[tuple[float, float], ...]
    """An episode each: demonstrated and predicted deviation, root mean square of the steps, along the direction in
    which the demonstrations vary most with the coordinate."""
    knows_hand: bool = False


def collapse_index(response: Response, demonstrated: np.ndarray, predicted: np.ndarray) -> Collapse:
    """Return 1 - <p, f> / <f, f>: the share of the demonstrations' variation that the predictions lack.

    f is the part of the demonstrations' deviation from their mean that the coordinate alone explains (response.py),
    p the predictions' deviation from theirs. Predictions equal to the demonstrations give exactly 0, since
    the residual of a least-squares fit is orthogonal to it; one chunk for all gives exactly 1; variation that has
    nothing to do with the coordinate, such as the arm's starting pose, counts for nothing.

    Args:
        response: Fitted to these demonstrations.
        demonstrated: Points of the chunks (N, T, D).
        predicted: The same (N, T, D) of the predictions for the same observations.
    """
    n, steps = len(demonstrated), slice(response.n_steps)
    demonstrations = (demonstrated - demonstrated.mean(axis=0))[:, steps].reshape(n, -1)
    predictions = (predicted - predicted.mean(axis=0))[:, steps].reshape(n, -1)
    fitted = response.chunks(response.cue_alone)[:, steps].reshape(n, -1)
    direction = np.linalg.svd(fitted, full_matrices=False)[2][0]
    along = np.stack([demonstrations @ direction, predictions @ direction], axis=1) / np.sqrt(response.n_steps)
    return Collapse(
        index=float(1 - (predictions * fitted).sum() / (fitted**2).sum()),
        spread=float(np.sqrt((predictions**2).mean())),
        demonstrated_spread=float(np.sqrt((demonstrations**2).mean())),
        along=tuple((float(x), float(y)) for x, y in along),
    )


def collapse(probe: Probe, response: Response) -> Collapse:
    """Measure a probe's episodes at their first frames."""
    first = probe.samples(0.0)
    measured = collapse_index(response, points(probe.demonstrated(first)), points(probe.predict(first)))
    return replace(measured, knows_hand=probe.knows_hand)


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
            "unit": "m of the hand" if measured.knows_hand else "normalised action",
            "predicted_spread": measured.spread,
            "demonstrated_spread": measured.demonstrated_spread,
            "episodes": len(measured.along),
            "demonstrated_and_predicted_along_the_main_direction": [list(pair) for pair in measured.along],
        },
    )
