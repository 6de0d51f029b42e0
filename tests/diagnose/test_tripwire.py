"""The tripwire in a real training: what it logs and says, and that training goes on as without it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from foreact.config import RunConfig
from foreact.diagnose.report import diagnose
from foreact.diagnose.tripwire import Tripwire
from foreact.errors import ConfigError
from foreact.train.run import train
from spots import write_dataset


def figures(run: Path) -> dict[int, dict[str, float]]:
    """What the tripwire logged, by step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        line["step"]: {name.removeprefix("diagnose/"): value for name, value in line.items()}
        for line in lines
        if "diagnose/swap" in line
    }


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_training_is_the_same_bit_for_bit_and_the_figures_are_logged(
    tiny_run: RunConfig,
    episodes: Path,
    cache_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    ema_decay: float | None,
) -> None:
    changes = {"val_fraction": 0.5, "lr": 1e-6, "lr_backbone": 1e-6, "ema_decay": ema_decay, "steps": 12}
    run = replace(tiny_run, train=replace(tiny_run.train, **changes))  # type: ignore[arg-type]
    plain = train(run, data=episodes, out=tmp_path / "plain", cache_dir=cache_dir)
    capsys.readouterr()
    wire = Tripwire(every=2, data=episodes)
    watched = train(run, data=episodes, out=tmp_path / "watched", cache_dir=cache_dir, callbacks=[wire])
    for name in ("model.safetensors", "training_state.safetensors"):
        one, two = load_file(plain.checkpoint / name), load_file(watched.checkpoint / name)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one), name

    checks = figures(tmp_path / "watched")
    assert sorted(checks) == [1, 3, 5, 7, 9, 11], "after steps 2, 4, .., under the numbers of their losses"
    # It has hardly learned anything: for a quarter of the training that is no collapse.
    said = capsys.readouterr().err
    assert said.count("coordinate not used yet at step 2 (swap test 0 %)") == 1
    assert said.count("collapse: coordinate ignored since step 4 (swap test 0 %; never used)") == 1
    assert wire.ignored_since == 4


def test_its_figures_are_those_of_diagnose_on_the_weights_that_are_saved(
    tiny_run: RunConfig, episodes: Path, cache_dir: Path, tmp_path: Path
) -> None:
    """The average lags far behind the weights here, and so does what it answers to the coordinate."""
    found = {}
    for name, decay in (("raw", None), ("average", 0.99)):
        train_config = replace(tiny_run.train, val_fraction=0.5, lr=1e-2, lr_backbone=1e-2, ema_decay=decay)
        run = replace(tiny_run, train=replace(train_config, steps=20, save_every=20, val_every=20))
        wire = Tripwire(every=20, data=episodes)
        train(run, data=episodes, out=tmp_path / name, cache_dir=cache_dir, callbacks=[wire])
        found[name] = figures(tmp_path / name)[19]
        report = diagnose(tmp_path / name, episodes=12, cache_dir=cache_dir)
        assert report.held_out == report.episodes == 12
        swap, collapse, sensitivity, inputs = (
            finding.evidence
            for question in ("swap", "collapse", "sensitivity", "inputs")
            if (finding := report.finding(question)) is not None
        )
        expected = {
            "swap": swap["obeyed"] / swap["trials"],
            "swap_way": swap["mean_share_of_the_way"],
            "collapse": collapse["index"],
            "sensitivity": sensitivity["gain_at_the_start"] / sensitivity["demonstrated_gain_at_the_start"],
        }
        for change in ("pictures exchanged", "pictures blanked", "state exchanged", "coordinate exchanged"):
            expected[change.replace(" ", "_")] = inputs["changes"][change]
        logged = {key: found[name][key] for key in expected}
        assert logged == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert found["raw"]["sensitivity"] != pytest.approx(found["average"]["sensitivity"], rel=0.2)


