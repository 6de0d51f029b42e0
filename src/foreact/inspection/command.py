"""Does the action lead the state? An action that equals the state means that nothing will move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from foreact.finding import Finding
from foreact.inspection.scale import Scale
from foreact.inspection.words import episodes_text, is_gripper
from foreact.records import Episode, Features

LAGS = range(-3, 16)
"""Frames by which the state follows the action."""
_EQUAL = 0.02
"""Mean distance of action and state, as a share of the state's mean step, below which they are the same."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """How one episode's action goes with its state."""

    distance: np.ndarray
    """Mean |action(t) - state(t + lag)| by lag, as a share of the state's mean step."""
    with_state: float
    """Median over the dimensions of the correlation of action and state."""
    with_step: float
    """The same with what the state does in the next frames."""
    action_size: float
    """Median over the dimensions of the action's mean size as a share of the state's spread."""


def paired_dimensions(features: Features) -> list[tuple[int, int]]:
    """Return (action, state) dimensions that mean the same joint: by name, else by place where the sizes agree."""
    state = {name: dim for dim, name in enumerate(features.state_names)}
    pairs = [(dim, state[name]) for dim, name in enumerate(features.action_names) if name in state]
    if not pairs and features.action_dim == features.state_dim:
        pairs = [(dim, dim) for dim in range(features.action_dim)]
    return [pair for pair in pairs if not is_gripper(features, features.action_names[pair[0]])]


def measure_command(episode: Episode, pairs: list[tuple[int, int]], scale: Scale) -> Command | None:
    """Compare an episode's action with its state; None where the arm hardly moves or no dimensions pair.

    Args:
        episode: Finite numbers.
        pairs: From `paired_dimensions`.
        scale: Of the state.
    """
    if episode.state is None:
        return None
    last = len(episode.state) - LAGS.stop  # where the latest state that is compared with lies
    first = -LAGS.start
    pairs = [(a, s) for a, s in pairs if scale.step[s] > 0]
    if not pairs or last - first < 5:
        return None
    action = episode.action[:, [a for a, _ in pairs]].astype(np.float64)
    state = episode.state[:, [s for _, s in pairs]].astype(np.float64)
    step = np.abs(np.diff(state, axis=0)).mean(axis=0)
    moves = step > 0.05 * scale.step[[s for _, s in pairs]]
    if not moves.any():
        return None
    action, state, step = action[:, moves], state[:, moves], step[moves]
    spread = scale.spread[[s for _, s in pairs]][moves]
    told = action[first:last]
    return Command(
        distance=np.array([float((np.abs(told - state[first + lag : last + lag]) / step).mean()) for lag in LAGS]),
        with_state=_correlation(action, state),
        with_step=max(_correlation(action[:-lag], state[lag:] - state[:-lag]) for lag in (1, 2, 3)),
        action_size=float(np.median(np.abs(action).mean(axis=0) / np.maximum(spread, 1e-9))),
    )


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Median over the columns (L, D) of their correlations; 0 where a column does not vary."""
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    size = np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))
    return float(np.median((one * other).sum(axis=0) / np.where(size > 1e-12, size, np.inf)))


def judge_command(fps: float, commands: Mapping[int, Command]) -> tuple[Finding, Finding]:
    """Say whether the action leads the state, and whether it is a place or a displacement."""
    lead_title, kind_title = "Does the action lead the state?", "Is the action a place or a displacement?"
    if not commands:
        reason = "cannot tell: no dimension of the action is also one of the state, or nothing moves"
        return (
            Finding(question="action", title=lead_title, verdict=reason, severity="note"),
            Finding(question="action_kind", title=kind_title, verdict=reason, severity="note"),
        )
    with_state = float(np.median([of.with_state for of in commands.values()]))
    with_step = float(np.median([of.with_step for of in commands.values()]))
    size = float(np.median([of.action_size for of in commands.values()]))
    is_delta = with_step > 0.5 and with_step > with_state + 0.2 and size < 0.5
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
        verdict = "displacements do not lie near the state, so there is no lag to measure"
        return Finding(question="action", title=lead_title, verdict=verdict, severity="note"), kind
    zero = -LAGS.start
    curve = np.median([of.distance for of in commands.values()], axis=0)
    equal = [index for index, of in commands.items() if of.distance[: zero + 1].min() < _EQUAL]
    lag = LAGS[int(curve.argmin())]
    late = lag < 0 and curve.min() < 0.5 * curve[zero + 1]
    lag_text = f"{lag} frame{'s' if lag != 1 else ''} ({1000 * lag / fps:.0f} ms)"
    verdict = f"yes: the state is where the action said after {lag_text}"
    if lag == 0:
        verdict = "hardly: the state is nearest to the action of the same frame"
    if equal:
        verdict = (
            f"no: in {episodes_text(equal)} the action is the state itself, so a policy that learns it tells the arm "
            "to stay where it is"
        )
    elif late:
        verdict = f"no: the action repeats what the state was {-lag} frame(s) before, so the arm is told to go back"
    return (
        Finding(
            question="action",
            title=lead_title,
            verdict=verdict,
            severity="fault" if equal or late else "fine",
            remedy="record the leader's command as the action, or shift the action one frame or more forward before "
            "training"
            if equal or late
            else "",
            evidence={
                "episodes": equal if equal else list(commands) if late else [],
                "lag_frames": lag,
                "lag_s": lag / fps,
                "lags_frames": list(LAGS),
                "distance_by_lag_in_steps": curve.tolist(),
            },
        ),
        kind,
    )
