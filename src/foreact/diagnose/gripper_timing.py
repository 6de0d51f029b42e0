"""When do the grippers close and open, against the demonstrations?

A few frames decide: a gripper that closes before the hand is there takes nothing. What is compared is what the policy's
own executor hands out along recorded observations, so the demonstrator's own timing is what counts as right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.data.dimensions import is_gripper
from foreact.diagnose.replay import Replay, on_what
from foreact.finding import Finding, Severity
from foreact.policy.policy import Policy

BAND = 0.1
"""Half the hysteresis around the threshold, as a share of the range."""
WITHIN_S = 1.0
"""A predicted switch belongs to a demonstrated one that is at most so far away."""
LATE_S = 0.15
"""Median offset from which a gripper counts as early or late; at least a tick and a half."""
IDLE = 0.1
"""Share of the widest gripper's range below which another one is not used: an arm that only waits trembles a little."""
MISSED = 0.1
"""Share of the demonstrated switches that may be missed, and of spurious ones."""


@dataclass(frozen=True, kw_only=True)
class Switches:
    """One kind of switch, all grippers and episodes together."""

    kind: str
    """`closing` or `opening`."""
    offsets: tuple[float, ...]
    """Of those found: predicted after demonstrated [s]."""
    demonstrated: int
    missed: int
    spurious: int

    @property
    def median(self) -> float | None:
        """Of the offsets [s]; None where there are none."""
        return float(np.median(self.offsets)) if self.offsets else None


@dataclass(frozen=True, kw_only=True)
class GripperTiming:
    """What was measured."""

    names: tuple[str, ...]
    closing: Switches
    opening: Switches
    fps: float
    on: str
    example: dict[str, list[float]]
    """One gripper in one episode: demonstrated and executed commands, for the picture."""


def switch_frames(values: np.ndarray, threshold: float, band: float) -> tuple[list[int], list[int]]:
    """Return the frames at which a gripper's commands (L,) close and open, with hysteresis; below it is closed."""
    is_closed = bool(values[0] < threshold)
    closings: list[int] = []
    openings: list[int] = []
    for frame in np.flatnonzero(np.abs(values - threshold) > band).tolist():
        if bool(values[frame] < threshold) != is_closed:
            is_closed = not is_closed
            (closings if is_closed else openings).append(frame)
    return closings, openings


def match_switches(demonstrated: Sequence[int], predicted: Sequence[int], within: float) -> list[tuple[int, int]]:
    """Return pairs of demonstrated and predicted frames, the nearest first, each used once, at most `within` apart."""
    near = sorted((abs(p - d), d, p) for d in demonstrated for p in predicted if abs(p - d) <= within)
    pairs: list[tuple[int, int]] = []
    for _, d, p in near:
        if d not in [pair[0] for pair in pairs] and p not in [pair[1] for pair in pairs]:
            pairs.append((d, p))
    return sorted(pairs)


@dataclass(frozen=True, kw_only=True)
class Gripper:
    """A dimension of the action that opens and shuts."""

    dim: int
    threshold: float
    """Below it the gripper is told to close: the middle of its range."""
    band: float
    """Half the hysteresis."""


def find_grippers(policy: Policy, replays: Sequence[Replay]) -> list[Gripper]:
    """Return the action's grippers that open and shut in some episodes."""
    features, settings = policy.features, policy.executor_settings
    low, high = np.quantile(np.concatenate([of.episode.action for of in replays]), (0.01, 0.99), axis=0)
    width = {
        dim: float(high[dim] - low[dim])
        for dim, name in enumerate(features.action_names)
        if is_gripper(features, name) or (settings.binary and settings.binary[dim])
    }
    least = max(policy.config.narrowest, IDLE * max(width.values(), default=0.0))
    return [
        Gripper(dim=dim, threshold=float(0.5 * (low[dim] + high[dim])), band=BAND * of)
        for dim, of in width.items()
        if of > least
    ]


