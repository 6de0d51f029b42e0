"""How much attention the coordinate's tokens get, by layer.

Attention is not use: values may be ignored, and with crops, the hand's frame or FiLM the coordinate takes other ways.
So this only goes with what the interventions have shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foreact.diagnose.probe import BATCH, Probe
from foreact.finding import Finding
from foreact.model.act import ACT
from foreact.model.transformer import Attention, DecoderLayer, EncoderLayer


@dataclass(frozen=True, kw_only=True)
class LayerAttention:
    """Mean attention over samples, heads and queries, by the input whose tokens get it; adds up to 1."""

    layer: str
    """`encoder 0`, ..., `decoder 0` (from its queries to the encoder's tokens)."""
    share: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class AttentionPaid:
    """What was measured."""

    layers: tuple[LayerAttention, ...]
    tokens: dict[str, int]
    """Number of tokens by input: an even share would be theirs of all."""


def attention_weights(attention: Attention, query: Tensor, key: Tensor) -> Tensor:
    """Return the weights (B, heads, Lq, Lk) that an attention gives its keys; nothing masked."""
    dim = query.shape[-1]
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    q = F.linear(query, weight[:dim], bias[:dim]).unflatten(-1, (attention.n_heads, -1)).transpose(1, 2)
    k = F.linear(key, weight[dim : 2 * dim], bias[dim : 2 * dim]).unflatten(-1, (attention.n_heads, -1)).transpose(1, 2)
    return ((q / q.shape[-1] ** 0.5) @ k.mT).softmax(dim=-1)


@torch.no_grad()
def attention_paid(probe: Probe, model: ACT) -> AttentionPaid:
    """Measure on a batch of the probe's first frames."""
    groups = token_groups(model)
    shares: dict[str, dict[str, float]] = {}

    def look(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            assert isinstance(module, Attention)
            query, key = arguments[0], arguments[1]
            query = query.expand(len(key), -1, -1)  # the first decoder layer's queries are the same for all
            # Sample by sample: of 32 with 1800 tokens each the weights would take 3 GB.
            each = [
                attention_weights(module, query[i : i + 1], key[i : i + 1]).mean(dim=(0, 1, 2)) for i in range(len(key))
            ]
            paid = torch.stack(each).mean(dim=0)
            shares[name] = {group: float(paid[tokens].sum()) for group, tokens in groups.items()}

        return hook

    with _hooks(model, look):
        probe.predict(probe.samples(0.0)[:BATCH])
    return AttentionPaid(
        layers=tuple(LayerAttention(layer=name, share=share) for name, share in shares.items()),
        tokens={name: len(tokens) for name, tokens in groups.items()},
    )


@contextmanager
def _hooks(model: ACT, look: Callable[[str], Callable[[nn.Module, tuple[Any, ...]], None]]) -> Iterator[None]:
    handles = []
    for i, encoder_layer in enumerate(model.encoder.layers):
        assert isinstance(encoder_layer, EncoderLayer)
        handles.append(encoder_layer.self_attention.register_forward_pre_hook(look(f"encoder {i}")))
    for i, decoder_layer in enumerate(model.decoder.layers):
        assert isinstance(decoder_layer, DecoderLayer)
        handles.append(decoder_layer.cross_attention.register_forward_pre_hook(look(f"decoder {i}")))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def token_groups(model: ACT) -> dict[str, Tensor]:
    """Return which tokens are made of which input: latent, state, coordinate, and each camera by its name."""
    every = torch.arange(model.n_tokens)
    groups = {"latent": every[:1]}
    if model.state_proj is not None:
        groups["state"] = every[1:2]
    if len(coordinate := every[model.cue_tokens]):
        groups["coordinate"] = coordinate
    cells = every[model.image_tokens]
    camera_of_cell = model.camera_of_cell.cpu()
    for i, camera in enumerate(model.features.cameras):
        groups[camera.name] = cells[camera_of_cell == i]
    return groups


def judge_attention(measured: AttentionPaid) -> Finding:
    """Put the attention into words; it judges nothing."""
    n_tokens = sum(measured.tokens.values())
    if "coordinate" in measured.tokens:
        n_cue = measured.tokens["coordinate"]
        paid = ", ".join(f"{of.layer} {100 * of.share['coordinate']:.1f} %" for of in measured.layers)
        even = f"{n_cue} of {n_tokens} tokens: {100 * n_cue / n_tokens:.1f} % would be even"
        verdict = f"attention paid to the coordinate: {paid} ({even})"
    else:
        verdict = "no token is made of the coordinate alone, so attention to it cannot be told apart"
    return Finding(
        question="attention",
        title="How much attention does the coordinate get?",
        verdict=verdict,
        severity="note",
        evidence={"tokens": measured.tokens, "share_by_layer": {of.layer: of.share for of in measured.layers}},
    )
