"""Do the policy's actions belong to the frames that they are predicted for? The classic fault is to be off by one.

The predictions are compared with the demonstrations some frames earlier and later. A policy that was trained on
actions shifted by a frame matches best a frame off, at each step of its chunks. One that has learned little may match
best anywhere, but at another place at each step: it is not accused. A policy that is examined on the very data that it
was trained on agrees with them, shifted or not; then the data's own lead of the action over the state speaks
(`lead.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.data.dimensions import is_gripper
from foreact.diagnose.lead import Lead, lead_in_words
from foreact.diagnose.replay import Replay, action_scale, on_what
from foreact.finding import Finding, Severity
from foreact.policy.policy import Policy

FARTHEST = 3
"""Frames either way."""
STEPS = 16
"""Steps of a chunk that are compared, the first ones: far ahead a prediction is too inexact to be dated."""
SURE = 0.975
"""Share of the draws of episodes in which another lag must match better before anything is accused."""
APART = 0.75
"""Frames by which the commands' lead over the state may differ between two data sets."""
_DRAWS = 300
_WORST_FIRST: tuple[Severity, ...] = ("fault", "warning", "note", "fine")
"""What cannot be told comes before what is well."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shift:
    """What was measured; positive where the policy is ahead."""

    lags: np.ndarray
    """(G,) frames."""
    distance: np.ndarray
    """(2, E, G): of predicted from demonstrated actions by lag, in standard deviations, for the first and the second
    half of the chunks' steps and each episode."""
    on: str

    @property
    def curve(self) -> np.ndarray:
        """(G,): the distances' mean."""
        return np.asarray(self.distance.mean(axis=(0, 1)))

    @property
    def shifted(self) -> int | None:
        """By how many frames the actions are off: 0 where they match best at their own, None where it cannot be told.

        Both halves of the chunks must match best at the same other lag, and better than at their own frames whichever
        episodes are drawn.
        """
        own = FARTHEST
        best = int(self.curve.argmin())
        if best == own:
            return 0
        by_episode = self.distance.mean(axis=0)
        gain = by_episode[:, own] - by_episode[:, best]
        draws = np.random.default_rng(0).choice(gain, size=(_DRAWS, len(gain))).mean(axis=1)
        agree = set(self.distance.mean(axis=1).argmin(axis=1)) == {best}
        is_end = best in (0, len(self.lags) - 1)
        return int(self.lags[best]) if agree and not is_end and (draws > 0).mean() >= SURE else None


def measure_shift(policy: Policy, replays: Sequence[Replay]) -> Shift | None:
    """Measure; None where chunks are one step long, no episode is long enough or nothing moves.

    Args:
        policy: Whose replays they are.
        replays: At least one.
    """
    scale = action_scale(replays, policy.config.narrowest)
    distance = [of for replay in replays if (of := _distances(policy, replay, scale)) is not None]
    if not distance:
        return None
    return Shift(
        lags=np.arange(-FARTHEST, FARTHEST + 1),
        distance=np.stack(distance, axis=1),
        on=on_what(replays),
    )


def _distances(policy: Policy, of: Replay, scale: np.ndarray) -> np.ndarray | None:
    """One episode's distances (2, G) by lag, in the first and in the second half of the steps."""
    names = policy.features.action_names
    dims = [d for d, name in enumerate(names) if np.isfinite(scale[d]) and not is_gripper(policy.features, name)]
    steps = min(STEPS, policy.config.chunk_size)
    if steps < 2:  # one step matches best a frame off also where it only repeats the state
        return None
    inside = (of.ticks >= FARTHEST) & (of.ticks + steps + FARTHEST <= of.episode.length)
    if not inside.any() or not dims:
        return None
    where = of.ticks[inside, None] + np.arange(steps)
    predicted, action = of.actions[inside, :steps].astype(np.float64), of.episode.action.astype(np.float64)
    by_lag = np.stack(
        [
            (np.abs(predicted - action[where + lag]) / scale)[..., dims].mean(axis=(0, 2))
            for lag in range(-FARTHEST, FARTHEST + 1)
        ]
    )  # (G, steps)
    middle = max(1, steps // 2)
    return np.stack([by_lag[:, :middle].mean(axis=1), by_lag[:, -middle:].mean(axis=1)])


def judge_shift(measured: Shift | None, lead: Lead | None = None, trained_lead: Lead | None = None) -> Finding:
    """Put it into words, the worst first.

    Args:
        measured: Of the predictions.
        lead: Of the action over the state in the data that it is examined on; None where it cannot be told.
        trained_lead: The same in the data that it was trained on, where these are others that can be read.
    """
    answers = [_predictions_in_words(measured)]
    if lead is not None and trained_lead is not None and abs(trained_lead.frames - lead.frames) > APART:
        answers.append(
            (
                f"actions shifted: in these data the state follows the action after {lead.text}, in those it was "
                f"trained on after {trained_lead.text}",
                "fault",
            )
        )
    if lead is not None:
        answers.append(lead_in_words(lead))
    answers.sort(key=lambda answer: _WORST_FIRST.index(answer[1]))
    severity = answers[0][1]
    return Finding(
        question="shift",
        title="Do its actions belong to the frames that they are predicted for?",
        verdict="; ".join(words for words, _ in answers),
        severity=severity,
        remedy="action t must be the command that is sent right after observation t is taken: see with foreact inspect "
        "how it leads the state in each episode and data set; read actions that were stored early with "
        "--source.action-lag (ALOHA files) or write them anew, and train again"
        if severity in ("fault", "warning")
        else "",
        evidence={
            "state_follows_action_after_frames": None if lead is None else lead.frames,
            "state_is_exactly_the_action_then": None if lead is None else lead.is_exact,
            "state_follows_action_in_the_training_data_after_frames": None
            if trained_lead is None
            else trained_lead.frames,
        }
        | (
            {}
            if measured is None
            else {
                "episodes": measured.on,
                "shifted_by_frames": measured.shifted,
                "lag_frames": measured.lags.tolist(),
                "distance_in_standard_deviations_by_lag": measured.curve.tolist(),
                "first_and_second_half_of_the_chunk_by_lag": measured.distance.mean(axis=1).tolist(),
            }
        ),
    )


def _predictions_in_words(measured: Shift | None) -> tuple[str, Severity]:
    """Say at which lag the predictions match the demonstrations."""
    if measured is None:
        return "cannot tell of the predictions: chunks are one step long, episodes too short, or nothing moves", "note"
    shifted = measured.shifted
    if shifted is None:
        return "cannot tell: the predictions match the demonstrations best at no one lag", "note"
    if shifted == 0:
        return "the predictions match the demonstrations best at their own frames", "fine"
    return (
        f"actions shifted: the predictions match the demonstrations best {abs(shifted)} "
        f"frame{'s' * (abs(shifted) > 1)} {'later' if shifted > 0 else 'earlier'}, at every step of the chunk",
        "fault",
    )
