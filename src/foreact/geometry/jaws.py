"""Does the arm's `gripper_closed` tell closed jaws from open ones? The recorded values of the gripper say so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreact.records import Arm

_GLITCHES = 0.001
"""Share of the frames at either end that may be an encoder's glitches."""
_OUTER = 0.01
"""Share of the frames at either end that does not make a level."""
_APART = 0.7
"""Two levels leave at most 30 % of the variance; of noise around one level the best two leave 36 % (1 - 2 / pi)."""
_MOVES = 0.05
"""Two levels are at least so far apart, as a share of the largest value: less is a tick or two of an encoder."""


@dataclass(frozen=True, kw_only=True)
class Misplaced:
    """A `gripper_closed` by which the jaws never, or always, count as closed."""

    arm: Arm
    low: float
    """Range of the gripper's values without glitches, in the data's unit."""
    high: float
    levels: tuple[float, float] | None
    """Where the jaws usually are when closed and open; None where they hardly move."""

    @property
    def always(self) -> bool:
        """Whether the jaws always count as closed; otherwise they never do."""
        return self.high < self.arm.gripper_closed

    @property
    def proposed(self) -> float | None:
        """Halfway between the levels."""
        return None if self.levels is None else (self.levels[0] + self.levels[1]) / 2

    @property
    def said(self) -> str:
        """What is wrong, in words."""
        return (
            f"the jaws {'always' if self.always else 'never'} count as closed: the arm's gripper_closed is "
            f"{self.arm.gripper_closed:g}, and '{self.arm.gripper}' is between {self.low:.4g} and {self.high:.4g}"
        )

    @property
    def remedy(self) -> str:
        """What to write instead."""
        if self.levels is None:
            return f"it hardly moves: where its jaws hold nothing, set gripper_closed below {self.low:.4g}"
        closed, opened = self.levels
        return f"set gripper_closed to {self.proposed:.4g}, halfway between its levels {closed:.4g} and {opened:.4g}"


def find_misplaced(arm: Arm, values: np.ndarray) -> Misplaced | None:
    """Return what is wrong with the arm's `gripper_closed` given values (N,) of its gripper over all episodes.

    None where the jaws count as closed in some frames and as open in others; where no value is known; and where they
    never count as closed but hardly move, for something may be pushed.
    """
    values = values[np.isfinite(values)].astype(np.float64)
    if not len(values):
        return None
    low, high = np.quantile(values, (_GLITCHES, 1 - _GLITCHES), method="nearest").tolist()
    found = Misplaced(arm=arm, low=low, high=high, levels=two_levels(values))
    never = low >= arm.gripper_closed
    return found if found.always or (never and found.levels is not None) else None


def two_levels(values: np.ndarray) -> tuple[float, float] | None:
    """Return the lower and the upper of the two levels that values (N,) are around; None where there is only one.

    They are divided where that leaves the least variance within both parts (Otsu, 1979).
    """
    values = np.sort(values[np.isfinite(values)].astype(np.float64))
    if not len(values):
        return None
    low, high = np.quantile(values, (_OUTER, 1 - _OUTER), method="nearest")
    if high - low <= _MOVES * max(abs(low), abs(high)):
        return None
    inner = np.clip(values, low, high)
    n, before = len(inner), np.arange(1, len(inner))
    sums = np.cumsum(inner)
    step = sums[:-1] / before - (sums[-1] - sums[:-1]) / (n - before)
    between = before * (n - before) / n**2 * step**2
    cut = int(between.argmax())
    if between[cut] < _APART * inner.var():
        return None
    return float(np.median(inner[: cut + 1])), float(np.median(inner[cut + 1 :]))
