"""A small untrained policy for the data set of spots.py."""

import numpy as np

from foreact.policy.policy import Policy
from foreact.records import VectorStatistics
from spots import FEATURES
from tiny import TINY


def spread(dim: int, mean: float, std: float) -> VectorStatistics:
    """Statistics with the same mean and deviation in every dimension."""
    one = np.ones(dim)
    low, high = (mean - 2 * std) * one, (mean + 2 * std) * one
    return VectorStatistics(mean=mean * one, std=std * one, min=low, max=high, q01=low, q99=high, count=10)


STATISTICS = {key: spread(2, 0.5, 0.3) for key in ("action", "observation.state", "observation.environment_state")}


def small_policy() -> Policy:
    """Return it, with random weights."""
    return Policy(config=TINY, features=FEATURES, statistics=STATISTICS)
