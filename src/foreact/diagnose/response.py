"""How the demonstrations answer to the coordinate: what a policy's answer is measured against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreact.diagnose.probe import Chunks, Probe

ENOUGH = 5
"""Episodes from which a response can be fitted: three coefficients and something left over."""
MANY = 20
"""Episodes from which a fit that explains little speaks against the coordinates. With fewer the starting states cannot
be told apart from the answer, and true coordinates may explain a fifth of it."""
_NOTHING = 1e-18
"""Sum of squares that is only rounding."""
LEAST_EXPLAINED = 0.3
"""Share of the demonstrations' variance that the coordinate must explain for a policy to be judged by it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Response:
    """The demonstrations' chunks at the first frames as a linear function of the coordinate, by least squares.

    The starting state is another regressor, so that where the arm happened to start is not taken for an answer.
    """

    slope: np.ndarray
    """(T, D, 2): what a point of the chunk does for each metre of x and of y; `points` says what D is."""
    cue_alone: np.ndarray
    """(N, 2): the part of the episodes' coordinates that their starting states do not tell, mean 0 [m]."""
    point_alone: np.ndarray
    """(N, D): the same part of the demonstrations' points at `step`."""
    n_steps: int
    """Steps that no chunk pads; the later ones say nothing."""
    step: int
    """Where the demonstrations differ most by the coordinate: the end of a short chunk, the grasp in a long one. At
    the very end of a long chunk they all have come to the same goal."""
    explained: float
    """Adjusted R^2 of the fit at that step, of what the starting states leave unexplained: 0 where the chunks have
    nothing to do with the coordinate, however few episodes there are (plain R^2 is 0.5 with five)."""

    @property
    def is_clear(self) -> bool:
        """Whether the demonstrations depend on the coordinate enough to judge a policy by it."""
        return self.explained >= LEAST_EXPLAINED

    @property
    def is_refuted(self) -> bool:
        """Whether there were enough episodes to show a dependence that is not there."""
        return not self.is_clear and len(self.cue_alone) >= MANY

    def moves(self, displacement: np.ndarray) -> np.ndarray:
        """Return how far (N, D) a demonstration's point at `step` moves where its cue is moved (N, 2) [m]."""
        return self.chunks(displacement)[:, self.step]

    def chunks(self, displacement: np.ndarray) -> np.ndarray:
        """Return the same of all points (N, T, D)."""
        return np.einsum("tdc,nc->ntd", self.slope, displacement)

    @property
    def gain(self) -> float:
        """How far that point moves for each metre of coordinate, mean of x and y."""
        return float(np.linalg.norm(self.slope[self.step], axis=0).mean())


def points(chunks: Chunks) -> np.ndarray:
    """Return the chunks as points (N, T, D): the hand over the table (D = 2) [m], or normalised actions.

    The hand's height is left out: it says when the hand comes down, not where.
    """
    return chunks.action if chunks.hand is None else chunks.hand[..., :2]


def fit_response(
    cue: np.ndarray, demonstrated: np.ndarray, is_pad: np.ndarray, others: np.ndarray | None = None
) -> Response | None:
    """Fit.

    Args:
        cue: Coordinates (N, 2) [m] of N episodes.
        demonstrated: Points of their first chunks (N, T, D).
        is_pad: (N, T), True where a chunk reaches beyond its episode.
        others: What else the chunks depend on (N, K): where the arms start, the goal. Left out where there are too few
            episodes.

    Returns:
        None where there are too few episodes.
    """
    n = len(cue)
    if n < ENOUGH:
        return None
    n_steps = max(1, int((~is_pad.any(axis=0)).sum()))
    known = np.ones((n, 1))
    if others is not None and 2 * (others.shape[1] + 3) <= n:
        known = np.concatenate([known, others], axis=1)
    # Frisch and Waugh 1933: what the rest does not tell of the cue against what it does not tell of the chunks.
    cue_alone = _without(known, cue)
    rest = _without(known, demonstrated.reshape(n, -1))
    slope = np.linalg.lstsq(cue_alone, rest, rcond=1e-3)[0].reshape(2, *demonstrated.shape[1:])
    fitted = np.einsum("nc,ctd->ntd", cue_alone, slope)
    spread = (fitted**2).sum(axis=(0, 2))[:n_steps]
    step = int(spread.argmax())
    point_alone = rest.reshape(demonstrated.shape)[:, step]
    total = (point_alone**2).sum()
    free = n - known.shape[1]  # at least 4
    explained = float(1 - (1 - spread[step] / total) * free / (free - 2)) if total > _NOTHING else 0.0
    return Response(
        slope=slope.transpose(1, 2, 0),
        cue_alone=cue_alone,
        point_alone=point_alone,
        n_steps=n_steps,
        step=step,
        explained=explained,
    )


def _without(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the residual of a linear fit of values (N, D) to what is known (N, K)."""
    return values - known @ np.linalg.lstsq(known, values, rcond=None)[0]


def demonstrated_response(probe: Probe) -> Response | None:
    """Return what `fitted_response` does; None also where it is not clear enough to judge a policy by."""
    return clear(fitted_response(probe))


def clear(fitted: Response | None) -> Response | None:
    """Return a response that is clear enough to judge a policy by; None for any other."""
    return fitted if fitted is not None and fitted.is_clear else None


def fitted_response(probe: Probe) -> Response | None:
    """Return the response of a probe's episodes in the hand's path, or in actions where the arm is not known."""
    first = probe.samples(0.0)
    return fit_response(
        probe.cues(first), points(probe.demonstrated(first)), probe.is_pad(first), probe.other_vectors(first)
    )
