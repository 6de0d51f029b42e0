"""What a step costs, counted without computing it: against steps that are computed, and by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from foreact.config import Backbone, BackboneNorm, RunConfig, policy_config_from_dict, to_dict
from foreact.data.selection import select_features
from foreact.data.source import open_source
from foreact.errors import ConfigError
from foreact.model import attention as attention_module
from foreact.model import linear as linear_module
from foreact.presets import PRESETS, preset
from foreact.records import Features
from foreact.train.cost import (
    MEMORY,
    OPTIMISER,
    PRODUCT,
    QuietModule,
    Work,
    any_statistics,
    checkpoint_bytes,
    count_step,
    raw_batch,
)
from foreact.train.rates import CARDS, all_reduce_seconds, card_rates, measure_rates, rates_of
from foreact.train.run import threads_of, train
from foreact.train.stand_in import ROBOTS, SMALL, stand_in_features

BATCH = 5


@pytest.fixture
def features() -> Features:
    return stand_in_features(replace(SMALL, size=(48, 64)))


@pytest.fixture
def run(tiny_run: RunConfig) -> RunConfig:
    return replace(tiny_run, train=replace(tiny_run.train, batch_size=BATCH))


def module_of(run: RunConfig, features: Features) -> QuietModule:
    return QuietModule(run, features, any_statistics(run, features)).train()


@pytest.mark.parametrize(("backbone", "norm"), [("cnn", "group"), ("resnet18", "frozen")])
def test_flops_are_those_of_a_real_step(
    run: RunConfig, features: Features, backbone: Backbone, norm: BackboneNorm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's own counter, around a step of real numbers; it does not know oneDNN's product, so PyTorch's it is."""
    monkeypatch.setattr(linear_module, "ONEDNN_IS_FASTER", False)
    monkeypatch.setattr(attention_module, "ONEDNN_IS_FASTER", False)
    run = replace(run, policy=replace(run.policy, vision_backbone=backbone, backbone_norm=norm))
    module = module_of(run, features)
    optimizer = module.configure_optimizers()["optimizer"]
    with FlopCounterMode(display=False) as counter:
        module.make_step(optimizer, raw_batch(run, features, BATCH))
    assert count_step(run, features).all_work.flops == counter.get_total_flops()


def test_oneDNNs_product_counts_as_pytorchs(
    run: RunConfig, features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    if linear_module.ONEDNN_IS_FASTER is False:
        pytest.skip("this processor takes PyTorch's product anyway")
    ours = count_step(run, features).all_work.flops
    monkeypatch.setattr(linear_module, "ONEDNN_IS_FASTER", False)
    monkeypatch.setattr(attention_module, "ONEDNN_IS_FASTER", False)
    assert ours == count_step(run, features).all_work.flops


def test_parameters_and_what_hangs_on_them(run: RunConfig, features: Features) -> None:
    model = module_of(run, features).model
    cost = count_step(run, features)
    assert cost.n_parameters == sum(parameter.numel() for parameter in model.parameters())
    assert cost.parameters["decoder"] == sum(parameter.numel() for parameter in model.decoder.parameters())
    assert cost.trained == 4 * cost.n_parameters
    assert cost.peak >= 4 * cost.trained, "weights, gradients and AdamW's two averages are there together"


def test_activations_are_what_autograd_keeps(run: RunConfig, features: Features) -> None:
    """Each block of memory that the hooks see, weights apart; besides, the step holds its inputs, prepared."""
    module = module_of(run, features)
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    blocks: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            blocks[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = module.training_step(raw_batch(run, features, BATCH), 0)
    kept = sum(blocks.values())
    del loss
    pictures = BATCH * 2 * 3 * 48 * 64 * 4
    assert 0.9 * kept <= count_step(run, features).activations <= kept + pictures


def test_more_samples_cost_more_of_what_depends_on_them_and_no_more_of_the_optimiser(
    run: RunConfig, features: Features
) -> None:
    costs = [count_step(replace(run, train=replace(run.train, batch_size=size)), features) for size in (2, 4, 8)]
    flops = [cost.all_work.flops for cost in costs]
    assert flops[2] - flops[1] == 2 * (flops[1] - flops[0]) > 0
    assert costs[0].work[OPTIMISER] == costs[2].work[OPTIMISER]
    assert costs[0].activations < costs[1].activations < costs[2].activations
    assert costs[0].trained == costs[2].trained


def test_seconds_are_flops_and_bytes_over_their_rates() -> None:
    work = Work(amounts={PRODUCT: 6e9, MEMORY: 4e9})
    assert work.flops == 6e9
    assert work.seconds({PRODUCT: 3e9, MEMORY: 8e9}) == 2.5


def test_gradients_go_round_a_ring() -> None:
    """Two devices send each half of 8 GB twice: 8 GB at 16 GB/s."""
    assert all_reduce_seconds(8 * 10**9, 2, 16.0) == 0.5
    assert all_reduce_seconds(8 * 10**9, 1, 16.0) == 0.0
    assert all_reduce_seconds(8 * 10**9, 8, 16.0) == pytest.approx(2 * 7 / 8 / 2)


def test_this_machines_rates_are_measured_once_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "made" / "rates.json"
    rates = rates_of(path)
    assert rates_of(path) == rates
    assert all(rate > 0 for rate in rates.values())
    assert rates.keys() == measure_rates().keys() == card_rates(1.0, 1.0).keys()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no JSON", "is not a file of rates"),
        ('{"rates": {"bytes moved": "fast"}, "threads": 1}', "is not a file of rates"),
        ('{"rates": {"bytes moved": 1.0}, "threads": 1}', "lacks the rate of"),
        ('{"rates": {}, "threads": 99}', "are those of 99 threads"),
    ],
)
def test_a_file_of_other_rates_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "rates.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message) as raised:
        rates_of(path)
    assert str(path) in str(raised.value)


