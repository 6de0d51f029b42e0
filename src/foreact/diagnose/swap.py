"""Swap test: the same picture with the other block's coordinate. Does the arm go to the block that is named?

A trial is obeyed where the point that the chunk reaches lies nearer to where a demonstration for the named block
would have taken it than to where it went under its own cue. What a demonstration would have done is a line fitted to
the data (response.py), so the test also works for chunks that end before the block, and in actions where the arm is
not known. A policy that ignores the coordinate does not move, and scores 0 wherever it goes; one that obeys moves by
the whole way, and scores 1. Going to the nearer of two blocks by chance, or by sight, counts for nothing.

Where it is not known where other blocks stand, another episode's place is named, which is an empty one as a rule, while
the block stands in sight elsewhere: what the policy sees contradicts what it is told, as no demonstration did, and the
best of them follow their eyes now and then.
Fewer obeyed trials show there that the coordinate is used.

A chunk that moves as it should may still end somewhere else. Where the arm is known, and the demonstrations
themselves end at their own blocks, the chunks must also end nearer to the named place than to the own one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.diagnose.other_cues import KINDS, OtherCues
from foreact.diagnose.probe import Chunks, Probe
from foreact.diagnose.response import Response, points
from foreact.finding import SEVERITIES, Finding, Severity
from foreact.intervals import wilson

HALF = 0.5
"""Share of a demonstration's way from which the reached point is nearer to the named block's end of it."""
USED, IGNORED = 0.9, 0.25
"""Share of trials from which the coordinate counts as used, and below which as ignored."""
USED_WHERE_EMPTY = 1 - IGNORED
"""As `USED`, of trials that name a place where no block is known."""
SAME_HEIGHT = 0.01
"""Metres: a hand that is as much above its lowest point has come down."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ends:
    """Where the hand comes down in each trial (K, 2) [m], by `end_points`."""

    before: np.ndarray
    """Predicted under the own cue."""
    after: np.ndarray
    """Predicted under the other cue."""
    demonstrated: np.ndarray
    """By the episode's own demonstration."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SwapTest:
    """What was measured."""

    way: np.ndarray
    """(K,): how far the chunk's point moved, as a share of a demonstration's way; 0 ignores, 1 obeys."""
    trials: OtherCues
    own: np.ndarray
    """(K, 2): the episodes' own cues [m]."""
    step: int
    """Of the chunk, from 0: where that point is taken."""
    ends: Ends | None
    """None where the hand is not known."""

    @property
    def obeyed(self) -> int:
        """Trials in which the chunk's point moved to the named block's side."""
        return int((self.way > HALF).sum())

    @property
    def rate(self) -> float:
        """Share of obeyed trials."""
        return self.obeyed / len(self.way)

    @property
    def needed(self) -> float:
        """Share of obeyed trials from which the coordinate counts as used, by what is known of the places named."""
        empty = self.trials.kind.count("elsewhere") / len(self.way)
        return USED + empty * (USED_WHERE_EMPTY - USED)

    @property
    def is_passed(self) -> bool:
        """Whether the coordinate counts as used."""
        return self.rate >= self.needed

    @property
    def nearer_to_named(self) -> int | None:
        """Chunks that end nearer to the named place than to the own one; None where the hand is not known."""
        return None if self.ends is None else _nearer(self.ends.after, self.trials.cue, self.own)

    @property
    def demonstrations_nearer_to_own(self) -> int | None:
        """Trials whose demonstration ends nearer to the own place than to the named one; None as above."""
        return None if self.ends is None else _nearer(self.ends.demonstrated, self.own, self.trials.cue)


def end_points(hand: np.ndarray, n_steps: int) -> np.ndarray:
    """Return where paths of the hand (N, T, 3) [m] come down to the table, (N, 2), in their first `n_steps`.

    That is each path's first step within a centimetre of its lowest, or its last step where the hand has not come down
    yet. A chunk that is shorter than the reach so ends where it ends. One that is longer does not: after the grasp it
    goes on to the same goal whichever block was named. Nor is it one step for all, as that of the response: the other
    block is nearer or farther and is reached sooner or later. And a block that is put down on the table is as low then
    as where it was taken, so the first such step counts.
    """
    height = hand[:, :n_steps, 2]
    step = (height <= height.min(axis=1, keepdims=True) + SAME_HEIGHT).argmax(axis=1)
    return hand[np.arange(len(hand)), np.where(step == 0, n_steps - 1, step), :2]


