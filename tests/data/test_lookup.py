"""Places spread over a range."""

from __future__ import annotations

from itertools import pairwise

import pytest

from foreact.data.lookup import spread_evenly


@pytest.mark.parametrize("length", [1, 2, 5, 100])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 100, 101])
def test_as_many_as_asked_for_first_and_last_among_them_and_evenly(length: int, n: int) -> None:
    chosen = spread_evenly(range(10, 10 + length), n)
    assert len(set(chosen)) == len(chosen) == min(n, length)
    assert chosen == tuple(sorted(chosen))
    assert chosen[0] == 10
    if n > 1:
        assert chosen[-1] == 9 + length
    gaps = [after - before for before, after in pairwise(chosen)]
    assert max(gaps, default=0) - min(gaps, default=0) <= 1
