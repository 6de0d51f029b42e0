"""How sure a success rate is."""

import math

Z95 = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""


def wilson(successes: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """Return the Wilson score interval of a rate, by default with 95 % confidence.

    Unlike the normal approximation it stays inside [0, 1] and is honest for rates near 0 and 1 and for few trials.

    Args:
        successes: How often it went well.
        trials: How often it was tried, at least 1.
        z: Quantile of the normal distribution.

    Raises:
        ValueError: If `trials` is below 1 or `successes` is not in 0..trials.

    Source: Wilson 1927; Brown, Cai and DasGupta 2001, section 3.1.1.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials is no rate")
    rate = successes / trials
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # At 0 and 1 the formula gives the bound itself up to rounding.
    return max(0.0, centre - half) if successes else 0.0, min(1.0, centre + half) if successes < trials else 1.0