def measure_gripper_timing(policy: Policy, replays: Sequence[Replay]) -> GripperTiming | None:
    """Compare executed with demonstrated switches; None where no dimension of the action is a gripper that moves."""
    features, grippers = policy.features, find_grippers(policy, replays)
    if not grippers:
        return None
    within = max(WITHIN_S * features.fps, 2.0)
    found: dict[str, list[float]] = {"closing": [], "opening": []}
    counts = {kind: {"demonstrated": 0, "missed": 0, "spurious": 0} for kind in found}
    for of in replays:
        for gripper in grippers:
            shown = switch_frames(of.episode.action[:, gripper.dim], gripper.threshold, gripper.band)
            done = switch_frames(of.executed[:, gripper.dim], gripper.threshold, gripper.band)
            for kind, demonstrated, predicted in zip(found, shown, done, strict=True):
                pairs = match_switches(demonstrated, predicted, within)
                found[kind] += [(p - d) / features.fps for d, p in pairs]
                counts[kind]["demonstrated"] += len(demonstrated)
                counts[kind]["missed"] += len(demonstrated) - len(pairs)
                counts[kind]["spurious"] += len(predicted) - len(pairs)
    closing, opening = (Switches(kind=kind, offsets=tuple(found[kind]), **counts[kind]) for kind in found)
    longest = max(replays, key=lambda of: of.episode.length)
    return GripperTiming(
        names=tuple(features.action_names[gripper.dim] for gripper in grippers),
        closing=closing,
        opening=opening,
        fps=features.fps,
        on=on_what(replays),
        example={
            "demonstrated": longest.episode.action[:, grippers[0].dim].tolist(),
            "executed": longest.executed[:, grippers[0].dim].tolist(),
        },
    )


def judge_gripper_timing(measured: GripperTiming | None) -> Finding:
    """Put it into words."""
    question, title = "gripper_timing", "Does the gripper close and open when the demonstrator's does?"
    if measured is None:
        reason = "cannot tell: no action is called a gripper, finger, jaw, claw or hand, or it never moves"
        return Finding(question=question, title=title, verdict=reason, severity="note")
    kinds = (measured.closing, measured.opening)
    late = max(LATE_S, 1.5 / measured.fps)
    off = any(abs(of.median or 0) > late for of in kinds)
    demonstrated = sum(of.demonstrated for of in kinds)
    missed, spurious = sum(of.missed for of in kinds), sum(of.spurious for of in kinds)
    never = any(of.demonstrated and of.missed > 0.5 * of.demonstrated for of in kinds)
    often = missed > MISSED * demonstrated or spurious > MISSED * max(demonstrated, 1)
    severity: Severity = "fault" if never else "warning" if off or often else "fine"
    verdict = f"{', '.join(measured.names)}, on {measured.on}: " + "; ".join(_said(of) for of in kinds)
    remedies = []
    if missed > MISSED * demonstrated:
        remedies.append(
            "train longer, or let it only open or shut (--policy.binary-actions, with actions recorded as +1 and -1)"
        )
    if off:
        remedies.append(
            "early or late commands often come of long queues or wide ensembles (foreact tune-executor), or of data "
            "whose actions are shifted (see there)"
        )
    if spurious > MISSED * max(demonstrated, 1):
        remedies.append(
            "more demonstrations of grasps that hold at once; leave repeated attempts out (foreact inspect)"
        )
    return Finding(
        question=question,
        title=title,
        verdict=verdict,
        severity=severity,
        remedy="; ".join(remedies),
        evidence={
            "grippers": list(measured.names),
            "episodes": measured.on,
            "fps_hz": measured.fps,
            **{
                of.kind: {
                    "demonstrated": of.demonstrated,
                    "missed": of.missed,
                    "spurious": of.spurious,
                    "median_offset_s": of.median,
                    "quantile_10_and_90_s": list(np.quantile(of.offsets, (0.1, 0.9))) if of.offsets else None,
                    "offsets_s": list(of.offsets),
                }
                for of in kinds
            },
            "example": measured.example,
        },
    )


def _said(of: Switches) -> str:
    if not of.demonstrated:
        return f"no {of.kind} was demonstrated, {of.spurious} predicted"
    if of.median is None:
        return f"all {of.demonstrated} {of.kind}s missed, {of.spurious} spurious"
    low, high = np.quantile(of.offsets, (0.1, 0.9))
    when = "on time" if abs(of.median) < 0.005 else f"{abs(of.median):.2f} s {'late' if of.median > 0 else 'early'}"
    return (
        f"{of.kind} {when} in the median (10 to 90 %: {low:+.2f} to {high:+.2f} s), "
        f"{of.missed} of {of.demonstrated} missed, {of.spurious} spurious"
    )
