"""How far do successive chunks disagree about the same future tick?

Two chunks that overlap are two answers to nearly the same question. Where they differ the policy has changed its mind:
between several ways of doing the task, or because a little noise in the observation moves it a lot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.diagnose.replay import Replay, on_what
from foreact.diagnose.tune_executor import moving_columns
from foreact.finding import Finding, Severity
from foreact.policy.policy import Policy

WAVERS, TORN = 0.25, 0.6
"""Disagreement where a chunk takes over, as a share of how far the arm goes while a chunk is executed and at least a
tick, from which the policy wavers, and from which it is torn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Agreement:
    """What was measured."""

    apart: int
    """Ticks between the two chunks' observations: those that are executed of each, or half a chunk where all are."""
    by_ahead: np.ndarray
    """(T - apart,): mean distance at a tick so many ticks after the later observation, in standard deviations of the
    chunks' first steps."""
    motion: float
    """Mean distance that a chunk itself goes in `apart` ticks, in the same unit."""
    on: str

    @property
    def first(self) -> float:
        """Where the later chunk takes over."""
        return float(self.by_ahead[0])

    @property
    def relative(self) -> float:
        """The same as a share of the motion in between."""
        return self.first / max(self.motion, 1e-12)


def measure_agreement(policy: Policy, replays: Sequence[Replay]) -> Agreement | None:
    """Measure; None where chunks are one step long, nothing moves, or no episode is long enough."""
    size = policy.config.chunk_size
    settings = policy.executor_settings
    n = 1 if settings.temporal_ensemble_coeff is not None else settings.n_action_steps
    apart = n if n < size else max(1, size // 2)
    columns, scale = moving_columns(policy, [of.predicted for of in replays])
    long = [of.chunks for of in replays if len(of.chunks) > apart]
    if apart >= size or not len(columns) or not long:
        return None
    gaps = [np.abs(of[apart:, : size - apart] - of[:-apart, apart:])[..., columns] / scale for of in long]
    motion = [np.abs(of[:, apart] - of[:, 0])[:, columns] / scale for of in long]
    return Agreement(
        apart=apart,
        by_ahead=np.concatenate(gaps).mean(axis=(0, 2), dtype=np.float64),
        motion=float(np.concatenate(motion).mean()),
        on=on_what(replays),
    )


def judge_agreement(measured: Agreement | None) -> Finding:
    """Put it into words."""
    question, title = "agreement", "Do successive chunks agree about the same future?"
    if measured is None:
        reason = "cannot tell: chunks are one step long, nothing moves, or no episode is long enough"
        return Finding(question=question, title=title, verdict=reason, severity="note")
    share = measured.relative
    severity: Severity = "fault" if share > TORN else "warning" if share > WAVERS else "fine"
    words = {"fine": "they agree", "warning": "it wavers", "fault": "it is torn"}[severity]
    ticks = f"{measured.apart} tick{'s' * (measured.apart != 1)}"
    verdict = (
        f"{words}: chunks {ticks} apart differ by {measured.first:.2f} standard deviations where the later takes over, "
        f"{100 * share:.0f} % of the motion in between"
    )
    if len(measured.by_ahead) > 1:
        last = len(measured.by_ahead) - 1
        verdict += f", and by {measured.by_ahead[-1]:.2f} about the tick {last} further ahead"
    return Finding(
        question=question,
        title=title,
        verdict=f"{verdict} ({measured.on})",
        severity=severity,
        remedy="demonstrate the task in one way and without pauses (foreact inspect), give it the state and sharper "
        "pictures, or train longer; a temporal ensemble or more executed steps hide it (foreact tune-executor)"
        if severity != "fine"
        else "",
        evidence={
            "episodes": measured.on,
            "ticks_between_the_observations": measured.apart,
            "disagreement_in_standard_deviations_by_ticks_ahead": measured.by_ahead.tolist(),
            "motion_in_between_in_standard_deviations": measured.motion,
            "share_of_the_motion": share,
        },
    )
