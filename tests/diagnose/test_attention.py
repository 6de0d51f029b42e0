"""Attention by layer, against the library's own attention and against weights whose answer is even."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from diagnose.closed_form import probe_of, told
from foreact.config import RunConfig
from foreact.diagnose.attention import attention_paid, attention_weights, judge_attention
from foreact.diagnose.probe import Probe
from foreact.model.act import ACT
from foreact.model.transformer import Attention
from spots import FEATURES


def test_the_weights_are_those_of_the_librarys_attention() -> None:
    torch.manual_seed(0)
    ours = Attention(16, 4, 0.0)
    nn.init.normal_(ours.in_proj_weight)
    nn.init.normal_(ours.in_proj_bias)
    library = nn.MultiheadAttention(16, 4, batch_first=True)
    library.load_state_dict(ours.state_dict())
    query, key = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    _, expected = library(query, key, torch.randn(2, 7, 16), average_attn_weights=False)
    torch.testing.assert_close(attention_weights(ours, query, key), expected, atol=1e-6, rtol=1e-5)


def probe_with(run: RunConfig, data: Path, cache_dir: Path) -> tuple[Probe, ACT]:
    torch.manual_seed(0)
    model = ACT(replace(run.policy, n_encoder_layers=2), FEATURES).eval()
    template = probe_of(told, data, cache_dir)
    return Probe(model, template.inputs, FEATURES, template.dataset), model


def test_shares_add_up_and_the_network_is_left_as_it_was(tiny_run: RunConfig, dataset: Path, cache_dir: Path) -> None:
    probe, model = probe_with(tiny_run, dataset, cache_dir)
    measured = attention_paid(probe, model)
    assert [of.layer for of in measured.layers] == ["encoder 0", "encoder 1", "decoder 0"]
    assert sum(measured.tokens.values()) == model.n_tokens
    for of in measured.layers:
        assert list(of.share) == ["latent", "state", "coordinate", "overhead", "wrist"]
        assert sum(of.share.values()) == pytest.approx(1, abs=1e-5)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_network_that_compares_nothing_attends_evenly(tiny_run: RunConfig, dataset: Path, cache_dir: Path) -> None:
    probe, model = probe_with(tiny_run, dataset, cache_dir)
    for module in model.modules():
        if isinstance(module, Attention):
            nn.init.zeros_(module.in_proj_weight)
    measured = attention_paid(probe, model)
    for of in measured.layers:
        for name, n in measured.tokens.items():
            assert of.share[name] == pytest.approx(n / model.n_tokens, abs=1e-6)
    finding = judge_attention(measured)
    assert f"1 of {model.n_tokens} tokens" in finding.verdict
    assert finding.severity == "note"
