"""What an arm may be told: position, velocity and jump of each dimension of the action, applied last."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from foreact_runtime.errors import ActionError
from foreact_runtime.worth_saying import worth_saying

_log = logging.getLogger(__name__)

Bounds = tuple[float | None, ...]
"""One a dimension, None where there is none; empty where no dimension has one."""
KINDS = ("position", "lead", "velocity", "jump")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of the actions (A,) in the robot's units. Where lower and upper are equal, a dimension is pinned."""

    lower: Bounds = ()
    upper: Bounds = ()
    velocity: Bounds = ()
    """Largest change of the command [unit/s]."""
    jump: Bounds = ()
    """How much the velocity may grow from one tick to the next [unit/s]. Slowing down is always allowed, so that
    no limit carries a command beyond what was asked for."""
    lead: Bounds = ()
    """How far the first command may be from where its dimension is measured [unit]."""


class Limiter:
    """Limits one action a tick, and counts and logs what it limited.

    Velocity and jump are relative to the last action that was sent. For the first action there is none: it is limited
    relative to where the arm is measured, if that is known.
    """

    def __init__(self, limits: Limits, names: tuple[str, ...], fps: float) -> None:
        """Take the limits, the names of the action's dimensions, and the ticks a second."""
        n = len(names)
        self._names = names
        self._lower = _array(limits.lower, -np.inf, n)
        self._upper = _array(limits.upper, np.inf, n)
        self._step = _array(limits.velocity, np.inf, n) / fps
        self._growth = _array(limits.jump, np.inf, n) / fps
        self._lead = _array(limits.lead, np.inf, n)
        self._is_pinned = self._lower == self._upper
        self._sent = np.full(n, np.nan)
        self._moved = np.zeros(n)
        self.counts = np.zeros((len(KINDS), n), np.int64)
        """How often each kind of limit (rows, in the order of `KINDS`) changed each dimension, since this was made."""
        self.pinned = np.zeros(n, np.int64)
        """How often each pinned dimension was kept in its place. That is no alarm, for what a network predicts of a
        constant wavers, and so it is not in `counts` and `ticks`."""
        self.ticks = 0
        """Ticks in which any dimension that is not pinned was limited, since this was made."""

    def limit(self, asked: np.ndarray, measured: np.ndarray | None = None) -> np.ndarray:
        """Return what may be sent (A,), float32: bit for bit what was asked for where that is within the limits.

        Args:
            asked: (A,).
            measured: Where the dimensions are now (A,), nan where that is not known; for the first action only.

        Raises:
            ActionError: If an action is not finite: nothing must be sent.
        """
        goal = np.asarray(asked, np.float64)
        self.check_finite(goal)
        begins = np.isnan(self._sent)
        at = np.full(len(goal), np.nan) if measured is None else measured
        lead = np.where(begins & np.isfinite(at), self._lead, np.inf)
        at, before = np.where(np.isfinite(at), at, goal), np.where(begins, goal, self._sent)
        step, growth = (np.where(begins, np.inf, of) for of in (self._step, self._growth))
        bounds = (
            ("position", self._lower, self._upper),
            ("lead", at - lead, at + lead),
            ("velocity", before - step, before + step),
            ("jump", before + np.minimum(self._moved, 0) - growth, before + np.maximum(self._moved, 0) + growth),
        )
        sent, why = goal, np.full(len(goal), -1)
        # The position comes first: an arm that begins outside of its range is led back as fast as the others allow.
        for kind, low, high in bounds:
            cut = np.clip(sent, low, high)
            why = np.where(np.abs(cut - sent) > 1e-6 * (1 + np.abs(sent)), KINDS.index(kind), why)
            sent = cut
        limited = why >= 0
        sent = np.where(limited, sent, goal)
        self._note(goal, sent, why)
        self._moved = np.where(begins, 0, sent - self._sent)
        self._sent = sent
        return np.where(limited, sent, asked).astype(np.float32)

    def check_finite(self, values: np.ndarray) -> None:
        """Refuse actions (A,) or what becomes actions, (T, C), that are not all finite.

        Raises:
            ActionError: If they are not.
        """
        wrong = np.argwhere(~np.isfinite(values))
        if len(wrong):
            place = wrong[0][-1]
            is_action = values.shape[-1] == len(self._names)
            raise ActionError(
                f"the policy asks for {repr(self._names[place]) if is_action else f'column {place} of a hand pose'} "
                f"to be {values[tuple(wrong[0])]}: its weights or an input are damaged; hold the arm and check them"
            )

    def _note(self, asked: np.ndarray, sent: np.ndarray, why: np.ndarray) -> None:
        """Count and log; each dimension's first limited action, second, fourth, eighth and so on for all to see."""
        limited = why >= 0
        self.ticks += bool((limited & ~self._is_pinned).any())
        for place in np.flatnonzero(limited):
            if self._is_pinned[place]:
                self.pinned[place] += 1
                times, kind, level = int(self.pinned[place]), "pinned", logging.INFO
            else:
                self.counts[why[place], place] += 1
                times, kind, level = int(self.counts[:, place].sum()), f"{KINDS[why[place]]} limit", logging.WARNING
            _log.log(
                level if worth_saying(times) else logging.DEBUG,
                "limited '%s': asked %.4g, sent %.4g (%s, %d times so far)",
                self._names[place],
                asked[place],
                sent[place],
                kind,
                times,
            )

    def hold(self) -> None:
        """Note that the last action was sent again: the arm came to rest."""
        self._moved = np.zeros(len(self._names))

    def reset(self, held: np.ndarray | None = None) -> None:
        """Begin anew from wherever the arm is; the counts go on.

        Args:
            held: Where dimensions are held that are not measured (A,), nan for all others.
        """
        self._sent = np.full(len(self._names), np.nan) if held is None else np.asarray(held, np.float64)
        self._moved = np.zeros(len(self._names))


def _array(bounds: Bounds, none: float, n: int) -> np.ndarray:
    assert len(bounds) in (0, n), f"{len(bounds)} bounds for {n} dimensions"
    return np.array([none if of is None else of for of in bounds] or [none] * n, np.float64)
