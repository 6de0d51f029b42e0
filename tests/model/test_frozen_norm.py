"""A frozen batch norm that is part of the convolution before it computes what the norm after it does."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from foreact.config import Backbone, PolicyConfig
from foreact.model.act import ACT
from foreact.model.convolutional import convolve
from foreact.records import Batch, Camera, Features

FEATURES = Features(
    action_names=tuple("abcd"),
    state_names=tuple("abcd"),
    cameras=tuple(Camera(name=name, height=64, width=96) for name in ("left", "right")),
)


def with_random_statistics(model: nn.Module) -> None:
    """Give every frozen norm other statistics, so that none is the identity."""
    norms = [module for module in model.modules() if isinstance(module, FrozenBatchNorm2d)]
    assert norms
    for norm in norms:
        for statistic in (norm.weight, norm.running_var):
            nn.init.uniform_(statistic, 0.5, 1.5)
        for statistic in (norm.bias, norm.running_mean):
            nn.init.normal_(statistic, std=0.2)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_a_folded_network_predicts_what_the_plain_one_does(backbone: Backbone) -> None:
    torch.manual_seed(0)
    config = PolicyConfig(
        vision_backbone=backbone,
        backbone_norm="frozen",
        pretrained_backbone_weights=None,
        conditioning=(),
        dim_model=32,
        n_heads=4,
        dim_feedforward=64,
        chunk_size=8,
        n_action_steps=8,
        n_encoder_layers=1,
        n_decoder_layers=1,
    )
    plain = ACT(config, FEATURES).eval()
    with_random_statistics(plain)
    batch = Batch(
        images={camera.name: torch.randn(2, 3, 64, 96) for camera in FEATURES.cameras}, state=torch.randn(2, 4)
    )
    folded = plain.folded()
    assert any(isinstance(module, FrozenBatchNorm2d) for module in plain.modules()), "the plain one keeps its own"
    assert not any(isinstance(module, FrozenBatchNorm2d) for module in folded.modules())
    with torch.inference_mode():
        expected = norm_after_convolution(plain)(batch).action_hat
        torch.testing.assert_close(plain(batch).action_hat, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(folded(batch).action_hat, expected, rtol=1e-5, atol=1e-5)


class _Plain(nn.Module):
    """A norm that is not known as frozen, so that it is computed after its convolution, by torchvision."""

    def __init__(self, norm: FrozenBatchNorm2d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


def norm_after_convolution(model: ACT) -> ACT:
    """Return the same network, whose norms are computed where they stand."""
    other = copy.deepcopy(model)
    for module in [*other.modules()]:
        for name, child in module.named_children():
            if isinstance(child, FrozenBatchNorm2d):
                setattr(module, name, _Plain(child))
    return other


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 1, 1, 1), (2, 0, 1, 2), (1, 2, 2, 1)])
def test_gradients_through_a_convolution_with_its_norm_are_those_of_both(
    stride: int, padding: int, dilation: int, groups: int
) -> None:
    torch.manual_seed(1)
    conv = nn.Conv2d(4, 6, 3, stride, padding, dilation, groups, bias=False).double()
    norm = FrozenBatchNorm2d(6).double()
    with_random_statistics(norm)
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64, requires_grad=True)
    together, apart = convolve(x, conv, norm), norm(conv(x))
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)
    upstream = torch.randn_like(apart)
    expected = torch.autograd.grad(apart, (x, conv.weight), upstream)
    for found, known in zip(torch.autograd.grad(together, (x, conv.weight), upstream), expected, strict=True):
        torch.testing.assert_close(found, known, rtol=1e-12, atol=1e-12)
