"""What the run's own log says of its learning rate: does the loss fall, stay, or jump about?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.config import TrainConfig
from foreact.diagnose.probe import Probe
from foreact.finding import Finding, Severity

WINDOW, WINDOWS = 5, 40
"""Logged values whose median is taken, so that one batch says nothing; in a long log more, so many windows in all: the
least of thousands of noisy medians would lie far below the rest."""
FEW = 2 * WINDOW
"""Logged values below which nothing is said."""
RISEN = 1.5
"""Times its least value, from which the loss has risen."""
JUMP, OFTEN = 3.0, 0.05
"""A value so many times its neighbours' median is a jump, and so large a share of them is too much."""
NOTHING = 0.9
"""Share of the error of one chunk for all moments, above which nothing was learned."""
FALLING = 0.9
"""Loss of the last tenth as a share of that of the tenth before, below which it still falls."""
MANY = 4096
"""Chunks from which the best one for all is made."""

TITLE = "Did training go well?"


@dataclass(frozen=True, kw_only=True)
class TrainingCurve:
    """What was measured in the log; losses are L1 of normalised actions with the posterior's z."""

    steps: tuple[int, ...]
    l1: tuple[float, ...]
    smooth: tuple[float, ...]
    """Running median of `l1`."""
    gradient_norm: tuple[float | None, ...]
    """Before clipping, at the same steps."""
    constant: float
    """L1 of the best single chunk for all moments."""
    clipped: float | None
    """Share of the logged steps whose gradient was clipped; None where that was not logged, or nothing is clipped."""
    jumps: float
    """Share of the logged values far above their neighbours."""
    not_finite_at: int | None
    """First step whose loss or gradient is no number."""

    @property
    def has_risen(self) -> bool:
        """Whether the loss ends far above where it once was."""
        return self.smooth[-1] > RISEN * min(self.smooth)

    @property
    def only_falls(self) -> bool:
        """Whether the loss was never much above where it began."""
        return max(self.smooth) <= RISEN * self.smooth[0]

    @property
    def has_learned(self) -> bool:
        """Whether it ever fell below what one chunk for all gives."""
        return min(self.smooth) < NOTHING * self.constant


def constant_error(probe: Probe) -> float:
    """Return the mean absolute error, in normalised actions, of the one chunk that suits all moments best."""
    n = len(probe.dataset)
    rows = np.unique(np.linspace(0, n - 1, min(n, MANY)).astype(int))
    action = probe.demonstrated(rows).action
    action = np.where(probe.is_pad(rows)[..., None], np.nan, action)
    known = ~np.isnan(action).all(axis=(0, 2))
    action = action[:, known]
    return float(np.nanmean(np.abs(action - np.nanmedian(action, axis=0))))


