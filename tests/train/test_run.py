"""A whole training run: resume bit for bit, Ctrl-C, non-finite losses, two processes, full disks."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from foreact import processor
from foreact.config import RunConfig, TrainConfig
from foreact.errors import CheckpointError, ConfigError, TrainingError
from foreact.policy.checkpoint import find_checkpoint, load_policy
from foreact.train.run import read_run, train
from spots import FEATURES, write_dataset


def with_train(run: RunConfig, **changes: object) -> RunConfig:
    return replace(run, train=replace(run.train, **changes))  # type: ignore[arg-type]


def _needs(is_there: bool, what: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not is_there, reason=f"needs {what}")


def state_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "model.safetensors") | load_file(checkpoint / "training_state.safetensors")


def assert_same_state(first: Path, second: Path) -> None:
    one, two = state_of(first), state_of(second)
    assert one.keys() == two.keys()
    assert len([name for name in one if "exp_avg" in name]) > 20, "the optimiser's moments are compared too"
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.9, "accumulate": 2}], ids=["plain", "ema and accumulation"])
def test_three_steps_and_three_resumed_equal_six_bit_for_bit(
    options: dict[str, object], tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path
) -> None:
    run = with_train(tiny_run, **options)
    whole = train(run, data=dataset, out=tmp_path / "whole", cache_dir=cache_dir)
    # The schedule must be the same, so the first half is a six-step run that is killed after its step 3.
    train(run, data=dataset, out=tmp_path / "parts", cache_dir=cache_dir)
    for name in ("step-000006",):
        _remove(tmp_path / "parts" / "checkpoints" / name)
    resumed = train(run, data=dataset, out=tmp_path / "parts", cache_dir=cache_dir, resume=True)
    assert (whole.step, resumed.step) == (6, 6)
    assert_same_state(whole.checkpoint, resumed.checkpoint)
    first, second = (json.loads((at.checkpoint / "training_state.json").read_text()) for at in (whole, resumed))
    assert _without(first, "fit_loop") == _without(second, "fit_loop"), "schedule, callbacks and loader"
    logged, repeated = ((tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "parts"))
    assert [json.loads(line)["step"] for line in logged] == [json.loads(line)["step"] for line in repeated]


def _without(packed: dict[str, object], key: str) -> list[object]:
    items = packed["dict"]
    assert isinstance(items, list)
    return [item for item in items if item[0] not in (key, "loops")]


def _remove(checkpoint: Path) -> None:
    for file in checkpoint.iterdir():
        file.unlink()
    checkpoint.rmdir()


def test_resume_restores_weights_and_not_only_the_optimiser(
    tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path
) -> None:
    """The trap of the project behind seed 000: every resumed run began with random weights."""
    train(tiny_run, data=dataset, out=tmp_path, cache_dir=cache_dir)
    before = load_file(find_checkpoint(tmp_path) / "model.safetensors")
    after = train(with_train(tiny_run, steps=7), data=dataset, out=tmp_path, cache_dir=cache_dir, resume=True)
    for name, tensor in load_file(after.checkpoint / "model.safetensors").items():
        # One step of Adam moves a weight by about the rate, 1e-3; random weights differ by much more.
        assert (tensor - before[name]).abs().max() < 5e-3, name


def test_the_data_order_is_the_same_stream_for_one_and_for_two_devices() -> None:
    from foreact.train.loader import StepSampler
    from foreact.train.order import Uniform

    order = Uniform(10)
    one = [i for batch in StepSampler(order, batch_size=6, n_batches=7, seed=3) for i in batch]
    parts = [list(StepSampler(order, batch_size=3, n_batches=7, seed=3, rank=rank, world_size=2)) for rank in (0, 1)]
    two = [i for pair in zip(*parts, strict=True) for batch in pair for i in batch]
    assert one == two
    assert sorted(one[:10]) == list(range(10))
    assert sorted(one[10:20]) == list(range(10))
    assert one[:10] != one[10:20]


def test_validation_logs_the_same_l1_with_zero_and_with_posterior_z(
    tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path
) -> None:
    train(tiny_run, data=dataset, out=tmp_path, cache_dir=cache_dir)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    validated = [line for line in lines if "val/l1" in line]
    assert len(validated) == 2
    assert all({"val/l1", "val/l1_posterior", "val/kl"} <= line.keys() for line in validated)
    trained = [line for line in lines if "train/l1" in line]
    assert len(trained) == 6
    for line in trained:
        assert line["train/loss"] == pytest.approx(line["train/l1"] + 10 * line["train/kl"], rel=1e-5)
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_the_logged_validation_l1_equals_the_policys_error_on_the_held_out_episodes(
    tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path
) -> None:
    """By another route: chunks of the loaded policy against the recorded actions, in normalised units."""
    from foreact.data.source import open_source

    run = with_train(tiny_run, batch_size=64)  # one validation batch, so that no mean of means is taken
    train(run, data=dataset, out=tmp_path, cache_dir=cache_dir)
    policy = load_policy(tmp_path)
    source = open_source(dataset)
    held_out = json.loads((find_checkpoint(tmp_path) / "config.json").read_text())["provenance"]["data"]["validation"]
    errors = []
    for index in held_out:
        episode = source.episode(index)
        assert episode.state is not None
        assert episode.environment_state is not None
        frames = {camera: list(source.frames(index, camera)) for camera in ("overhead", "wrist")}
        for t in range(episode.length):
            chunk = policy.predict_chunk(
                {
                    "observation.state": episode.state[t],
                    "observation.environment_state": episode.environment_state[t],
                    "observation.images.overhead": frames["overhead"][t],
                    "observation.images.wrist": frames["wrist"][t],
                }
            )
            real = episode.action[t : t + 6]
            errors.append(np.abs(chunk[: len(real)] - real) / policy.statistics["action"].std)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    logged = [line["val/l1"] for line in lines if "val/l1" in line][-1]
    assert np.concatenate(errors).mean() == pytest.approx(logged, rel=1e-4)


def test_held_out_episodes_do_not_touch_the_statistics(
    tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path
) -> None:
    from foreact.data.source import open_source

    train(tiny_run, data=dataset, out=tmp_path, cache_dir=cache_dir)
    policy = load_policy(tmp_path)
    provenance = json.loads((find_checkpoint(tmp_path) / "config.json").read_text())["provenance"]["data"]
    assert not set(provenance["training"]) & set(provenance["validation"])
    source = open_source(dataset)
    actions = np.concatenate([source.episode(index).action for index in provenance["training"]]).astype(np.float64)
    np.testing.assert_allclose(policy.statistics["action"].mean, actions.mean(0), rtol=1e-12)
    np.testing.assert_allclose(policy.statistics["action"].std, actions.std(0), rtol=1e-9)


def test_a_run_is_not_overwritten_and_not_resumed_with_another_network_or_other_data(
    tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(CheckpointError, match="no run to resume"):
        train(tiny_run, data=dataset, out=out, cache_dir=cache_dir, resume=True)
    train(tiny_run, data=dataset, out=out, cache_dir=cache_dir)
    assert read_run(out) == tiny_run
    with pytest.raises(CheckpointError, match="already holds a run; add --resume"):
        train(tiny_run, data=dataset, out=out, cache_dir=cache_dir)
    wider = replace(tiny_run, policy=replace(tiny_run.policy, dim_model=32))
    with pytest.raises(ConfigError, match=r"policy.dim_model is 32, but the run to resume was started with 16"):
        train(wider, data=dataset, out=out, cache_dir=cache_dir, resume=True)
    for options in ({"seed": 1}, {"val_fraction": 0.4}, {"batch_size": 2}, {"lr": 1e-4}):
        (name,) = options
        with pytest.raises(ConfigError, match=rf"train.{name} is .*, but the run to resume was started with"):
            train(with_train(tiny_run, **options), data=dataset, out=out, cache_dir=cache_dir, resume=True)
    other = write_dataset(tmp_path / "other", lengths=(9, 9), seed=1)
    with pytest.raises(ConfigError, match="the data set is not the one"):
        train(tiny_run, data=other, out=out, cache_dir=cache_dir, resume=True)


def test_a_non_finite_loss_names_the_term_and_the_episodes_and_keeps_the_checkpoint(
    tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path
) -> None:
    rates = {"lr": 1e12, "lr_backbone": 1e12, "lr_schedule": "constant", "warmup_steps": 0, "grad_clip": 0.0}
    what = r"(loss term '(loss|l1|kl)' is|gradient norm is) (nan|inf).*episodes in the batch: \d"
    with pytest.raises(TrainingError, match=what):
        train(with_train(tiny_run, steps=40, save_every=1, **rates), data=dataset, out=tmp_path, cache_dir=cache_dir)
    weights = load_file(find_checkpoint(tmp_path) / "model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    load_policy(tmp_path)


def test_a_precision_that_the_processor_would_emulate_is_refused(
    tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = tmp_path / "cpuinfo"
    older.write_text("vendor_id\t: GenuineIntel\nflags\t\t: fpu avx2 avx512f avx512_vnni\n")
    monkeypatch.setattr(processor, "_CPUINFO", older)
    for precision, why in (("bf16-mixed", "does not multiply bfloat16 itself.*avx512_bf16"), ("16-mixed", "a GPU")):
        with pytest.raises(ConfigError, match=f"train.precision {precision} .*{why}"):
            train(with_train(tiny_run, precision=precision), data=dataset, out=tmp_path / "run", cache_dir=cache_dir)


def test_last_k_and_best_are_kept(tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path) -> None:
    train(with_train(tiny_run, steps=8, save_every=1, val_every=4), data=dataset, out=tmp_path, cache_dir=cache_dir)
    kept = {path.name for path in (tmp_path / "checkpoints").glob("step-*")}
    best = find_checkpoint(tmp_path, "best").name
    assert kept == {"step-000007", "step-000008", best}
    assert best in {"step-000004", "step-000008"}


def test_checkpoints_are_ordered_by_step_not_by_name(tmp_path: Path) -> None:
    for step in (999_999, 1_000_000):
        folder = tmp_path / "checkpoints" / f"step-{step:06d}"
        folder.mkdir(parents=True)
    assert find_checkpoint(tmp_path).name == "step-1000000"


@pytest.mark.parametrize(
    ("accelerator", "precision"),
    [
        pytest.param("cpu", "bf16-mixed", marks=_needs(processor.has_bf16_units(), "a processor with bfloat16")),
        pytest.param("gpu", "bf16-mixed", marks=_needs(torch.cuda.is_available(), "a GPU")),
        pytest.param("gpu", "16-mixed", marks=_needs(torch.cuda.is_available(), "a GPU")),
    ],
)
def test_mixed_precision_trains(
    accelerator: str, precision: str, tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path
) -> None:
    run = with_train(tiny_run, precision=precision, accelerator=accelerator, steps=30)
    assert train(run, data=dataset, out=tmp_path, cache_dir=cache_dir).step == 30
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["train/l1"] for line in lines if "train/l1" in line]
    assert losses[-1] < losses[0]
    kept = load_file(find_checkpoint(tmp_path) / "model.safetensors")
    assert {weight.dtype for weight in kept.values()} == {torch.float32}


def command(dataset: Path, out: Path, cache_dir: Path, *options: str) -> list[str]:
    tiny = ["--policy.chunk-size", "6", "--policy.n-action-steps", "3", "--policy.dim-model", "16"]
    tiny += ["--policy.n-heads", "2", "--policy.dim-feedforward", "32"]
    tiny += ["--train.batch-size", "4", "--train.accelerator", "cpu"]
    places = ["--data", str(dataset), "--out", str(out), "--cache-dir", str(cache_dir)]
    return [sys.executable, "-m", "foreact.cli.main", "train", "compact", *places, *tiny, *options]


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(dataset: Path, cache_dir: Path, tmp_path: Path) -> None:
    options = ["--train.steps", "100000", "--train.log-every", "1", "--train.devices", "1"]
    with subprocess.Popen(
        command(dataset, tmp_path, cache_dir, *options), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 5/"):
                break
        os.kill(process.pid, signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "--resume" in rest
    steps = [int(path.name[5:]) for path in (tmp_path / "checkpoints").glob("step-*")]
    assert max(steps) >= 5
    load_policy(tmp_path)


@pytest.mark.slow
def test_two_gloo_processes_train_together(dataset: Path, cache_dir: Path, tmp_path: Path) -> None:
    """DDP with 2 x 2 samples sees the samples and makes the steps of one process with 4."""
    common = ["--train.steps", "3", "--train.warmup-steps", "0", "--policy.dropout", "0", "--policy.no-use-vae"]
    # With every entry in the denominator the mean of two halves is the mean of the whole.
    common += ["--policy.reduction", "padded_mean", "--train.ema-decay", "None"]
    two = ["--devices", "2", "--strategy", "ddp", "--train.batch-size", "2"]
    done = subprocess.run(
        command(dataset, tmp_path / "two", cache_dir, *common, *two), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    one = command(dataset, tmp_path / "one", cache_dir, *common, "--train.devices", "1", "--train.batch-size", "4")
    done = subprocess.run(one, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second = (
        load_file(find_checkpoint(tmp_path / name) / "training_state.safetensors") for name in ("one", "two")
    )
    moments = [name for name in first if name.endswith(".exp_avg")]
    assert len(moments) > 20
    for name in moments:  # the running mean of the gradients: equal up to the order of float32 sums
        torch.testing.assert_close(second[name], first[name], atol=1e-6, rtol=1e-3)


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def test_a_full_disk_stops_with_one_message_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    """/dev/full answers every write with "no space left on device"."""
    from foreact.policy.checkpoint import write_directory

    target = tmp_path / "step-000001"
    write_directory(target, lambda directory: _write(directory / "a.json", "{}"))

    def full(directory: Path) -> None:
        (directory / "a.json").symlink_to("/dev/full")
        (directory / "a.json").write_text("x" * 100_000)

    with pytest.raises(CheckpointError, match=r"cannot write checkpoint .*step-000001.*No space left on device"):
        write_directory(target, full)
    assert (target / "a.json").read_text() == "{}"
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]


def test_the_learning_rate_warms_up_and_ends_at_its_minimum() -> None:
    from foreact.train.optimizer import make_schedule

    config = TrainConfig(steps=110, warmup_steps=10, lr=1e-3, lr_min=1e-5, lr_schedule="cosine")
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=config.lr)
    schedule = make_schedule(optimizer, config)
    rates = []
    for _ in range(110):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:10] == pytest.approx([1e-4 * (i + 1) for i in range(10)])
    assert rates[60] == pytest.approx((1e-3 + 1e-5) / 2)  # half-way through the cosine
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-5)


def test_groups_separate_backbone_and_undecayed_parameters(tiny_run: RunConfig) -> None:
    from foreact.model.act import ACT
    from foreact.train.optimizer import parameter_groups

    policy = replace(tiny_run.policy, n_encoder_layers=2, n_decoder_layers=2)
    model = ACT(policy, FEATURES)
    config = TrainConfig(lr=1.0, lr_backbone=0.1, weight_decay=0.5, layer_decay=0.5)
    groups = parameter_groups(model, config)
    found = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}  # type: ignore[attr-defined]
    named = dict(model.named_parameters())
    assert set(found) == {id(p) for p in named.values() if p.requires_grad}
    for name, parameter in named.items():
        lr, decay = found[id(parameter)]
        assert decay == (0.5 if parameter.ndim > 1 else 0.0), name
        if name.startswith("backbone"):
            assert lr == pytest.approx(0.1 * 0.5**4), name
    assert found[id(model.action_head.weight)][0] == 1.0
    assert found[id(model.decoder.layers[1].feed_forward.linear1.weight)][0] == 1.0  # type: ignore[union-attr]
    assert found[id(model.decoder.layers[0].feed_forward.linear1.weight)][0] == 0.5  # type: ignore[union-attr]
    assert found[id(model.encoder.layers[1].feed_forward.linear1.weight)][0] == 0.25  # type: ignore[union-attr]
    assert found[id(model.latent_proj.weight)][0] == 0.5**4
