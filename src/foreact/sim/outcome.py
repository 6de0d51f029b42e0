"""What became of an episode: exactly one of seven names, from a few facts a control step.

Knows nothing of MuJoCo, so that it can be fed by hand.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Outcome = Literal["success", "confuser_in_bowl", "picked_confuser", "never_picked", "dropped", "missed_bowl", "timeout"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
"""In the order in which they are asked for: the first that holds is the episode's."""

RAISED = 0.03
"""Height [m] above its place on the table from which a block counts as picked."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is true after one control step."""

    target_in_bowl: bool
    confuser_in_bowl: bool
    """Any of them."""
    target_lift: float
    """Height [m] of the target above its place on the table."""
    confuser_lift: float
    """Likewise, of the highest confuser; 0 where there is none."""
    target_held: bool
    """It touches both jaws."""
    at_rest: bool
    """No block moves."""
    gripper_open: bool
    """The jaws are wider apart than a block."""
    release_commanded: bool
    """The command asks for jaws wider apart than a block."""


class OutcomeTracker:
    """Follows an episode: two outcomes cannot be undone and end it, the others are judged when time is up."""

    def __init__(self) -> None:
        self._target_raised = False
        self._confuser_raised = False
        self._target_lost: Outcome | None = None
        self._target_in_bowl = False
        self._confuser_in_bowl = False

    def update(self, facts: Facts) -> Outcome | None:
        """Take in one control step.

        Returns:
            `success` or `confuser_in_bowl` once that is final: in the bowl, let go and at rest; else None.
        """
        self._target_raised |= facts.target_lift > RAISED
        self._confuser_raised |= facts.confuser_lift > RAISED
        self._target_in_bowl, self._confuser_in_bowl = facts.target_in_bowl, facts.confuser_in_bowl
        if facts.target_held:
            self._target_lost = None  # picked up (again)
        elif self._target_raised and self._target_lost is None:
            self._target_lost = "missed_bowl" if facts.release_commanded else "dropped"
        if not (facts.gripper_open and facts.at_rest):
            return None
        if facts.target_in_bowl:
            return "success"
        return "confuser_in_bowl" if facts.confuser_in_bowl else None

    def judge(self) -> Outcome:
        """Return the outcome of an episode whose time is up without success."""
        if self._confuser_in_bowl:
            return "confuser_in_bowl"
        if not self._target_raised:
            return "picked_confuser" if self._confuser_raised else "never_picked"
        if self._target_in_bowl:
            return "timeout"  # not let go, or not yet at rest
        return self._target_lost or "timeout"


def closing_offsets(jaws: np.ndarray, target: np.ndarray, confusers: np.ndarray) -> tuple[float, float]:
    """Return how far from the target and from the nearest confuser the jaws close [mm]; infinite without confusers.

    Args:
        jaws: Middle between the jaws (2,) [m].
        target: Position of the target (2,) [m].
        confusers: Positions of the confusers (n, 2) [m].
    """
    distances = 1000 * np.linalg.norm(confusers - jaws, axis=1)
    return 1000 * float(np.linalg.norm(target - jaws)), float(distances.min()) if len(distances) else float("inf")
