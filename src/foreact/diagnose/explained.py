"""Do the coordinates explain where the demonstrations go? What no demonstration follows, no policy can learn."""

from __future__ import annotations

import numpy as np

from foreact.diagnose.remedies import CHECK_THE_COORDINATES
from foreact.diagnose.response import ENOUGH, LEAST_EXPLAINED, MANY, Response
from foreact.finding import Finding, Severity

QUESTION, TITLE = "coordinate", "Is it told where to act?"
_FURTHER = "examine more episodes (--episodes) whose targets stand further apart, or train longer chunks"


def untold(dimensions: int) -> Finding:
    """Return what to say of a policy whose coordinates are not x and y."""
    return Finding(
        question=QUESTION,
        title=TITLE,
        verdict="uses the coordinate: there is no coordinate: "
        + (f"{dimensions} dimension, x and y are needed" if dimensions else "the policy was trained without (uncued)"),
        severity="note",
        remedy="train with --policy.use-environment-state on data with observation.environment_state (x, y)",
    )


def judge_explained(fitted: Response | None, *, episodes: int, knows_hand: bool) -> Finding:
    """Put into words how much of the demonstrations' first chunks the coordinates explain.

    Args:
        fitted: By `fitted_response`; None where there are too few episodes.
        episodes: How many there are.
        knows_hand: Whether it is fitted to the hand's path; else to normalised actions.
    """
    if fitted is None:
        verdict = f"cannot tell: {episodes} episodes, at least {ENOUGH} are needed"
        return Finding(question=QUESTION, title=TITLE, verdict=verdict, severity="note", remedy="give more: --episodes")
    share = max(0.0, fitted.explained)
    severity: Severity = "fine" if fitted.is_clear else "warning" if fitted.is_refuted else "note"
    words, remedy = {
        "fine": ("the coordinates explain", ""),
        "warning": (
            "the coordinates in these data do not explain the demonstrations: they tell",
            f"{CHECK_THE_COORDINATES}; where they are, {_FURTHER}",
        ),
        "note": (f"cannot tell from fewer than {MANY} episodes: the coordinates explain", _FURTHER),
    }[severity]
    told = fitted.moves(fitted.cue_alone)
    direction = np.linalg.svd(told, full_matrices=False)[2][0]
    return Finding(
        question=QUESTION,
        title=TITLE,
        verdict=f"{words} {100 * share:.0f} % of where the demonstrations go (adjusted R^2 of their first chunks' "
        f"step {fitted.step + 1}, {episodes} episodes; {100 * LEAST_EXPLAINED:.0f} % are needed to judge a policy by)",
        severity=severity,
        remedy=remedy,
        evidence={
            "explained": share,
            "needed": LEAST_EXPLAINED,
            "chunk_step": fitted.step,
            "episodes": episodes,
            "unit": "m of the hand" if knows_hand else "normalised action",
            "told_and_demonstrated_along_the_main_direction": np.stack(
                [told @ direction, fitted.point_alone @ direction], axis=1
            ).tolist(),
        },
    )
