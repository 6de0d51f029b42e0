"""How the demonstrations answer to the coordinate: what a policy's answer is measured against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreact.diagnose.probe import Chunks, Probe

ENOUGH = 5
"""Episodes from which a response can be fitted: three coefficients and something left over."""
LEAST_EXPLAINED = 0.3
"""Share of the demonstrations' variance that the coordinate must explain for a policy to be judged by it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Response:
    """The demonstrations' chunks at the first frames as a linear function of the coordinate, by least squares."""

    slope: np.ndarray
    """(T, D, 2): what a point of the chunk does for each metre of x and of y; `points` says what D is."""
    n_steps: int
    """Steps that no chunk pads; the later ones say nothing."""
    step: int
    """Where the demonstrations differ most by the coordinate: the end of a short chunk, the grasp in a long one. At
    the very end of a long chunk they all have come to the same goal."""
    explained: float
    """R^2 of the fit at that step."""

    def moves(self, displacement: np.ndarray) -> np.ndarray:
        """Return how far (N, D) a demonstration's point at `step` moves where its cue is moved (N, 2) [m]."""
        return displacement @ self.slope[self.step].T

    @property
    def gain(self) -> float:
        """How far that point moves for each metre of coordinate, mean of x and y."""
        return float(np.linalg.norm(self.slope[self.step], axis=0).mean())


def points(chunks: Chunks) -> np.ndarray:
    """Return the chunks as points (N, T, D): the hand over the table (D = 2) [m], or normalised actions.

    The hand's height is left out: it says when the hand comes down, not where.
    """
    return chunks.action if chunks.hand is None else chunks.hand[..., :2]


def fit_response(cue: np.ndarray, demonstrated: np.ndarray, is_pad: np.ndarray) -> Response | None:
    """Fit.

    Args:
        cue: Coordinates (N, 2) [m] of N episodes.
        demonstrated: Points of their first chunks (N, T, D).
        is_pad: (N, T), True where a chunk reaches beyond its episode.

    Returns:
        None where there are too few episodes, or they do not depend on the coordinate enough to judge a policy by.
    """
    if len(cue) < ENOUGH:
        return None
    n_steps = max(1, int((~is_pad.any(axis=0)).sum()))
    centred = cue - cue.mean(axis=0)
    deviation = demonstrated - demonstrated.mean(axis=0)
    slope, *_ = np.linalg.lstsq(centred, deviation.reshape(len(cue), -1), rcond=1e-3)
    fitted = (centred @ slope).reshape(deviation.shape)
    spread = (fitted**2).sum(axis=(0, 2))[:n_steps]
    step = int(spread.argmax())
    total = (deviation[:, step] ** 2).sum()
    explained = float(spread[step] / total) if total > 0 else 0.0
    if explained < LEAST_EXPLAINED:
        return None
    by_step = slope.reshape(2, *deviation.shape[1:]).transpose(1, 2, 0)
    return Response(slope=by_step, n_steps=n_steps, step=step, explained=explained)


def demonstrated_response(probe: Probe) -> Response | None:
    """Return the response of a probe's episodes in the hand's path, or in actions where the arm is not known."""
    first = probe.samples(0.0)
    return fit_response(probe.cues(first), points(probe.demonstrated(first)), probe.is_pad(first))
