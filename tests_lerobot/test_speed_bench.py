"""The speed benchmark counts no time before both networks have given the same."""

import pytest
from speed import SAME, check_same, difference_of_losses


def test_the_same_weights_give_the_same_loss() -> None:
    assert difference_of_losses("compact", 0) <= SAME


@pytest.mark.parametrize("difference", [2e-5, float("nan")])
def test_what_differs_or_is_no_number_is_refused(difference: float) -> None:
    with pytest.raises(SystemExit, match="no time counts"):
        check_same("chunks", difference)
    check_same("chunks", SAME)