def _nearer(points: np.ndarray, to: np.ndarray, than: np.ndarray) -> int:
    """How many of the points (K, 2) are nearer to the first places than to the second."""
    return int((np.linalg.norm(points - to, axis=1) < np.linalg.norm(points - than, axis=1)).sum())


def swap_test(probe: Probe, response: Response, trials: OtherCues) -> SwapTest:
    """Predict the episodes' first chunks under their own and under the other cues.

    Args:
        probe: The network and its episodes.
        response: What the demonstrations do, fitted to the same episodes.
        trials: At least one.
    """
    first = probe.samples(0.0)
    samples = first[trials.episode]
    before, after = probe.predict(first), probe.predict_with_cue(samples, trials.cue)
    moved = points(after)[:, response.step] - points(before)[trials.episode, response.step]
    own = probe.cues(samples)
    expected = response.moves(trials.cue - own)
    return SwapTest(
        way=(moved * expected).sum(axis=1) / np.maximum((expected**2).sum(axis=1), 1e-12),
        trials=trials,
        own=own,
        step=response.step,
        ends=_ends(before, after, probe.demonstrated(first), trials.episode, response.n_steps),
    )


def _ends(before: Chunks, after: Chunks, demonstrated: Chunks, episode: np.ndarray, n_steps: int) -> Ends | None:
    if before.hand is None or after.hand is None or demonstrated.hand is None:
        return None
    return Ends(
        before=end_points(before.hand, n_steps)[episode],
        after=end_points(after.hand, n_steps),
        demonstrated=end_points(demonstrated.hand, n_steps)[episode],
    )


def judge_swap(test: SwapTest, remedy: str) -> Finding:
    """Put a swap test into words; `remedy` is what helps where the coordinate is not used."""
    n = len(test.way)
    low, high = wilson(test.obeyed, n)
    answer, severity = _answer(test.rate, test.needed)
    kinds = {kind: test.trials.kind.count(kind) for kind in KINDS if kind in test.trials.kind}
    verdict = (
        f"uses the coordinate: {answer}: swap test {test.obeyed} of {n} "
        f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
    )
    evidence: dict[str, Any] = {
        "obeyed": test.obeyed,
        "trials": n,
        "needed": test.needed,
        "wilson_95": [low, high],
        "mean_share_of_the_way": float(test.way.mean()),
        "named_places": {KINDS[kind]: count for kind, count in kinds.items()},
        "chunk_step": test.step,
        "space": "action" if test.ends is None else "hand",
        "share_of_the_way": test.way.tolist(),
    }
    remedies = [] if severity == "fine" else [remedy]
    nearer, demonstrated = test.nearer_to_named, test.demonstrations_nearer_to_own
    if test.ends is not None and nearer is not None and demonstrated is not None:
        verdict += f"; the chunk ends nearer to the place named than to the own one in {nearer} of {n}"
        misses = test.ends.after - test.trials.cue
        if demonstrated < USED * n:
            verdict += (
                f", which judges nothing: of the demonstrations only {demonstrated} end nearer to their own place"
            )
        elif SEVERITIES.index(elsewhere := _answer(nearer / n, test.needed)[1]) < SEVERITIES.index(severity):
            severity = elsewhere
            verdict += ": it answers to the coordinate and goes somewhere else"
            remedies.insert(0, _ELSEWHERE)
        evidence |= {
            "nearer_to_named_place": nearer,
            "demonstrations_nearer_to_own_place": demonstrated,
            "mean_end_point_from_the_named_place_m": misses.mean(axis=0).tolist(),
            "own_cue_m": test.own.tolist(),
            "named_cue_m": test.trials.cue.tolist(),
            "end_point_before_m": test.ends.before.tolist(),
            "end_point_after_m": test.ends.after.tolist(),
        }
    if "elsewhere" in kinds:
        verdict += f"; in {kinds['elsewhere']} of them no block is known at the place named"
    return Finding(
        question="swap",
        title="Does it go to the block that is named?",
        verdict=verdict,
        severity=severity,
        remedy="; then ".join(remedies),
        evidence=evidence,
    )


_ELSEWHERE = "mend what is said of pictures, normalisation and ranges, which move all chunks alike; then train longer"


def _answer(rate: float, needed: float) -> tuple[str, Severity]:
    if rate >= needed:
        return "yes", "fine"
    return ("no", "fault") if rate < IGNORED else ("partly", "warning")
