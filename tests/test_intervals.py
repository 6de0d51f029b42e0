"""The Wilson interval against its definition and published values."""

import math

import pytest

from foreact.intervals import Z95, wilson


@pytest.mark.parametrize(("successes", "trials"), [(1, 10), (30, 50), (199, 200), (3, 7)])
def test_each_bound_is_z_standard_errors_away_from_the_observed_rate(successes: int, trials: int) -> None:
    """The definition: at a bound p the observed rate lies exactly z sqrt(p (1 - p) / n) away."""
    for bound in wilson(successes, trials):
        distance = abs(successes / trials - bound)
        assert distance == pytest.approx(Z95 * math.sqrt(bound * (1 - bound) / trials), rel=1e-9)


def test_published_values() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)  # rule: z^2 / (n + z^2)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 5)])
def test_an_impossible_count_is_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f"{successes} successes of {trials} trials"):
        wilson(successes, trials)
