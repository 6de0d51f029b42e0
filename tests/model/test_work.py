"""How much is computed and kept, counted and not timed, so that a step back shows on any machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import FrozenBatchNorm2d

from foreact.config import PolicyConfig
from foreact.model import attention as attention_module
from foreact.model import linear as linear_module
from foreact.model.act import ACT
from foreact.model.attention import attention
from foreact.model.convolutional import convolve
from foreact.model.dropout import Dropout, ReluDropout
from foreact.model.losses import act_loss
from foreact.records import Batch, Camera, Features

SIDE, D, HIDDEN, T, CELLS = 64, 64, 128, 12, 4
CONFIG = PolicyConfig(
    vision_backbone="resnet18",
    pretrained_backbone_weights=None,
    dim_model=D,
    n_heads=4,
    dim_feedforward=HIDDEN,
    chunk_size=T,
    n_action_steps=T,
    n_encoder_layers=2,
    n_decoder_layers=1,
    n_vae_encoder_layers=1,
    latent_dim=8,
)


def features_of(*sides: int) -> Features:
    return Features(
        action_names=tuple("abcdef"),
        state_names=tuple("abcdef"),
        environment_names=("x", "y"),
        cameras=tuple(Camera(name=f"camera{i}", height=side, width=side) for i, side in enumerate(sides)),
    )


def batch_of(features: Features, size: int) -> Batch:
    return Batch(
        images={of.name: torch.randn(size, 3, of.height, of.width) for of in features.cameras},
        state=torch.randn(size, 6),
        environment_state=torch.randn(size, 2),
        action=torch.randn(size, T, 6),
        action_is_pad=torch.zeros(size, T, dtype=torch.bool),
    )


@pytest.mark.parametrize(("sides", "calls"), [((64, 64, 64), 1), ((64, 96, 64), 2)])
def test_cameras_of_one_size_share_a_call_of_the_backbone(sides: tuple[int, ...], calls: int) -> None:
    features = features_of(*sides)
    model = ACT(CONFIG, features).eval()
    seen: list[int] = []
    model.backbones[0].register_forward_hook(lambda module, given, result: seen.append(len(given[0])))
    with torch.no_grad():
        model(batch_of(features, 2))
    assert len(seen) == calls
    assert sum(seen) == 2 * len(sides)


def resnet18_macs(side: int) -> int:
    """Multiplications of a ResNet-18's convolutions for one picture (He et al. 2015, table 1)."""
    half = side // 2
    macs = half**2 * 64 * 3 * 49
    cells, before = side // 4, 64
    for channels in (64, 128, 256, 512):
        if channels > before:
            cells //= 2
            macs += cells**2 * channels * before * (9 + 1)  # the first convolution and the shortcut
            macs += 3 * cells**2 * channels**2 * 9
        else:
            macs += 4 * cells**2 * channels**2 * 9
        before = channels
    return macs


def transformer_macs(batch: int, n_tokens: int) -> int:
    """Multiplications of CONFIG's network at inference, backbone apart, counted by hand; heads joined are D wide."""
    feed_forward = 2 * D * HIDDEN
    encoder_layer = n_tokens * (4 * D**2 + feed_forward) + 2 * n_tokens**2 * D
    first_self_attention = T * 4 * D**2 + 2 * T**2 * D  # of one sample: until it sees the memory, all are alike
    cross = T * 2 * D**2 + n_tokens * 2 * D**2 + 2 * T * n_tokens * D
    inputs = D * (8 + 6 + 2) + (n_tokens - 3) * 512 * D
    decoder = cross + T * feed_forward + T * D * 6
    return first_self_attention + batch * (inputs + 2 * encoder_layer + decoder) - (batch - 1) * T * D**2


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("folds", [False, True])
def test_inference_multiplies_no_more_than_the_network_asks_for(
    monkeypatch: pytest.MonkeyPatch, batch: int, folds: bool
) -> None:
    monkeypatch.setattr(linear_module, "ONEDNN_IS_FASTER", False)  # PyTorch's counter does not know oneDNN's product
    monkeypatch.setattr(attention_module, "ONEDNN_IS_FASTER", False)
    features = features_of(SIDE, SIDE)
    model = ACT(CONFIG, features).eval()
    model = model.folded() if folds else model
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(batch_of(features, batch))
    # The query of the cross-attention is of one sample too, as long as it has not seen the memory.
    expected = batch * 2 * resnet18_macs(SIDE) + transformer_macs(batch, 3 + 2 * CELLS)
    assert counter.get_total_flops() == 2 * expected


def training_step(model: ACT, batch: Batch) -> None:
    """Forward, loss, backward: what the optimiser does besides multiplies no matrices."""
    act_loss(model(batch, z="posterior"), batch, model.config).loss.backward()


