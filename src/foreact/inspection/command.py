"""Does the action lead the state? An action that equals the state means that nothing will move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from foreact.data.lags import BEFORE, EQUAL, HARDLY, SLOW_S, clear_minimum, distance_by_lag, lags_to_compare
from foreact.finding import Finding, Severity
from foreact.inspection.scale import Scale
from foreact.inspection.words import episodes_text
from foreact.records import Episode, Features

_OWN = 0.1
"""Seconds (and two frames) by which an episode's own lag may differ from the usual one."""
_GOES, _GOES_NOT = 0.9, 0.97
"""Correlation from which another joint's state goes with an action, and below which its own does not."""
_UNEXPLAINED = 0.3
"""What the other joint leaves unexplained, as a share of what the own one does."""
_TURNED = -0.8
"""Correlation of an action whose sign is the other one."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums over frames of all of an action (A) with all of a state (S): enough for their correlations."""

    n: int
    action: np.ndarray
    """(2, A): sum and sum of squares."""
    state: np.ndarray
    """(2, S)."""
    product: np.ndarray
    """(A, S)."""

    def __add__(self, other: Moments) -> Moments:
        """Return those of both together."""
        return Moments(
            n=self.n + other.n,
            action=self.action + other.action,
            state=self.state + other.state,
            product=self.product + other.product,
        )

    @property
    def correlation(self) -> np.ndarray:
        """(A, S); 0 where one of the two does not vary."""
        mean_a, mean_s = self.action[0] / self.n, self.state[0] / self.n
        of_a = np.maximum(self.action[1] / self.n - mean_a**2, 0)
        of_s = np.maximum(self.state[1] / self.n - mean_s**2, 0)
        size = np.sqrt(of_a[:, None] * of_s)
        covariance = self.product / self.n - mean_a[:, None] * mean_s
        return np.where(size > 1e-12, covariance / np.where(size > 1e-12, size, 1), 0.0)


@dataclass(frozen=True, kw_only=True)
class Command:
    """How one episode's action goes with its state."""

    lags: np.ndarray
    """Frames by which the state follows the action (K,)."""
    distance: np.ndarray
    """Mean |action(t) - state(t + lag)| by lag (K,), as a share of the state's mean step."""
    with_state: float
    """Median over the dimensions of the correlation of action and state."""
    with_late_state: float
    """The same with a later state, at the lag where it is largest."""
    with_step: float
    """The same with what the state does in the next frames."""
    action_size: float
    """Median over the dimensions of the action's mean size as a share of the state's spread."""
    moments: Moments

    @property
    def lag(self) -> float | None:
        """The clear minimum's lag [frames], between frames too; None where there is no clear one within the lags."""
        return clear_minimum(self.lags, self.distance)


