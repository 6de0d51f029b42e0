from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from foreact.config import PolicyConfig
from foreact.model.backbone import make_backbone
from foreact.model.backbone_base import Backbone
from foreact.model.convolutional import ResNetBackbone
from foreact.model.film import FiLM, Modulation, modulate

MakeConfig = Callable[..., PolicyConfig]
NAMES = ["cnn", "resnet18"]


def shake(film: FiLM) -> FiLM:
    for parameter in film.parameters():
        nn.init.normal_(parameter, std=0.3)
    return film


def stages_of(backbone: Backbone) -> list[nn.Module]:
    names = [f"layer{i}" if isinstance(backbone, ResNetBackbone) else f"stages.{i - 1}" for i in (1, 2, 3, 4)]
    return [backbone.get_submodule(name) for name in names]


def test_modulation_by_hand() -> None:
    x = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # two channels, one row of two cells
    modulation = Modulation(gamma=torch.tensor([[2.0, -1.0]]), beta=torch.tensor([[0.5, 10.0]]))
    assert modulate(x, modulation).tolist() == [[[[2.5, 4.5]], [[7.0, 6.0]]]]


@pytest.mark.parametrize("name", NAMES)
def test_film_starts_as_the_identity_bit_for_bit(make_config: MakeConfig, name: str) -> None:
    backbone = make_backbone(make_config(vision_backbone=name), 3).eval()
    film = FiLM(2, backbone.stage_channels)
    image = torch.randn(2, 3, 64, 96)
    assert torch.equal(backbone(image, film(torch.randn(2, 2))), backbone(image))


@pytest.mark.parametrize("name", [*NAMES, "resnet50"])
def test_stages_have_the_announced_channels(make_config: MakeConfig, name: str) -> None:
    backbone = make_backbone(make_config(vision_backbone=name), 3)
    found: list[int] = []
    for stage in stages_of(backbone):
        stage.register_forward_hook(lambda _module, _args, output: found.append(output.shape[1]))
    backbone(torch.randn(1, 3, 64, 64))
    assert tuple(found) == backbone.stage_channels
    assert backbone.stage_channels[-1] == backbone.out_channels


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_is_modulated_after_its_end(make_config: MakeConfig, name: str) -> None:
    backbone = make_backbone(make_config(vision_backbone=name), 3).double().eval()
    modulations = shake(FiLM(2, backbone.stage_channels)).double()(torch.randn(2, 2).double())
    image = torch.randn(2, 3, 64, 64).double()
    with torch.no_grad():
        x = image
        if isinstance(backbone, ResNetBackbone):
            x = F.max_pool2d(backbone.bn1(backbone.conv1(image)).relu(), 3, 2, 1)
        for stage, (gamma, beta) in zip(stages_of(backbone), modulations, strict=True):
            x = torch.einsum("bchw,bc->bchw", stage(x), gamma) + beta[:, :, None, None]
        torch.testing.assert_close(backbone(image, modulations), x)


def test_samples_are_modulated_each_by_its_own_coordinates(make_config: MakeConfig) -> None:
    backbone = make_backbone(make_config(), 3).eval()
    film = shake(FiLM(2, backbone.stage_channels))
    image = torch.randn(1, 3, 32, 32).expand(2, -1, -1, -1)
    cue = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    first, second = backbone(image, film(cue))
    assert (first - second).abs().max() > 1e-3
    torch.testing.assert_close(backbone(image[:1], film(cue[1:]))[0], second)
