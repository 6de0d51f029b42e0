"""How smoothly is the arm commanded, against the demonstrations, and does it jump where chunks meet?

Of what the policy's own executor hands out along recorded observations: queue, ensemble, blending, thresholds, inverse
kinematics and limits included. Chunks come at once, also to an asynchronous executor (benchmarks/delay.py measures late
ones).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.diagnose.replay import Replay, on_what
from foreact.diagnose.tune_executor import dimensions
from foreact.finding import Finding, Severity
from foreact.policy.policy import Policy
from foreact_runtime.smoothness import jerk

ROUGH, SHAKING = 2.5, 6.0
"""Mean jerk, as a multiple of the demonstrations', from which an arm is commanded roughly, and from which it shakes."""
SEAM = 2.0
"""How often a step where chunks meet may be the step within a chunk."""
LEAST = 1e-3
"""Jerk, in standard deviations of the joint, that demonstrations count as having at least: one drawn with a ruler has
none, and everything would be infinitely rough beside it."""
_TICKS = 150
"""Of the example in the picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Smoothness:
    """What was measured, over the joints that move, without grippers."""

    names: tuple[str, ...]
    jerk: np.ndarray
    """(D,): mean size of the third difference, as a multiple of the demonstrations'."""
    jerk_max: float
    """Mean of the episodes' largest one, as a multiple of the demonstrations'."""
    seam: float | None
    """Mean step where one chunk takes over from another, as a multiple of the steps in between, each as a multiple of
    the demonstrations' at the same ticks; None where a new chunk comes every tick or none ever does."""
    execution: str
    on: str
    joint: str
    """Of the example: demonstrated and executed commands of one joint in one episode."""
    demonstrated: tuple[float, ...]
    executed: tuple[float, ...]
    seams: tuple[int, ...]
    """Ticks of the example at which a chunk took over."""

    @property
    def mean(self) -> float:
        """Jerk of all joints."""
        return float(self.jerk.mean())


def measure_smoothness(policy: Policy, replays: Sequence[Replay]) -> Smoothness | None:
    """Measure; None where no episode has the four ticks that jerk is measured over, or nothing moves."""
    long = [of for of in replays if of.episode.length > 3]
    if not long:
        return None
    _, smooth = dimensions(policy, [of.predicted for of in replays])
    if not len(smooth):
        return None
    executed = [jerk(of.executed[:, smooth], 1) for of in long]
    recorded = [jerk(of.episode.action[:, smooth], 1) for of in long]
    scale = np.concatenate([of.episode.action[:, smooth] for of in replays]).astype(np.float64).std(axis=0)
    largest, shown = (np.mean([(of / scale).max() for of in each]) for each in (executed, recorded))
    ratio = np.mean([of.mean(axis=0) for of in executed], axis=0) / np.maximum(
        np.mean([of.mean(axis=0) for of in recorded], axis=0), LEAST * scale
    )
    longest = max(long, key=lambda of: of.episode.length)
    busiest = int(np.abs(np.diff(longest.episode.action[:, smooth] / scale, axis=0)).sum(axis=0).argmax())
    joint = int(smooth[busiest])
    return Smoothness(
        names=tuple(policy.features.action_names[dim] for dim in smooth),
        jerk=ratio,
        jerk_max=float(largest / max(shown, LEAST)),
        seam=_seam(long, smooth, scale),
        execution=execution(policy),
        on=on_what(replays),
        joint=policy.features.action_names[joint],
        demonstrated=tuple(longest.episode.action[:_TICKS, joint].tolist()),
        executed=tuple(longest.executed[:_TICKS, joint].tolist()),
        seams=tuple(tick for tick in longest.asked[1:] if tick < _TICKS),
    )


def _seam(replays: Sequence[Replay], smooth: np.ndarray, scale: np.ndarray) -> float | None:
    at, between = np.zeros(2), np.zeros(2)  # executed, demonstrated
    for of in replays:
        both = np.stack([of.executed, of.episode.action])[..., smooth] / scale
        steps = np.abs(np.diff(both, axis=1))
        is_seam = np.isin(np.arange(1, of.episode.length), of.asked)
        at += steps[:, is_seam].sum(axis=(1, 2))
        between += steps[:, ~is_seam].sum(axis=(1, 2))
    if min(*at, *between) <= 0:
        return None
    return float((at[0] / at[1]) / (between[0] / between[1]))


def execution(policy: Policy) -> str:
    """Return how a policy's chunks are executed, in words."""
    settings = policy.executor_settings
    if settings.temporal_ensemble_coeff is not None:
        way = f"temporal ensemble, m = {settings.temporal_ensemble_coeff:g}"
    else:
        way = f"queue of {settings.n_action_steps} step{'s' * (settings.n_action_steps != 1)}"
    return way + (", asynchronous" if settings.asynchronous else "")


def judge_smoothness(measured: Smoothness | None) -> Finding:
    """Put it into words."""
    question, title = "smoothness", "Is the arm commanded smoothly?"
    if measured is None:
        reason = "cannot tell: no episode has four ticks, or nothing moves"
        return Finding(question=question, title=title, verdict=reason, severity="note")
    mean, worst = measured.mean, int(measured.jerk.argmax())
    jumps = measured.seam is not None and measured.seam > SEAM
    severity: Severity = "fault" if mean > SHAKING else "warning" if mean > ROUGH or jumps else "fine"
    verdict = (
        f"executed as a {measured.execution}, jerk is {mean:.1f} times the demonstrations' on {measured.on} "
        f"(largest {measured.jerk_max:.1f} times; worst {measured.names[worst]}, {measured.jerk[worst]:.1f})"
    )
    if measured.seam is not None:
        verdict += f"; where chunks meet the arm's step is {measured.seam:.1f} times the one within a chunk"
    return Finding(
        question=question,
        title=title,
        verdict=verdict,
        severity=severity,
        remedy="let foreact tune-executor choose how chunks are executed: a temporal ensemble, longer queues, or "
        "--policy.blend-steps; jerk that stays is in the network's chunks: train longer"
        if severity != "fine"
        else "",
        evidence={
            "episodes": measured.on,
            "execution": measured.execution,
            "jerk_as_a_multiple_of_the_demonstrations": mean,
            "largest_jerk_as_a_multiple": measured.jerk_max,
            "by_joint": dict(zip(measured.names, measured.jerk.tolist(), strict=True)),
            "step_where_chunks_meet_as_a_multiple": measured.seam,
            "example": {
                "joint": measured.joint,
                "demonstrated": list(measured.demonstrated),
                "executed": list(measured.executed),
                "ticks_where_chunks_meet": list(measured.seams),
            },
        },
    )
