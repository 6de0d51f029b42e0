"""How far the predicted chunk moves for each centimetre of coordinate, at several points of the episode.

Central differences of one centimetre in x and in y. With crops around the cue and in the hand's frame the crop and
the frame move too: that is what the policy would see if it were told so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.diagnose.probe import Chunks, Probe
from foreact.diagnose.response import Response, points
from foreact.finding import Finding

SHARES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
"""Of the way through the episode."""
DELTA = 0.01
"""Metres."""
HARDLY, SEES = 0.1, 0.5
"""Shares of the demonstrations' response: below the first a policy hardly answers to the coordinate; below the second
one that obeys must find the last centimetres by itself."""


@dataclass(frozen=True, kw_only=True)
class At:
    """Sensitivity at one point of the episodes, mean over episodes and over x and y."""

    share: float
    hand: float | None
    """Centimetres of the hand at the chunk's end per centimetre of coordinate; None where the arm is not known."""
    chunk: float
    """Mean absolute change of the chunk, normalised actions per centimetre."""
    actions: dict[str, float]
    """The same by dimension of the network's action, in its unit per centimetre."""


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What was measured."""

    at: tuple[At, ...]
    gain: float | None
    """At the first frames, at the step where the demonstrations differ most: per metre of coordinate, in metres of the
    hand or in normalised actions; None where there is no response of the demonstrations to compare with."""
    demonstrated_gain: float | None
    """The same of the demonstrations."""
    episodes: int


def sensitivity(
    probe: Probe, response: Response | None, *, shares: Sequence[float] = SHARES, episodes: int | None = None
) -> Sensitivity:
    """Measure.

    Args:
        probe: The network and its episodes.
        response: What the demonstrations do at the first frames; None where that is not known.
        shares: Points of the episode; the first must be 0 for the comparison with the demonstrations.
        episodes: How many of the probe's; None takes all.
    """
    at, gain = [], None
    for share in shares:
        samples = probe.samples(share, episodes)
        slopes = [_slope(probe, samples, axis) for axis in (0, 1)]
        at.append(_summary(probe, samples, share, slopes))
        if share == 0 and response is not None:
            gain = float(np.mean([np.linalg.norm(points(of)[:, response.step], axis=-1) for of in slopes]))
    return Sensitivity(
        at=tuple(at),
        gain=gain,
        demonstrated_gain=None if response is None else response.gain,
        episodes=len(samples),
    )


def _slope(probe: Probe, samples: np.ndarray, axis: int) -> Chunks:
    """Derivative of the chunks by one coordinate, per metre."""
    step = np.eye(2)[axis] * DELTA
    cue = probe.cues(samples)
    plus, minus = (probe.predict_with_cue(samples, cue + sign * step) for sign in (1, -1))
    hand = None if plus.hand is None or minus.hand is None else (plus.hand - minus.hand) / (2 * DELTA)
    return Chunks(action=(plus.action - minus.action) / (2 * DELTA), hand=hand)


def _summary(probe: Probe, samples: np.ndarray, share: float, slopes: list[Chunks]) -> At:
    is_real = ~probe.is_pad(samples)
    change = np.mean([np.abs(of.action) for of in slopes], axis=0)[is_real].mean(axis=0) / 100  # (A',)
    scale = probe.inputs.normalizer.get_buffer("action_scale").cpu().numpy()
    names = probe.inputs.network_features.action_names
    hand = None
    if slopes[0].hand is not None:
        last = is_real.sum(axis=1) - 1
        ends = [of.hand[np.arange(len(samples)), last] for of in slopes if of.hand is not None]
        hand = float(np.mean([np.linalg.norm(end, axis=-1) for end in ends]))
    return At(
        share=share,
        hand=hand,
        chunk=float(change.mean()),
        actions={name: float(value) for name, value in zip(names, change * scale, strict=True)},
    )


def judge_sensitivity(measured: Sensitivity, remedy: str, *, obeys: bool, sees: bool = True) -> Finding:
    """Put sensitivities into words.

    Args:
        measured: By `sensitivity`.
        remedy: What helps where the coordinate is ignored.
        obeys: Whether the swap test was passed. A policy that was told inexact coordinates goes to the block that it
            sees near them: it obeys, and yet a centimetre moves it little.
        sees: Whether it has pictures to look at.
    """
    start, knows_hand = measured.at[0], measured.at[0].hand is not None
    strongest = max(measured.at, key=lambda at: at.hand if at.hand is not None else at.chunk)
    if knows_hand:
        verdict = f"at the start the chunk's end moves {start.hand:.2f} cm per cm of coordinate"
        verdict += f", at most {strongest.hand:.2f} ({100 * strongest.share:.0f} % of the way)"
    else:
        verdict = (
            f"at the start the chunk changes by {start.chunk:.3f} normalised action units per cm of coordinate, "
            f"at most {strongest.chunk:.3f} ({100 * strongest.share:.0f} % of the way); "
            "the arm's kinematics are not known, so not in centimetres of the hand"
        )
    hardly = False
    if measured.gain is not None and measured.demonstrated_gain:
        ratio = measured.gain / measured.demonstrated_gain
        hardly = ratio < HARDLY and not obeys
        verdict += f"; where demonstrations differ most, {100 * ratio:.0f} % of what they do"
        if ratio < SEES and obeys and sees:
            verdict += ": it looks for the block near the place that it is told"
    return Finding(
        question="sensitivity",
        title="How far does the chunk move with the coordinate?",
        verdict=verdict,
        severity="warning" if hardly else "fine",
        remedy=remedy if hardly else "",
        evidence={
            "episodes": measured.episodes,
            "gain_at_the_start": measured.gain,
            "demonstrated_gain_at_the_start": measured.demonstrated_gain,
            "gain_unit": "m of the hand per m" if knows_hand else "normalised action per m",
            "by_share_of_the_episode": [
                {
                    "share": at.share,
                    "hand_cm_per_cm": at.hand,
                    "normalised_chunk_per_cm": at.chunk,
                    "actions_per_cm": at.actions,
                }
                for at in measured.at
            ],
        },
    )
