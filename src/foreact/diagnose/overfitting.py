"""Overfitting: is the policy better on the episodes that it was trained on than on others, with z = 0 on both?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.diagnose.probe import Probe
from foreact.diagnose.resampling import ratio_interval
from foreact.diagnose.training_curve import constant_error
from foreact.finding import Finding, Severity

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8)
"""Points of the episode."""
FEW_EPISODES = 3
"""Episodes of either kind below which nothing is said."""
MORE, MUCH_MORE = 1.5, 3.0
"""Error on others as a multiple of that on training episodes, from which a policy overfits, and strongly."""
MATTERS = 0.05
"""Difference of both, as a share of the error of one chunk for all, below which that does not matter."""
WORSE = 1.1
"""Times the least validation error, from which a later one is worse."""

TITLE = "Does it know more of its training episodes than of others?"


@dataclass(frozen=True, kw_only=True, eq=False)
class Overfitting:
    """What was measured: mean absolute errors by episode, normalised actions."""

    training: np.ndarray
    """(E,)."""
    held_out: np.ndarray
    """(F,)."""
    interval: tuple[float, float]
    """Of the ratio of the means, held out over training, by resampling episodes."""
    constant: float
    """Error of one chunk for all moments."""

    @property
    def ratio(self) -> float:
        """Error on held-out episodes over that on training episodes."""
        return float(self.held_out.mean() / max(self.training.mean(), 1e-12))


def overfitting(probe: Probe, n_held_out: int, training: Probe, *, shares: Sequence[float] = SHARES) -> Overfitting:
    """Measure.

    Args:
        probe: Whose first episodes are held out.
        n_held_out: How many; `FEW_EPISODES` at least.
        training: The same network on as many training episodes at least.
        shares: Points of the episode.
    """
    held_out = _errors(probe, shares, n_held_out)
    seen = _errors(training, shares, None)
    return Overfitting(
        training=seen,
        held_out=held_out,
        interval=ratio_interval(held_out, seen, paired=False),
        constant=constant_error(training),
    )


def _errors(probe: Probe, shares: Sequence[float], episodes: int | None) -> np.ndarray:
    samples, episode = probe.moments(shares, episodes)
    return np.bincount(episode, weights=probe.errors(samples, probe.predict(samples).action)) / len(shares)


def judge_overfitting(
    measured: Overfitting | None, log: Mapping[str, Sequence[tuple[int, float]]], step: int, why_not: str = ""
) -> Finding:
    """Put it into words.

    Args:
        measured: None where there are not both kinds of episodes.
        log: What the run logged, by name.
        step: Of the checkpoint.
        why_not: Why nothing was measured.
    """
    severity: Severity = "note"
    said, remedies = [], []
    evidence: dict[str, Any] = {}
    if measured is None:
        said.append(f"cannot tell from the policy itself: {why_not}")
    else:
        ratio, (low, high) = measured.ratio, measured.interval
        gap = float(measured.held_out.mean() - measured.training.mean()) / max(measured.constant, 1e-12)
        numbers = (
            f"error {measured.held_out.mean():.3f} on {len(measured.held_out)} held-out episodes, "
            f"{measured.training.mean():.3f} on {len(measured.training)} training episodes "
            f"(ratio {ratio:.2f}, 95 % interval {low:.2f} to {high:.2f})"
        )
        if ratio >= MORE and low > 1 and gap >= MATTERS:
            severity = "fault" if ratio >= MUCH_MORE and low > MORE else "warning"
            said.append(f"overfits: {numbers}")
            remedies.append(
                "more demonstrations help most; else fewer steps, random crops (--policy.crop-size), more dropout, a "
                "smaller network"
            )
        else:
            severity = "fine"
            said.append(f"does not overfit: {numbers}")
        evidence |= {
            "error_by_training_episode": measured.training.tolist(),
            "error_by_held_out_episode": measured.held_out.tolist(),
            "ratio": ratio,
            "ratio_interval_95": [low, high],
            "error_of_one_chunk_for_all": measured.constant,
        }
    curves = {name: [list(of) for of in log.get(name, ()) if np.isfinite(of[1])] for name in _CURVES}
    validation = curves["val/l1"]
    if validation:
        evidence |= {f"logged_{name}": of for name, of in curves.items() if of}
        best_step, best = min(validation, key=lambda pair: pair[1])
        here = [value for at, value in validation if at < step]
        if here and here[-1] > WORSE * best:
            said.append(
                f"validation L1 was least at step {best_step + 1} ({best:.3f}), at this checkpoint it is {here[-1]:.3f}"
            )
            remedies.insert(0, "take the checkpoint that validated best: --checkpoint best")
            severity = "warning" if severity in ("fine", "note") else severity
        else:
            said.append(f"validation L1 is {here[-1] if here else best:.3f}, least {best:.3f} at step {best_step + 1}")
    return Finding(
        question="overfitting",
        title=TITLE,
        verdict="; ".join(said),
        severity=severity,
        remedy="; ".join(remedies),
        evidence=evidence,
    )


_CURVES = ("train/l1", "val/l1", "val/l1_posterior")
