"""Exact statistics of vectors over episodes, and the check that every number is one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreact.errors import DataError
from foreact.records import Episode, Features, Statistics, VectorStatistics
from foreact_runtime import keys


def compute_statistics(episodes: Sequence[Episode]) -> Statistics:
    """Return exact statistics over all frames of some episodes, in float64: hand in the training split only.

    Unlike the statistics stored in a LeRobotDataset, the quantiles are those of all frames together (linear between
    neighbours) and the held-out episodes do not count.

    Raises:
        DataError: If there are no episodes.
    """
    if not episodes:
        raise DataError("there are no episodes to compute statistics of")
    return {
        key: statistics_of([vectors(episode)[key] for episode in episodes])
        for key in (keys.STATE, keys.ENVIRONMENT_STATE, keys.ACTION)
        if key in vectors(episodes[0])
    }


ROBOT = "robot."
"""Before a key: statistics of the robot's own vectors, where the network sees others (`frame`)."""
STEP = "robot.action.step"
"""Largest change of the action from one tick to the next, an episode a row."""
JUMP = "robot.action.jump"
"""Largest growth of that change from one tick to the next, an episode a row."""
LEAD = "robot.action.lead"
"""Largest distance of the action from the state's dimension of the same name, an episode a row; 0 without one."""

LOW, HIGH = ".low", ".high"
"""After `ROBOT` and a key: the lowest and the highest value, an episode a row."""
_MANY = 10
"""Episodes from which on one of them may be left out."""


def robot_statistics(episodes: Sequence[Episode], features: Features) -> Statistics:
    """Return what limits and alarms are learned from: how the robot was commanded, and what it saw (docs/executor.md).

    Of what is counted an episode a row, the one that goes furthest is left out where there are many, for it may hold a
    glitch; it stays where no other one moves the dimension at all.

    Raises:
        DataError: If there are no episodes.
    """
    of_robot = {f"{ROBOT}{key}": of for key, of in compute_statistics(episodes).items()}
    steps, jumps, leads = [], [], []
    for episode in episodes:
        action = episode.action.astype(np.float64)
        step = np.diff(action, axis=0, prepend=action[:1])
        growth = np.maximum(step[1:] - np.maximum(step[:-1], 0), np.minimum(step[:-1], 0) - step[1:])
        steps.append(np.abs(step).max(axis=0))
        jumps.append(growth.max(axis=0, initial=0))
        lead = np.zeros(action.shape[1])
        for place, name in enumerate(features.action_names):
            if episode.state is not None and name in features.state_names:
                state = episode.state[:, features.state_names.index(name)]
                lead[place] = np.abs(action[:, place] - state).max()
        leads.append(lead)
    largest = {STEP: np.stack(steps), JUMP: np.stack(jumps), LEAD: np.stack(leads)}
    rows = {key: _but_highest(of, moves=of > 0) for key, of in largest.items()}
    for key in vectors(episodes[0]):
        parts = [vectors(episode)[key] for episode in episodes]
        high, low = (np.stack([end(part, axis=0) for part in parts]) for end in (np.max, np.min))
        rows[f"{ROBOT}{key}{HIGH}"] = _but_highest(high, moves=high > low)
        rows[f"{ROBOT}{key}{LOW}"] = -_but_highest(-low, moves=high > low)
    return {**of_robot, **{key: statistics_of([of]) for key, of in rows.items()}}


def _but_highest(rows: np.ndarray, *, moves: np.ndarray) -> np.ndarray:
    """Leave each dimension's highest number (N, D) out, but where in no other episode it moves or is elsewhere."""
    if len(rows) < _MANY:
        return rows
    ordered = np.sort(rows, axis=0)
    others = (moves.sum(axis=0) > 1) | (ordered[-2] > ordered[0])
    return np.where(others, ordered[:-1], ordered[1:])


def vectors(episode: Episode) -> dict[str, np.ndarray]:
    """Return the vectors that an episode has, by key, each (L, D)."""
    of = {
        keys.STATE: episode.state,
        keys.ENVIRONMENT_STATE: episode.environment_state,
        keys.ACTION: episode.action,
    }
    return {key: value for key, value in of.items() if value is not None}


def names_of(features: Features) -> dict[str, tuple[str, ...]]:
    """Return the names of the vectors' dimensions by key."""
    return {
        keys.STATE: features.state_names,
        keys.ENVIRONMENT_STATE: features.environment_names,
        keys.ACTION: features.action_names,
    }


def statistics_of(parts: Sequence[np.ndarray]) -> VectorStatistics:
    """Return exact statistics, in float64, over the rows of all parts (N, D)."""
    of_columns = []
    for dim in range(parts[0].shape[1]):  # one at a time, so that the copy in float64 stays small
        column = np.concatenate([part[:, dim] for part in parts]).astype(np.float64)
        low, high = column.min(), column.max()
        # The mean of equal numbers may differ from them in the last bit; a constant dimension has std 0.
        std = 0.0 if low == high else column.std()
        of_columns.append((column.mean(), std, low, high, *np.quantile(column, (0.01, 0.99))))
    mean, std, low, high, q01, q99 = np.array(of_columns).T
    count = sum(len(part) for part in parts)
    return VectorStatistics(mean=mean, std=std, min=low, max=high, q01=q01, q99=q99, count=count)


def check_episode(episode: Episode, whose: str) -> None:
    """Refuse an episode with a number that is not finite.

    Args:
        episode: To be checked.
        whose: The episode, for the message.

    Raises:
        DataError: Naming episode, key, frame and dimension of the first such number.
    """
    for key, values in vectors(episode).items():
        check_finite(values, key, whose)


def check_finite(values: np.ndarray, key: str, whose: str) -> None:
    """Refuse vectors (L, D) with a number that is not finite; raises like `check_episode`."""
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        frame, dim = wrong[0]
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise DataError(
            f"{whose}: '{key}' is {values[frame, dim]} at frame {frame}, dimension {dim}{more}; "
            "leave the episode out or record it again"
        )
