"""The control clock of a robot's loop."""

import logging
import time

import pytest

from foreact_runtime.rate import Rate


def test_ticks_are_never_shorter_than_the_schedule() -> None:
    began = time.perf_counter()
    rate = Rate(100)
    for _ in range(10):
        rate.wait()
    assert time.perf_counter() - began >= 10 / 100


def test_a_loop_that_is_far_behind_begins_anew_instead_of_rushing(caplog: pytest.LogCaptureFixture) -> None:
    rate = Rate(100)
    with caplog.at_level(logging.WARNING):
        time.sleep(0.05)
        rate.wait()
    assert rate.overruns == 1
    assert "ticks of 0.010 s, which begin anew (1 times so far)" in caplog.text
    began = time.perf_counter()
    for _ in range(3):
        rate.wait()
    assert time.perf_counter() - began >= 2 / 100  # the ticks that were missed are not made up for