def test_it_speaks_only_where_a_threshold_is_crossed() -> None:
    """A network that obeys, collapses, recovers and collapses again."""
    wire = Tripwire(every=500)
    obeyed = (0.9, 0.1, 0.0, 0.4, 0.6, 0.4, 0.2)
    said = [wire.judge(share, 500 * i, 100_000) for i, share in enumerate(obeyed, start=1)]
    assert said == [
        None,
        "collapse: coordinate ignored since step 1000 (swap test 10 %)",
        None,
        None,  # better, but not yet used
        "recovered: coordinate used since step 2500 (swap test 60 %)",
        None,  # worse, but not yet ignored
        "collapse: coordinate ignored since step 3500 (swap test 20 %)",
    ]


def test_a_coordinate_that_is_not_learned_yet_has_not_collapsed() -> None:
    """Used late, in the first quarter of 4000 steps, and then no more."""
    wire = Tripwire(every=250)
    obeyed = (0.0, 0.1, 0.7, 0.1)
    said = [wire.judge(share, 250 * i, 4000) for i, share in enumerate(obeyed, start=1)]
    assert said == [
        "coordinate not used yet at step 250 (swap test 0 %)",
        None,
        "coordinate used since step 750 (swap test 70 %)",
        "collapse: coordinate ignored since step 1000 (swap test 10 %)",
    ]


def test_a_coordinate_that_is_never_used_is_ignored_after_a_quarter_of_the_training() -> None:
    wire = Tripwire(every=2000)
    said = [wire.judge(share, 2000 * i, 16_000) for i, share in enumerate((0.3, 0.0, 0.0, 0.7), start=1)]
    assert said == [
        None,  # not used, and not ignored either
        "collapse: coordinate ignored since step 4000 (swap test 0 %; never used)",
        None,
        "recovered: coordinate used since step 8000 (swap test 70 %)",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((0.0,), None),  # not learned yet, which was said
        ((0.0, 0.7), "collapse: coordinate ignored since step 1500 (swap test 0 %)"),
        ((0.9, 0.0), None),
    ],
)
def test_a_resumed_run_goes_on_where_it_was(before: tuple[float, ...], after: str | None) -> None:
    wire, resumed = Tripwire(every=500), Tripwire(every=500)
    for i, share in enumerate(before, start=1):
        wire.judge(share, 500 * i, 100_000)
    resumed.load_state_dict(json.loads(json.dumps(wire.state_dict())))
    assert resumed.judge(0.0, 1500, 100_000) == after


def test_a_run_of_an_older_version_is_resumed() -> None:
    """It did not note whether the coordinate was used."""
    wire = Tripwire(every=500)
    wire.load_state_dict({"ignored_since": 500})
    assert wire.judge(0.9, 1000, 100_000) == "recovered: coordinate used since step 1000 (swap test 90 %)"


def test_coordinates_that_do_not_explain_the_demonstrations_are_reported(
    tiny_run: RunConfig, tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each episode is told the coordinates of another one."""
    data = write_dataset(tmp_path / "told-wrong", lengths=(11, 12, 13) * 4, told=range(11, -1, -1))
    run = replace(tiny_run, train=replace(tiny_run.train, val_fraction=0.9, steps=3))
    train(run, data=data, out=tmp_path / "run", cache_dir=cache_dir, callbacks=[Tripwire(every=1, data=data)])
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("warning: tripwire: nothing to watch: the coordinates do not explain the demonstrations") == 1
    assert "30 % of how the first chunks of 11 episodes differ" in said
    assert not figures(tmp_path / "run")


def test_too_few_episodes_are_not_enough_to_judge_by(
    tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny_run, data=dataset, out=tmp_path / "run", cache_dir=cache_dir, callbacks=[Tripwire(every=1)])
    assert "tripwire: nothing to watch: it needs 5 episodes to look at and has 1" in capsys.readouterr().err


def test_a_policy_without_coordinates_is_left_alone(
    tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uncued = replace(tiny_run, policy=replace(tiny_run.policy, use_environment_state=False))
    train(uncued, data=dataset, out=tmp_path / "run", cache_dir=cache_dir, callbacks=[Tripwire(every=1)])
    assert "tripwire: nothing to watch: the policy gets no coordinates" in capsys.readouterr().err


def test_a_rhythm_below_one_step_is_refused() -> None:
    with pytest.raises(ConfigError, match="tripwire: every is 0; it must be at least 1"):
        Tripwire(every=0)
