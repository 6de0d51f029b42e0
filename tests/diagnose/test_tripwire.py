"""The tripwire in a real training: what it logs and says, and that training goes on as without it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from foreact.config import RunConfig
from foreact.diagnose.tripwire import Tripwire
from foreact.errors import ConfigError
from foreact.train.run import train


def test_training_is_the_same_bit_for_bit_and_the_figures_are_logged(
    tiny_run: RunConfig, episodes: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = replace(tiny_run, train=replace(tiny_run.train, val_fraction=0.5, lr=1e-6, lr_backbone=1e-6))
    plain = train(run, data=episodes, out=tmp_path / "plain", cache_dir=cache_dir)
    capsys.readouterr()
    wire = Tripwire(every=2, data=episodes)
    watched = train(run, data=episodes, out=tmp_path / "watched", cache_dir=cache_dir, callbacks=[wire])
    for name in ("model.safetensors", "training_state.safetensors"):
        one, two = load_file(plain.checkpoint / name), load_file(watched.checkpoint / name)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one), name

    lines = [json.loads(line) for line in (tmp_path / "watched" / "metrics.jsonl").read_text().splitlines()]
    checks = {line["step"]: line for line in lines if "diagnose/swap" in line}
    assert sorted(checks) == [1, 3, 5], "after steps 2, 4 and 6, under the numbers of their losses"
    assert {"diagnose/swap_way", "diagnose/sensitivity", "diagnose/collapse"} <= checks[5].keys()
    assert wire.ignored_since == 2
    assert capsys.readouterr().err.count("collapse: coordinate ignored since step 2 (swap test 0 %)") == 1


def test_it_speaks_only_where_a_threshold_is_crossed() -> None:
    wire = Tripwire(every=500)
    said = [wire.judge(obeyed, 500 * i) for i, obeyed in enumerate((0.9, 0.1, 0.0, 0.4, 0.6, 0.4, 0.2), start=1)]
    assert said == [
        None,
        "collapse: coordinate ignored since step 1000 (swap test 10 %)",
        None,
        None,  # better, but not yet used
        "recovered: coordinate used since step 2500 (swap test 60 %)",
        None,  # worse, but not yet ignored
        "collapse: coordinate ignored since step 3500 (swap test 20 %)",
    ]


def test_a_resumed_run_does_not_say_it_again() -> None:
    before, after = Tripwire(every=500), Tripwire(every=500)
    before.judge(0.0, 500)
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert after.judge(0.0, 1000) is None
    assert after.ignored_since == 500


def test_a_policy_without_coordinates_is_left_alone(
    tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uncued = replace(tiny_run, policy=replace(tiny_run.policy, use_environment_state=False))
    train(uncued, data=dataset, out=tmp_path / "run", cache_dir=cache_dir, callbacks=[Tripwire(every=1)])
    assert "tripwire: nothing to watch: the policy gets no coordinates" in capsys.readouterr().err


def test_a_rhythm_below_one_step_is_refused() -> None:
    with pytest.raises(ConfigError, match="tripwire: every is 0; it must be at least 1"):
        Tripwire(every=0)
