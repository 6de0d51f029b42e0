from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from foreact.config import PolicyConfig
from foreact.model.transformer import Attention, Decoder, DecoderLayer, Encoder, EncoderLayer, FeedForward

DIM, HEADS = 32, 4  # of the small configuration
MakeConfig = Callable[..., PolicyConfig]


def copy_attention(source: Attention, target: nn.MultiheadAttention) -> None:
    target.load_state_dict(source.state_dict())


def copy_feed_forward(source: FeedForward, target: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer) -> None:
    target.linear1.load_state_dict(source.linear1.state_dict())
    target.linear2.load_state_dict(source.linear2.state_dict())


def shake(module: nn.Module) -> nn.Module:
    """Give every parameter, biases and norms too, a random value, so that a mix-up shows."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval()


def reference_encoder_layer(ours: EncoderLayer, activation: str) -> nn.TransformerEncoderLayer:
    theirs = nn.TransformerEncoderLayer(DIM, HEADS, 48, 0.0, activation, batch_first=True, norm_first=ours.pre_norm)
    copy_attention(ours.self_attention, theirs.self_attn)
    copy_feed_forward(ours.feed_forward, theirs)
    theirs.norm1.load_state_dict(ours.norm1.state_dict())
    theirs.norm2.load_state_dict(ours.norm2.state_dict())
    return theirs.train()  # in eval mode PyTorch takes another, fused path; dropout is 0


@pytest.mark.parametrize("masked", [False, True])
def test_self_attention_equals_the_library(masked: bool) -> None:
    ours = Attention(DIM, HEADS, 0.0)
    shake(ours)
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    copy_attention(ours, theirs)
    query, value = torch.randn(2, 7, DIM), torch.randn(2, 7, DIM)
    is_pad = torch.zeros(2, 7, dtype=torch.bool)
    is_pad[1, 4:] = True
    mask = is_pad if masked else None
    expected, _ = theirs(query, query, value, key_padding_mask=mask)
    torch.testing.assert_close(ours(query, query, value, mask), expected)


def test_cross_attention_equals_the_library() -> None:
    ours = Attention(DIM, HEADS, 0.0)
    shake(ours)
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    copy_attention(ours, theirs)
    query, key, value = torch.randn(2, 3, DIM), torch.randn(2, 9, DIM), torch.randn(2, 9, DIM)
    expected, _ = theirs(query, key, value)
    torch.testing.assert_close(ours(query, key, value), expected)


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_an_encoder_layer_without_positions_equals_the_library(
    make_config: MakeConfig, pre_norm: bool, activation: str
) -> None:
    ours = EncoderLayer(make_config(pre_norm=pre_norm, feedforward_activation=activation))
    shake(ours)
    x = torch.randn(2, 7, DIM)
    is_pad = torch.zeros(2, 7, dtype=torch.bool)
    is_pad[0, 5:] = True
    expected = reference_encoder_layer(ours, activation)(x, src_key_padding_mask=is_pad)
    torch.testing.assert_close(ours(x, torch.zeros(7, DIM), is_pad), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_a_decoder_layer_without_positions_equals_the_library(make_config: MakeConfig, pre_norm: bool) -> None:
    ours = DecoderLayer(make_config(pre_norm=pre_norm))
    shake(ours)
    theirs = nn.TransformerDecoderLayer(DIM, HEADS, 48, 0.0, batch_first=True, norm_first=pre_norm)
    copy_attention(ours.self_attention, theirs.self_attn)
    copy_attention(ours.cross_attention, theirs.multihead_attn)
    copy_feed_forward(ours.feed_forward, theirs)
    for name in ("norm1", "norm2", "norm3"):
        getattr(theirs, name).load_state_dict(getattr(ours, name).state_dict())
    x, memory = torch.randn(2, 5, DIM), torch.randn(2, 9, DIM)
    result = ours(x, torch.zeros(5, DIM), memory, memory)
    torch.testing.assert_close(result, theirs(x, memory), rtol=1e-4, atol=1e-5)


def test_positions_join_queries_and_keys_but_not_values(make_config: MakeConfig) -> None:
    layer = EncoderLayer(make_config())
    shake(layer)
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    copy_attention(layer.self_attention, theirs)
    x, position = torch.randn(2, 7, DIM), torch.randn(7, DIM)
    attended, _ = theirs(x + position, x + position, x)
    x1 = layer.norm1(x + attended)
    expected = layer.norm2(x1 + layer.feed_forward(x1))
    torch.testing.assert_close(layer(x, position), expected)


def test_every_decoder_layer_gets_the_positions_and_the_last_ones_output_is_returned(make_config: MakeConfig) -> None:
    decoder = Decoder(make_config(n_decoder_layers=3))
    shake(decoder)
    queries, memory, position = torch.randn(5, DIM), torch.randn(2, 9, DIM), torch.randn(9, DIM)
    layers = [cast(DecoderLayer, layer) for layer in decoder.layers]
    attentions = []
    for layer in layers:
        pair = [nn.MultiheadAttention(DIM, HEADS, batch_first=True) for _ in range(2)]
        copy_attention(layer.self_attention, pair[0])
        copy_attention(layer.cross_attention, pair[1])
        attentions.append(pair)
    x = torch.zeros(2, 5, DIM)
    for layer, (self_attention, cross_attention) in zip(layers, attentions, strict=True):
        x = layer.norm1(x + self_attention(x + queries, x + queries, x)[0])
        x = layer.norm2(x + cross_attention(x + queries, memory + position, memory)[0])
        x = layer.norm3(x + layer.feed_forward(x))
    torch.testing.assert_close(decoder(queries, memory, position), decoder.norm(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_the_encoder_ends_with_a_norm_only_if_its_layers_begin_with_one(
    make_config: MakeConfig, pre_norm: bool
) -> None:
    config = make_config(pre_norm=pre_norm)
    assert isinstance(Encoder(config, 2).norm, nn.LayerNorm) == pre_norm
    assert isinstance(Decoder(config).norm, nn.LayerNorm)


def test_hidden_tokens_do_not_change_the_visible_ones(make_config: MakeConfig) -> None:
    encoder = Encoder(make_config(), 2)
    shake(encoder)
    x, position = torch.randn(2, 7, DIM), torch.randn(7, DIM)
    is_pad = torch.zeros(2, 7, dtype=torch.bool)
    is_pad[:, 4:] = True
    before = encoder(x, position, is_pad)[:, :4]
    x[:, 4:] = 1e3 * torch.randn(2, 3, DIM)
    assert torch.equal(encoder(x, position, is_pad)[:, :4], before)


def test_hidden_tokens_leave_what_a_shorter_sequence_gives(make_config: MakeConfig) -> None:
    encoder = Encoder(make_config(), 2)
    shake(encoder)
    x, position = torch.randn(2, 7, DIM), torch.randn(7, DIM)
    is_pad = torch.arange(7).expand(2, 7) >= 4
    torch.testing.assert_close(encoder(x, position, is_pad)[:, :4], encoder(x[:, :4], position[:4]))


def test_weights_start_as_in_detr(make_config: MakeConfig) -> None:
    wide = make_config(dim_model=256, dim_feedforward=512)
    encoder = Encoder(wide, 1)
    for name, parameter in encoder.named_parameters():
        if parameter.ndim > 1:  # Xavier uniform: between -b and b, b^2 = 6 / (fan in + fan out)
            bound = (6 / sum(parameter.shape)) ** 0.5
            assert 0.99 * bound < parameter.abs().max() <= bound, name
        elif name.endswith(("in_proj_bias", "out_proj.bias")):
            assert not parameter.any(), name


def test_dropout_acts_in_training_only(make_config: MakeConfig) -> None:
    config = make_config(dropout=0.5)
    encoder, decoder = Encoder(config, 1), Decoder(config)
    x, position, queries = torch.randn(2, 7, DIM), torch.randn(7, DIM), torch.randn(5, DIM)

    def once() -> Tensor:
        return decoder(queries, encoder(x, position), position)

    assert not torch.equal(once(), once())
    encoder.eval()
    decoder.eval()
    assert torch.equal(once(), once())


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_the_first_tokens_alone_are_those_of_all_and_so_are_the_gradients(
    pre_norm: bool, n_layers: int, make_config: MakeConfig
) -> None:
    encoder = shake(Encoder(make_config(pre_norm=pre_norm), n_layers)).double()
    x, position = torch.randn(2, 9, DIM, dtype=torch.float64), torch.randn(9, DIM, dtype=torch.float64)
    is_pad = torch.arange(9).expand(2, 9) >= 7
    answers = []
    for wanted in (None, 2):
        tokens = x.clone().requires_grad_()
        encoder.zero_grad()
        first = encoder(tokens, position, is_pad, wanted=wanted)[:, :2]
        first.square().sum().backward()
        answers.append([first, tokens.grad, *(parameter.grad for parameter in encoder.parameters())])
    torch.testing.assert_close(answers[1], answers[0])


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_what_stands_between_the_linear_layers_changes_no_view(dropout: float, make_config: MakeConfig) -> None:
    """Else autograd copies the whole hidden layer, forwards and backwards."""
    x = torch.randn(8, 5, DIM, requires_grad=True)
    result = FeedForward(make_config(dropout=dropout)).train()(x)
    seen, left = set(), [result.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left += [of for of, _ in node.next_functions]
    names = {node.name() for node in seen}
    assert len(names) > 3
    assert not any("CopySlices" in name for name in names)
