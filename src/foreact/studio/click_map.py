"""How the policy answers to the click: for each point of the table, where would the arm go if that were clicked?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from foreact.policy.hand import Hand
from foreact.sim.layout import WORKSPACE
from foreact.studio.shelf import SharedPolicy
from foreact_runtime.keys import ENVIRONMENT_STATE

ROWS, COLUMNS = 5, 11


@dataclass(frozen=True, kw_only=True, eq=False)
class ClickMap:
    """Where each click leads."""

    points: np.ndarray
    """Clicked points (N, 2) [m], row by row."""
    ends: np.ndarray
    """Where the chunk's last step has the hand (N, 3) [m]."""

    @property
    def follows(self) -> float:
        """How much the ends move along with the click, by least squares: 1 as far as it does, 0 not at all."""
        clicks, ends = (of - of.mean(axis=0) for of in (self.points, self.ends[:, :2]))
        return float(np.trace(np.linalg.lstsq(clicks, ends, rcond=None)[0]) / 2)

    @property
    def spread(self) -> float:
        """Mean distance of the ends from their middle on the table [m]."""
        return float(np.linalg.norm(self.ends[:, :2] - self.ends[:, :2].mean(axis=0), axis=1).mean())


def click_points() -> np.ndarray:
    """Return the points of the table that are tried (ROWS * COLUMNS, 2) [m]."""
    (low_x, low_y), (high_x, high_y) = WORKSPACE
    x, y = np.meshgrid(np.linspace(low_x, high_x, ROWS), np.linspace(low_y, high_y, COLUMNS), indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1)


def click_map(policy: SharedPolicy, hand: Hand, observation: Mapping[str, np.ndarray]) -> ClickMap | None:
    """Ask the policy with the same pictures and state, but one coordinate after the other.

    Args:
        policy: What is asked.
        hand: Its arm's.
        observation: What it saw.

    Returns:
        None for a policy without a coordinate, or whose hand's path is not known.
    """
    if not policy.features.environment_dim:
        return None
    points = click_points()
    rest = observation[ENVIRONMENT_STATE][2:]
    told = [{**observation, ENVIRONMENT_STATE: np.concatenate([point, rest]).astype(np.float32)} for point in points]
    paths = hand.path(policy.predict_chunks(told))
    return None if paths is None else ClickMap(points=points, ends=paths[:, -1])