def measure_command(episode: Episode, pairs: list[tuple[int, int]], scale: Scale, fps: float) -> Command | None:
    """Compare an episode's action with its state; None where the arm hardly moves or no dimensions pair.

    Args:
        episode: Finite numbers.
        pairs: From `paired_dimensions`.
        scale: Of the state.
        fps: Frames a second.
    """
    if episode.state is None:
        return None
    lags = lags_to_compare(episode.length, fps)
    pairs = [(a, s) for a, s in pairs if scale.step[s] > 0]
    if not pairs or lags is None:
        return None
    action = episode.action[:, [a for a, _ in pairs]].astype(np.float64)
    state = episode.state[:, [s for _, s in pairs]].astype(np.float64)
    of_a, of_s = episode.action.astype(np.float64), episode.state.astype(np.float64)
    moments = Moments(
        n=episode.length,
        action=np.stack([of_a.sum(axis=0), (of_a**2).sum(axis=0)]),
        state=np.stack([of_s.sum(axis=0), (of_s**2).sum(axis=0)]),
        product=of_a.T @ of_s,
    )
    step = np.abs(np.diff(state, axis=0)).mean(axis=0)
    moves = step > 0.05 * scale.step[[s for _, s in pairs]]
    if not moves.any():
        return None
    action, state = action[:, moves], state[:, moves]
    spread = scale.spread[[s for _, s in pairs]][moves]
    return Command(
        lags=lags,
        distance=distance_by_lag(action, state, lags),
        with_state=_correlation(action, state),
        with_late_state=max(_correlation(action[: len(state) - lag], state[lag:]) for lag in lags[BEFORE::2]),
        with_step=max(_correlation(action[:-lag], state[lag:] - state[:-lag]) for lag in (1, 2, 3)),
        action_size=float(np.median(np.abs(action).mean(axis=0) / np.maximum(spread, 1e-9))),
        moments=moments,
    )


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Median over the columns (L, D) of their correlations; 0 where a column does not vary."""
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    size = np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))
    return float(np.median((one * other).sum(axis=0) / np.where(size > 1e-12, size, np.inf)))


def judge_command(
    features: Features, pairs: list[tuple[int, int]], commands: Mapping[int, Command]
) -> tuple[Finding, Finding]:
    """Say whether the action leads the state, and whether it is a place or a displacement."""
    kind_title = "Is the action a place or a displacement?"
    if not commands:
        reason = "cannot tell: no dimension of the action is also one of the state, or nothing moves"
        return (
            _lead(reason, "note"),
            Finding(question="action_kind", title=kind_title, verdict=reason, severity="note"),
        )
    with_state = float(np.median([of.with_state for of in commands.values()]))
    with_step = float(np.median([of.with_step for of in commands.values()]))
    size = float(np.median([of.action_size for of in commands.values()]))
    with_late = float(np.median([of.with_late_state for of in commands.values()]))
    is_delta = with_step > max(0.5, with_state + 0.2, with_late) and size < 0.5
    with_state = max(with_state, with_late)
    kind = Finding(
        question="action_kind",
        title=kind_title,
        verdict=(
            f"displacements: they go with the state's next step (correlation {with_step:.2f}), not with the state "
            f"({with_state:.2f}); errors add up over a chunk"
            if is_delta
            else f"places: they go with the state (correlation {with_state:.2f})"
            if with_state > 0.5
            else f"cannot tell: correlation {with_state:.2f} with the state, {with_step:.2f} with its step"
        ),
        severity="warning" if is_delta else "fine" if with_state > 0.5 else "note",
        remedy="record absolute joint positions if you can; otherwise keep --policy.n-action-steps small and do not "
        "use --policy.temporal-ensemble-coeff across a chunk"
        if is_delta
        else "",
        evidence={"correlation_with_state": with_state, "correlation_with_step": with_step, "is_delta": is_delta},
    )
    if is_delta:
        return _lead("displacements do not lie near the state, so there is no lag to measure", "note"), kind
    return _judge_lead(features, pairs, commands, with_state, with_step), kind


def _lead(verdict: str, severity: Severity, remedy: str = "", evidence: Mapping[str, object] | None = None) -> Finding:
    return Finding(
        question="action",
        title="Does the action lead the state?",
        verdict=verdict,
        severity=severity,
        remedy=remedy,
        evidence=evidence or {},
    )


def _judge_lead(
    features: Features,
    pairs: list[tuple[int, int]],
    commands: Mapping[int, Command],
    with_state: float,
    with_step: float,
) -> Finding:
    """Judge the worst that is so: another joint's action, none at all, the state itself, late, slow, or out of step."""
    fps = features.fps
    shared = min(len(of.lags) for of in commands.values())
    lags = next(iter(commands.values())).lags[:shared]
    curve = np.median([of.distance[:shared] for of in commands.values()], axis=0)
    equal = [index for index, of in commands.items() if of.distance[BEFORE] < EQUAL]
    known = {index: lag for index, of in commands.items() if (lag := of.lag) is not None}
    lag = float(np.median(list(known.values()))) if 2 * len(known) > len(commands) else clear_minimum(lags, curve)
    crossed = _crossed(features, pairs, commands)
    evidence: dict[str, object] = {
        "episodes": [],
        "lag_frames": lag,
        "lag_s": None if lag is None else lag / fps,
        "lags_frames": lags.tolist(),
        "distance_by_lag_in_steps": curve.tolist(),
        "lag_frames_by_episode": {str(index): round(of, 2) for index, of in known.items()},
    }
    shift = "record the leader's command as the action, or shift the action forward before training"
    if crossed:
        said = "; ".join(crossed)
        remedy = "correct the order and the signs of the action's or the state's names where they are recorded"
        return _lead(f"no: {said}", "fault", remedy, evidence | {"episodes": list(commands)})
    if equal:
        return _lead(
            f"no: in {episodes_text(equal)} the action is the state itself, so a policy that learns it tells the arm "
            "to stay where it is",
            "fault",
            shift,
            evidence | {"episodes": equal},
        )
    if with_state < 0.5 and with_step < 0.5:
        return _lead(
            f"the action goes neither with the state (correlation {with_state:.2f}) nor with its step "
            f"({with_step:.2f}): forces, another arm's commands, or noise",
            "warning",
            "check that action and state are of the same arm and recorded at the same time",
            evidence | {"episodes": list(commands)},
        )
    if (lag is None and curve.argmin() == 0) or (lag is not None and lag < -0.5):
        least = f"at least {BEFORE}" if lag is None else f"{-lag:.1f}"
        return _lead(
            f"no: the action repeats what the state was {least} frames before, so the arm is told to go back",
            "fault",
            shift,
            evidence | {"episodes": list(commands)},
        )
    if lag is None:
        if curve.argmin() == shared - 1:
            return _lead(
                f"the state is nearest to the action of {lags[-1]} frames ({lags[-1] / fps:.1f} s) before, or of more: "
                "the two are not recorded at the same time, or the arm hardly follows",
                "warning",
                "compare the clocks of action and state where they are recorded",
                evidence | {"episodes": list(commands)},
            )
        return _lead("cannot tell: the state is not clearly nearest to the action of any time", "note", "", evidence)
    text = f"{lag:.1f} frame{'s' if lag != 1 else ''} ({1000 * lag / fps:.0f} ms)"
    usual = [of for of in known.values() if abs(of - lag) <= 1]
    apart = [index for index, of in known.items() if abs(of - lag) >= max(2.0, _OWN * fps)]
    if apart and len(usual) >= 0.6 * len(known):
        values = ", ".join(f"{known[index]:.1f}" for index in apart[:6])
        return _lead(
            f"in {episodes_text(apart)} the state follows after {values} frames, usually after {text}: action and "
            "state are shifted there",
            "warning",
            "shift the action back where it was recorded, or leave these episodes out",
            evidence | {"episodes": apart},
        )
    if lag / fps > SLOW_S:
        return _lead(
            f"late: the state is where the action said only after {text}: a slow arm, or an action that was shifted",
            "warning",
            "compare the clocks of action and state where they are recorded",
            evidence | {"episodes": list(commands)},
        )
    if lag < HARDLY:
        return _lead(
            "hardly: the state is nearest to the action of the same frame, so the action says where the arm is already",
            "warning",
            shift,
            evidence | {"episodes": list(commands)},
        )
    return _lead(f"yes: the state is where the action said after {text}", "fine", "", evidence)


def _crossed(features: Features, pairs: list[tuple[int, int]], commands: Mapping[int, Command]) -> list[str]:
    """Return which actions go with another joint's state than their own, or against their own."""
    moments = list(commands.values())
    total = moments[0].moments
    for of in moments[1:]:
        total += of.moments
    correlation = total.correlation
    states = [s for _, s in pairs]
    found = []
    for a, own in pairs:
        of_own, best = correlation[a, own], max(states, key=lambda s: correlation[a, s])
        of_best = correlation[a, best]
        if of_own == 0:
            continue  # one of the two never moves, which is another question
        name = features.action_names[a]
        if of_best > _GOES and of_own < _GOES_NOT and 1 - of_best < _UNEXPLAINED * (1 - of_own):
            found.append(
                f"the action '{name}' goes with the state '{features.state_names[best]}' (correlation {of_best:.2f}), "
                f"not with its own ({of_own:.2f})"
            )
        elif of_own < _TURNED:
            found.append(f"the action '{name}' goes against its state (correlation {of_own:.2f}): another sign")
    return found