def test_every_card_names_its_source() -> None:
    assert all(card.source and card.tflops > 0 and card.bandwidth > 0 for card in CARDS.values())


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_checkpoint_takes_what_was_said(
    dataset: Path, cache_dir: Path, tmp_path: Path, tiny_run: RunConfig, ema: float | None
) -> None:
    steps = replace(tiny_run.train, steps=2, warmup_steps=1, save_every=2, ema_decay=ema)
    run = replace(tiny_run, train=steps)
    result = train(run, data=dataset, out=tmp_path / "run", cache_dir=cache_dir)
    written = sum(
        tensor.numel() * tensor.element_size()
        for file in result.checkpoint.glob("*.safetensors")
        for tensor in load_file(file).values()
    )
    features = select_features(open_source(dataset).features, run.policy)
    assert checkpoint_bytes(count_step(run, features)) == pytest.approx(written, rel=0.02)


def test_a_run_says_how_many_threads_it_computes_with(
    dataset: Path, cache_dir: Path, tmp_path: Path, tiny_run: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_of(tmp_path) is None
    run = replace(tiny_run, train=replace(tiny_run.train, steps=1, warmup_steps=0))
    before = torch.get_num_threads()
    try:
        train(run, data=dataset, out=tmp_path / "run", cache_dir=cache_dir, threads=2)
        assert json.loads((tmp_path / "run/run.json").read_text())["threads"] == 2 == threads_of(tmp_path / "run")
        torch.set_num_threads(before)
        longer = replace(run, train=replace(run.train, steps=2))
        train(longer, data=dataset, out=tmp_path / "run", cache_dir=cache_dir, resume=True, threads="free")
        assert torch.get_num_threads() == 2, "a resumed run goes on with as many"
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_planned(name: str) -> None:
    """With one layer of each kind."""
    recipe = preset(name)
    few = {name: 1 for name in ("n_encoder_layers", "n_decoder_layers", "n_vae_encoder_layers")}
    policy = policy_config_from_dict({**to_dict(recipe.policy), **few, "image_size": None, "crop_size": None})
    run = replace(recipe, policy=policy, train=replace(recipe.train, batch_size=2))
    features = select_features(stand_in_features(replace(ROBOTS[name], size=(64, 64))), policy)
    cost = count_step(run, features)
    assert cost.all_work.flops > 0
    assert {"vision backbone", "CVAE encoder", "encoder", "decoder", OPTIMISER} <= cost.work.keys()
