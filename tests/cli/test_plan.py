"""`foreact plan`: what it prints follows from what it counted, and wrong calls are one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foreact.cli.main import run
from foreact.train.rates import CARDS, card_rates

TINY = ["--policy.dim-model", "16", "--policy.n-heads", "2", "--policy.dim-feedforward", "32", "--image", "32x48"]
TINY += ["--layers", "1", "--policy.n-vae-encoder-layers", "1", "--threads", "1"]


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    """A processor that computes 10^9 FLOPs and moves 10^9 bytes a second, and calls for nothing."""
    path = tmp_path / "rates.json"
    of = {kind: 1e9 for kind in card_rates(1.0, 1.0)} | {"calls": 1e30, "recorded calls": 1e30}
    path.write_text(json.dumps({"threads": 1, "rates": of}))
    return path


def plan(tmp_path: Path, *words: str) -> dict[str, Any]:
    out = tmp_path / "plan.json"
    assert run(["plan", *words, "--json", str(out)]) == 0
    content: dict[str, Any] = json.loads(out.read_text())
    return content


def test_the_time_is_what_was_counted_at_the_rates_that_were_given(
    tmp_path: Path, rates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("compact", *TINY, "--batch", "3", "--samples", "9000", "--rates", str(rates))
    content = plan(tmp_path, *words, "--episodes", "10", "--frames", "50")
    counted = [amount for part in content["work"].values() for kind, amount in part.items() if "calls" not in kind]
    found = content["plan"]
    assert found["step_s"] == pytest.approx(sum(counted) / 1e9, rel=1e-6)
    assert found["samples_per_s"] == pytest.approx(3 / found["step_s"])
    assert found["hours"] == pytest.approx(9000 / found["samples_per_s"] / 3600)
    assert found["frame_cache"] == 10 * 50 * 2 * 32 * 48 * 3
    printed = capsys.readouterr().out
    assert "camera" in printed
    assert "9,000 samples" in printed
    assert f"{sum(content['parameters'].values()):,}" in printed


def test_options_change_what_they_name(tmp_path: Path, rates: Path) -> None:
    content = plan(tmp_path, "compact", *TINY, "--rates", str(rates), "--cameras", "3", "--chunk", "4", "--batch", "2")
    assert content["run"]["policy"]["chunk_size"] == 4
    assert content["run"]["policy"]["n_encoder_layers"] == 1
    assert content["run"]["train"]["batch_size"] == 2


def test_another_precision_is_said_not_to_be_counted(
    tmp_path: Path, rates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("compact", *TINY, "--rates", str(rates))
    step_s = plan(tmp_path, *words)["plan"]["step_s"]
    assert "counted in float32" not in capsys.readouterr().out
    assert plan(tmp_path, *words, "--train.precision", "bf16-mixed")["plan"]["step_s"] == step_s
    assert "counted in float32, not in bf16-mixed" in " ".join(capsys.readouterr().out.split())


def test_cards_share_the_work_and_exchange_gradients(tmp_path: Path) -> None:
    words = ("compact", *TINY, "--batch", "2", "--link", "16")
    one = plan(tmp_path, *words, "--gpus", "1", "--device", "l4")["plan"]
    eight = plan(tmp_path, *words, "--gpus", "8", "--device", "l4")["plan"]
    assert one["all_reduce_s"] == 0
    assert eight["step_s"] == pytest.approx(one["step_s"] + eight["all_reduce_s"])
    assert eight["samples_per_s"] == pytest.approx(16 / eight["step_s"])
    assert eight["memory"] == one["memory"]
    assert CARDS["l4"].source in eight["where"]
    assert "nobody has checked" in eight["where"]


def test_a_batch_that_does_not_fit_into_a_card_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = plan(tmp_path, "compact", *TINY, "--batch", "1000000", "--gpus", "1", "--device", "t4")
    assert content["plan"]["memory"] > 16e9
    assert "does not fit into 16 GB" in capsys.readouterr().err


def test_sizes_can_come_from_a_data_set(tmp_path: Path, dataset: Path, rates: Path) -> None:
    """Two cameras of 32x32 and episodes of 9 to 15 frames."""
    words = [word for word in TINY if word not in ("--image", "32x48")]
    content = plan(tmp_path, "compact", *words, "--data", str(dataset), "--rates", str(rates), "--batch", "2")
    info = json.loads((dataset / "meta/info.json").read_text())
    assert content["plan"]["frame_cache"] == info["total_frames"] * 2 * 32 * 32 * 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plan"], "error: no preset: type foreact plan PRESET"),
        (["plan", "compat"], "error: unknown preset 'compat'; did you mean 'compact'"),
        (["plan", "compact", "--image", "96"], "error: --image '96' is not HEIGHTxWIDTH"),
        (["plan", "compact", "--gpus", "2", "--device", "a10"], "error: unknown device 'a10'; did you mean 'a100'"),
        (["plan", "compact", "--device", "a100"], "say how many with --gpus 1"),
        (["plan", "compact", "--gpus", "2", "--tflops", "3"], "error: --tflops and --bandwidth go together"),
        (["plan", "compact", "--batch", "0"], "error: train.batch_size is 0"),
        (["plan", "compact", "--cameras", "0"], "error: --cameras is 0; it must be positive"),
        (["plan", "compact", "--image", "9x9", "--data", "x"], "error: --data says what the pictures are"),
    ],
)
def test_a_wrong_call_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert len(printed.splitlines()) == 1
