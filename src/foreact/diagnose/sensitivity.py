"""How far the predicted chunk moves for each centimetre of coordinate, at several points of the episode.

Central differences of one centimetre in x and in y. With crops around the cue and in the hand's frame the crop and
the frame move too: that is what the policy would see if it were told so. At the first frames the demonstrations'
response is known, and the policy's is split into a multiple of it (along) and the rest (across): a chunk that moves
far, but another way, does not answer to the coordinate.
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
"""Shares of the demonstrations' response, along it: below the first a policy hardly answers to the coordinate; below
the second one that obeys must find the last centimetres by itself."""
TOO_FAR, ASTRAY = 2.0, 1.0
"""In the same unit, along and across: from the first it goes too far, so that small errors of the coordinate become
large ones; from the second it moves another way as far as demonstrations move at all."""


@dataclass(frozen=True, kw_only=True)
class At:
    """Sensitivity at one point of the episodes, mean over episodes and over x and y."""

    share: float
    hand: float | None
    """Centimetres of the hand per centimetre of coordinate, at the chunk's step where that is most: its end, or the
    grasp in one that goes on to the same goal from everywhere; None where the arm is not known."""
    chunk: float
    """Mean absolute change of the chunk, normalised actions per centimetre."""
    actions: dict[str, float]
    """The same by dimension of the network's action, in its unit per centimetre; with `frame` its first six are
    displacements of the hand [m, rad], not joints."""


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What was measured."""

    at: tuple[At, ...]
    gain: float | None
    """At the first frames, at the step where the demonstrations differ most: per metre of coordinate, in metres of the
    hand or in normalised actions; None where there is no response of the demonstrations to compare with."""
    demonstrated_gain: float | None
    """The same of the demonstrations."""
    along: float | None
    """There, too: the multiple of the demonstrations' response that is nearest to the policy's; 1 = as they do."""
    across: float | None
    """Size of what that multiple leaves over, as a share of the demonstrations' response."""
    moves_hand: bool
    """Whether the network's actions are displacements of the hand (`frame`)."""
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
    at: list[At] = []
    gain = along = across = None
    for share in shares:
        samples = probe.samples(share, episodes)
        slopes = [_slope(probe, samples, axis) for axis in (0, 1)]
        at.append(_summary(probe, samples, share, slopes))
        if share == 0 and response is not None:
            moved = np.stack([points(of)[:, response.step] for of in slopes], axis=-1)  # (N, D, 2)
            gain = float(np.linalg.norm(moved, axis=1).mean())
            along, across = _split(moved, response.slope[response.step])
    return Sensitivity(
        at=tuple(at),
        gain=gain,
        demonstrated_gain=None if response is None else response.gain,
        along=along,
        across=across,
        moves_hand=probe.inputs.frame is not None,
        episodes=len(samples),
    )


def _split(moved: np.ndarray, demonstrated: np.ndarray) -> tuple[float, float]:
    """Return the mean multiple of a slope (D, 2) in others (N, D, 2), and the mean size of the rest in units of it."""
    size = (demonstrated**2).sum()
    along = (moved * demonstrated).sum(axis=(1, 2)) / size
    rest = moved - along[:, None, None] * demonstrated
    return float(along.mean()), float(np.linalg.norm(rest, axis=(1, 2)).mean() / np.sqrt(size))


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
        moved = np.mean([np.linalg.norm(of.hand, axis=-1) for of in slopes if of.hand is not None], axis=0)  # (N, T)
        n_real = is_real.sum(axis=0)
        by_step = (moved * is_real).sum(axis=0) / np.maximum(n_real, 1)
        hand = float(by_step[2 * n_real >= len(samples)].max())  # what few episodes still have is chance
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
        verdict = f"at the start the hand moves {start.hand:.2f} cm per cm of coordinate"
        verdict += f", at most {strongest.hand:.2f} ({100 * strongest.share:.0f} % of the way)"
    else:
        verdict = (
            f"at the start the chunk changes by {start.chunk:.3f} normalised action units per cm of coordinate, "
            f"at most {strongest.chunk:.3f} ({100 * strongest.share:.0f} % of the way); "
            "the arm's kinematics are not known, so not in centimetres of the hand"
        )
    warnings = []
    if measured.along is not None and measured.across is not None:
        verdict += (
            f"; where demonstrations differ most, {100 * measured.along:.0f} % of what they do, "
            f"and {100 * measured.across:.0f} % another way"
        )
        if measured.along < HARDLY and not obeys:
            warnings.append(("it hardly follows the coordinate", remedy))
        elif measured.along < SEES and obeys and sees:
            verdict += ": it looks for the block near the place that it is told"
        if measured.along >= TOO_FAR or measured.across >= ASTRAY:
            far = "too far" if measured.along >= TOO_FAR else "another way"
            warnings.append((f"it moves {far} with the coordinate", _TOO_MUCH))
    if warnings:
        verdict += f": {' and '.join(said for said, _ in warnings)}"
    return Finding(
        question="sensitivity",
        title="How far does the chunk move with the coordinate?",
        verdict=f"{verdict} ({measured.episodes} episodes)",
        severity="warning" if warnings else "fine",
        remedy="; then ".join(of for _, of in warnings),
        evidence={
            "episodes": measured.episodes,
            "gain_at_the_start": measured.gain,
            "demonstrated_gain_at_the_start": measured.demonstrated_gain,
            "gain_unit": "m of the hand per m" if knows_hand else "normalised action per m",
            "along_the_demonstrations": measured.along,
            "across_the_demonstrations": measured.across,
            "actions_are": "displacements of the hand [m, rad]" if measured.moves_hand else "as recorded",
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


_TOO_MUCH = (
    "demonstrations whose coordinates are true and spread over the table (foreact inspect maps them); then noise on "
    "them in training: --train.cue-noise 0.01"
)
