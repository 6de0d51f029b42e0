"""Gradient shares from a run's log."""

from pathlib import Path

import pytest

from foreact.diagnose.gradient import judge_gradient, read_gradient_shares
from foreact.errors import DataError


def test_the_log_is_read_by_input_and_step_and_a_half_line_left_out(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text(
        '{"step": 0, "time": 1.0, "grad_share/coordinates": 0.2, "grad_share/overhead": 0.8}\n'
        '{"step": 0, "time": 1.5, "train/l1": 0.4}\n'
        '{"step": 50, "time": 2.0, "grad_share/coordinates": 0.01, "grad_share/overhead": 0.99}\n'
        '{"step": 99, "ti'
    )
    shares = read_gradient_shares(log)
    assert shares == {"coordinates": [(0, 0.2), (50, 0.01)], "overhead": [(0, 0.8), (50, 0.99)]}
    assert judge_gradient(shares).verdict == (
        "gradient at the coordinate: 20.0 % of all inputs' at step 0, 1.0 % at step 50, least 1.0 % at step 50"
    )


def test_shares_that_are_no_number_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text(
        '{"step": 0, "grad_share/coordinates": 0.2, "grad_share/overhead": NaN}\n'
        '{"step": 9, "grad_share/coordinates": NaN}\n'
    )
    assert read_gradient_shares(log) == {"coordinates": [(0, 0.2)]}


def test_a_run_without_it_is_told_how_to_log_it(tmp_path: Path) -> None:
    finding = judge_gradient(read_gradient_shares(tmp_path / "metrics.jsonl"))
    assert finding.severity == "note"
    assert "--train.grad-share" in finding.remedy


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 0}\nnonsense\n')
    with pytest.raises(DataError, match=r"metrics.jsonl' line 2 is not a logged step"):
        read_gradient_shares(log)