def test_cameras_of_one_size_share_a_call_of_the_backbone_in_a_training_step() -> None:
    features = features_of(SIDE, SIDE, SIDE)
    model = ACT(CONFIG, features).train()
    seen: list[int] = []
    model.backbones[0].register_forward_hook(lambda module, given, result: seen.append(len(given[0])))
    training_step(model, batch_of(features, 2))
    assert seen == [2 * 3]


def vae_encoder_macs(batch: int) -> int:
    """Multiplications of the CVAE's one layer, of which only the first token is wanted, and of what is around it."""
    n_tokens = T + 2
    layer = 2 * n_tokens * D**2 + 2 * D**2 + 2 * n_tokens * D + 2 * D * HIDDEN
    return batch * ((T + 1) * 6 * D + layer + D * 2 * 8)


def test_a_training_step_multiplies_no_more_than_the_network_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product has two on the way back, one for each side's gradient, but for those whose input has none."""
    monkeypatch.setattr(linear_module, "ONEDNN_IS_FASTER", False)
    monkeypatch.setattr(attention_module, "ONEDNN_IS_FASTER", False)
    batch, n_tokens = 3, 3 + 2 * CELLS
    features = features_of(SIDE, SIDE)
    model = ACT(replace(CONFIG, dropout=0.0), features).train()
    with FlopCounterMode(display=False) as counter:
        training_step(model, batch_of(features, batch))
    pictures, stem = 2 * batch, (SIDE // 2) ** 2 * 64 * 3 * 49
    forward = pictures * resnet18_macs(SIDE) + transformer_macs(batch, n_tokens) + vae_encoder_macs(batch)
    vectors = batch * (6 + 2) * D + batch * (T + 1) * 6 * D  # for the encoder; for the CVAE's
    empty_contents = T * D**2  # the decoder's first values
    # PyTorch's fused attention computes its scores once more: the CVAE's, the encoder's two layers', the decoder's own.
    scores_again = batch * (T + 2) * D + 2 * batch * n_tokens**2 * D + T**2 * D
    expected = 3 * forward - pictures * stem - vectors - empty_contents + scores_again
    assert counter.get_total_flops() == 2 * expected


def kept_bytes(call: Callable[[], Any]) -> int:
    """Bytes that autograd keeps for the backward pass, each block of memory once."""
    blocks: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        blocks[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = call()
    del result
    return sum(blocks.values())


def test_a_feed_forward_layer_keeps_its_result_and_no_mask() -> None:
    x = torch.randn(100, 300, requires_grad=True)
    kept = {layer: kept_bytes(lambda of=layer: of(x * 1)) for layer in (ReluDropout(0.1), Dropout(0.1))}  # type: ignore[misc]
    assert list(kept.values()) == [x.numel() * 4, x.numel()]
    plain = nn.Sequential(nn.ReLU(), nn.Dropout(0.1))
    assert kept_bytes(lambda: plain(x * 1)) > x.numel() * 4


def test_attention_with_dropout_keeps_a_byte_a_score() -> None:
    q, k, v = (torch.randn(2, 4, 100, 16, requires_grad=True) for _ in range(3))
    inputs, scores = 4 * q.numel() * 4, 2 * 4 * 100 * 100
    assert kept_bytes(lambda: attention(q, k, v, None, 0.1)) == inputs + scores
    assert kept_bytes(lambda: F.scaled_dot_product_attention(q, k, v, None, 0.1)) > 8 * scores


def test_a_convolution_with_a_frozen_norm_keeps_its_input_and_no_second_weights() -> None:
    conv, norm = nn.Conv2d(16, 32, 3, bias=False), FrozenBatchNorm2d(32)
    x = torch.randn(1, 16, 8, 8, requires_grad=True) * 1
    own = conv.weight.numel() * 4
    assert kept_bytes(lambda: convolve(x, conv, norm)) == x.numel() * 4 + own + norm.weight.numel() * 4


def test_a_training_step_keeps_less_than_with_pytorchs_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    features = features_of(SIDE)
    config = replace(CONFIG, dropout=0.1, chunk_size=100, n_action_steps=100)
    model = ACT(config, features).train()
    long = Batch(
        images=batch_of(features, 2).images,
        state=torch.randn(2, 6),
        environment_state=torch.randn(2, 2),
        action=torch.randn(2, 100, 6),
        action_is_pad=torch.zeros(2, 100, dtype=torch.bool),
    )
    ours = kept_bytes(lambda: model(long, z="posterior").action_hat)
    for name, plain in (("Dropout", nn.Dropout), ("ReluDropout", lambda p: nn.Sequential(nn.ReLU(), nn.Dropout(p)))):
        monkeypatch.setattr(f"foreact.model.transformer.{name}", plain)
    monkeypatch.setattr(attention_module, "_MANY_TO_DROP", 1 << 40)
    theirs = ACT(config, features).train()
    assert ours < kept_bytes(lambda: theirs(long, z="posterior").action_hat)