def training_curve(
    log: Mapping[str, Sequence[tuple[int, float]]], constant: float, train: TrainConfig | None
) -> TrainingCurve | None:
    """Measure; None where too little was logged.

    Args:
        log: By name, from `read_log`.
        constant: From `constant_error`.
        train: How it was trained; None where that is not known.
    """
    pairs = log.get("train/l1", ())
    norms = dict(log.get("train/grad_norm", ()))
    broken = [step for step, value in (*pairs, *norms.items()) if not math.isfinite(value)]
    finite = [(step, value) for step, value in pairs if math.isfinite(value)]
    if len(finite) < FEW:
        return None
    steps, l1 = zip(*finite, strict=True)
    smooth = running_median(np.array(l1), max(WINDOW, len(l1) // WINDOWS))
    clip = 0.0 if train is None else train.grad_clip
    known = [value for value in norms.values() if math.isfinite(value)]
    return TrainingCurve(
        steps=tuple(steps),
        l1=tuple(l1),
        smooth=tuple(smooth.tolist()),
        gradient_norm=tuple(value if math.isfinite(value := norms.get(step, math.nan)) else None for step in steps),
        constant=constant,
        clipped=float(np.mean([value > clip for value in known])) if clip > 0 and known else None,
        jumps=float(np.mean(np.array(l1) > JUMP * smooth)),
        not_finite_at=min(broken) if broken else None,
    )


def running_median(values: np.ndarray, window: int) -> np.ndarray:
    """Return the median of each value (N,) and those around it, `window` in all, fewer at both ends."""
    half = window // 2
    return np.array([np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])


def judge_training_curve(measured: TrainingCurve | None, train: TrainConfig | None) -> Finding:
    """Put it into words."""
    question = "training"
    if measured is None:
        return Finding(
            question=question,
            title=TITLE,
            verdict="there is no log of the run to read, or hardly any",
            severity="note",
            remedy="examine the run's folder, which holds metrics.jsonl, not a checkpoint that lies alone; it logs "
            "every --train.log-every",
        )
    lr = "" if train is None else f" (train.lr {train.lr:g})"
    lower = "a lower learning rate" + ("" if train is None else f": --train.lr {train.lr / 10:g}")
    if train is not None and train.warmup_steps == 0:
        lower += ", and warm-up: --train.warmup-steps 500"
    least = int(np.argmin(measured.smooth))
    severity: Severity = "fault"
    remedy = lower
    clipped = measured.clipped or 0.0
    end = f"L1 {measured.smooth[-1]:.3f} at step {measured.steps[-1] + 1}"
    if measured.not_finite_at is not None:
        verdict = f"learning rate too high{lr}: loss or gradient is no number from step {measured.not_finite_at + 1} on"
    elif measured.has_risen:
        verdict = (
            f"learning rate too high{lr}: the loss has risen again: {end}, least {measured.smooth[least]:.3f} at step "
            f"{measured.steps[least] + 1}"
        )
    elif not measured.has_learned and measured.only_falls and _still_falls(measured):
        severity, remedy = "warning", "more steps (--train.steps)"
        verdict = (
            f"nothing was learned yet, but the loss was still falling: {end}, and the best single chunk for all "
            f"moments has {measured.constant:.3f}"
        )
    elif not measured.has_learned:
        verdict = (
            f"nothing was learned: {end}, and the best single chunk for all moments has {measured.constant:.3f}: "
            f"learning rate too high{lr}, or inputs that do not belong to the actions"
        )
        remedy = f"{lower}; if the loss stays there, look whether observations and actions belong together"
    elif measured.jumps > OFTEN:
        severity = "warning"
        verdict = (
            f"learning rate too high{lr}: the loss jumps in {100 * measured.jumps:.0f} % of the logged steps; {end}"
        )
    elif _still_falls(measured):
        severity, remedy = "note", "more steps (--train.steps) would still help"
        verdict = f"the loss was still falling when training ended: {end}"
    else:
        severity, remedy = "fine", ""
        verdict = f"the loss fell and stayed: {end}, one chunk for all has {measured.constant:.3f}"
    if clipped > 0.95:
        verdict += f"; gradients were clipped in {100 * clipped:.0f} % of the logged steps"
    return Finding(
        question=question,
        title=TITLE,
        verdict=verdict,
        severity=severity,
        remedy=remedy,
        evidence={
            "step": list(measured.steps),
            "l1": list(measured.l1),
            "l1_smooth": list(measured.smooth),
            "gradient_norm": list(measured.gradient_norm),
            "gradient_clip": None if train is None else train.grad_clip,
            "l1_of_one_chunk_for_all": measured.constant,
            "share_of_steps_clipped": measured.clipped,
            "share_of_jumps": measured.jumps,
        },
    )


def _still_falls(measured: TrainingCurve) -> bool:
    tenth = max(WINDOW, len(measured.l1) // 10)
    return float(np.mean(measured.l1[-tenth:])) < FALLING * float(np.mean(measured.l1[-2 * tenth : -tenth]))
