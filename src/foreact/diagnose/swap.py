"""Swap test: the same picture with the other block's coordinate. Does the arm go to the block that is named?

A trial is obeyed where the point that the chunk reaches lies nearer to where a demonstration for the named block
would have taken it than to where it went under its own cue. What a demonstration would have done is a line fitted to
the data (response.py), so the test also works for chunks that end before the block, and in actions where the arm is
not known. A policy that ignores the coordinate does not move, and scores 0 wherever it goes; one that obeys moves by
the whole way, and scores 1. Going to the nearer of two blocks by chance, or by sight, counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.diagnose.other_cues import KINDS, OtherCues
from foreact.diagnose.probe import Probe
from foreact.diagnose.response import Response, points
from foreact.finding import Finding, Severity
from foreact.intervals import wilson

HALF = 0.5
"""Share of a demonstration's way from which the reached point is nearer to the named block's end of it."""
USED, IGNORED = 0.9, 0.25
"""Share of obeyed trials from which the coordinate counts as used, and below which as ignored."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SwapTest:
    """What was measured."""

    way: np.ndarray
    """(K,): how far the chunk's point moved, as a share of a demonstration's way; 0 ignores, 1 obeys."""
    trials: OtherCues
    own: np.ndarray
    """(K, 2): the episodes' own cues [m]."""
    before: np.ndarray
    """(K, D): the point reached under the own cue; x and y of the hand [m], or normalised actions."""
    after: np.ndarray
    """(K, D): the same under the other cue."""
    step: int
    """Of the chunk, from 0: where the point is taken."""
    knows_hand: bool

    @property
    def obeyed(self) -> int:
        """Trials in which the chunk went to the named block."""
        return int((self.way > HALF).sum())

    @property
    def rate(self) -> float:
        """Share of obeyed trials."""
        return self.obeyed / len(self.way)

    @property
    def nearer_to_named(self) -> int | None:
        """Points that are nearer to the named place than to the own one; None where the hand is not known."""
        if not self.knows_hand:
            return None
        to_named = np.linalg.norm(self.after - self.trials.cue, axis=1)
        return int((to_named < np.linalg.norm(self.after - self.own, axis=1)).sum())


def swap_test(probe: Probe, response: Response, trials: OtherCues) -> SwapTest:
    """Predict the episodes' first chunks under their own and under the other cues.

    Args:
        probe: The network and its episodes.
        response: What the demonstrations do, fitted to the same episodes.
        trials: At least one.
    """
    first = probe.samples(0.0)
    before = points(probe.predict(first))[trials.episode, response.step]
    samples = first[trials.episode]
    after = points(probe.predict_with_cue(samples, trials.cue))[:, response.step]
    own = probe.cues(samples)
    expected = response.moves(trials.cue - own)
    way = ((after - before) * expected).sum(axis=1) / np.maximum((expected**2).sum(axis=1), 1e-12)
    return SwapTest(
        way=way,
        trials=trials,
        own=own,
        before=before,
        after=after,
        step=response.step,
        knows_hand=probe.knows_hand,
    )


def judge_swap(test: SwapTest, remedy: str) -> Finding:
    """Put a swap test into words; `remedy` is what helps where the coordinate is not used."""
    n = len(test.way)
    low, high = wilson(test.obeyed, n)
    answer, severity = _answer(test.rate)
    kinds = {kind: test.trials.kind.count(kind) for kind in KINDS if kind in test.trials.kind}
    verdict = (
        f"uses the coordinate: {answer}: swap test {test.obeyed} of {n} "
        f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
    )
    if "elsewhere" in kinds:
        verdict += f"; in {kinds['elsewhere']} of them no block is known at the place named"
    evidence: dict[str, Any] = {
        "obeyed": test.obeyed,
        "trials": n,
        "wilson_95": [low, high],
        "mean_share_of_the_way": float(test.way.mean()),
        "named_places": {KINDS[kind]: count for kind, count in kinds.items()},
        "chunk_step": test.step,
        "space": "hand" if test.knows_hand else "action",
        "share_of_the_way": test.way.tolist(),
    }
    if test.knows_hand:
        evidence |= {
            "nearer_to_named_place": test.nearer_to_named,
            "own_cue_m": test.own.tolist(),
            "named_cue_m": test.trials.cue.tolist(),
            "reached_before_m": test.before.tolist(),
            "reached_after_m": test.after.tolist(),
        }
    return Finding(
        question="swap",
        title="Does it go to the block that is named?",
        verdict=verdict,
        severity=severity,
        remedy="" if severity == "fine" else remedy,
        evidence=evidence,
    )


def _answer(rate: float) -> tuple[str, Severity]:
    if rate >= USED:
        return "yes", "fine"
    return ("no", "fault") if rate < IGNORED else ("partly", "warning")
