"""The control clock of a robot's loop: ticks on an absolute schedule."""

from __future__ import annotations

import logging
import time

from foreact_runtime.worth_saying import worth_saying

_log = logging.getLogger(__name__)


class Rate:
    """Ends each tick when it is due: one that takes a little long makes the next one shorter, so that the rate holds.

    Where the loop is more than a period behind, the schedule begins anew: ticks that were missed are not made up for
    in a rush.
    """

    def __init__(self, fps: float) -> None:
        """Begin the first tick now, of `fps` a second."""
        self.period = 1 / fps
        self._due = time.perf_counter() + self.period
        self.overruns = 0
        """Times that the schedule began anew."""

    def left(self) -> float:
        """Return what is left of this tick [s]; negative where it is over."""
        return self._due - time.perf_counter()

    def wait(self) -> None:
        """Sleep until this tick ends, and begin the next one."""
        left = self.left()
        self._due += self.period
        if left > 0:
            time.sleep(left)
        elif -left > self.period:
            self._due -= left
            self.overruns += 1
            if worth_saying(self.overruns):
                _log.warning(
                    "the loop is %.3f s behind its ticks of %.3f s, which begin anew (%d times so far)",
                    -left,
                    self.period,
                    self.overruns,
                )
