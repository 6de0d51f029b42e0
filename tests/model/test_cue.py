from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from foreact.config import PolicyConfig
from foreact.model.cue import StrongCue, WorldPosition, fourier_features

MakeConfig = Callable[..., PolicyConfig]


def test_fourier_features_by_hand() -> None:
    # Waves of length 4 and 2 over x = 1 and y = 0.5: angles pi/2, pi and pi/4, pi/2.
    found = fourier_features(torch.tensor([[1.0, 0.5]]), bands=2, wavelength=4.0)
    angles = [math.pi / 2, math.pi, math.pi / 4, math.pi / 2]
    expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    torch.testing.assert_close(found, torch.tensor([expected]), rtol=0, atol=1e-6)


def test_fourier_features_repeat_after_the_longest_wave_and_not_before() -> None:
    x = torch.linspace(-2, 2, 41, dtype=torch.float64)[:-1, None]
    codes = fourier_features(x, bands=3, wavelength=4.0)
    torch.testing.assert_close(fourier_features(x + 4.0, bands=3, wavelength=4.0), codes)
    assert (torch.cdist(codes, codes) + torch.eye(40)).min() > 0.1


def test_the_strong_cue_gives_its_tokens_and_an_addition_a_layer(make_config: MakeConfig) -> None:
    config = make_config(strong_tokens=3, strong_bands=5, n_encoder_layers=2)
    signal = StrongCue(config, 2)(torch.randn(4, 2))
    assert signal.tokens.shape == (4, 3, 32)
    assert signal.additions.shape == (2, 4, 1, 32)


def test_the_strong_cue_tells_cues_apart_that_the_linear_token_hardly_does(make_config: MakeConfig) -> None:
    strong = StrongCue(make_config(), 2)
    linear = nn.Linear(2, 32)
    near = torch.tensor([[0.5, 0.5], [0.55, 0.5]])  # a twentieth of a standard deviation apart
    tokens = strong(near).tokens.flatten(1)

    def relative(x: torch.Tensor) -> float:
        return ((x[0] - x[1]).norm() / x[0].norm()).item()

    assert relative(tokens) > 2 * relative(linear(near))


def test_the_same_table_point_has_the_same_code_wherever_it_is_seen() -> None:
    world = WorldPosition(16)
    points = torch.randn(2, 5, 2) * 0.2
    codes = world(points)
    torch.testing.assert_close(world(points.flip(1)), codes.flip(1))
    assert (torch.cdist(codes[0], codes[0]) + torch.eye(5)).min() > 1e-2


def test_a_cell_that_does_not_see_the_table_gets_no_code_and_no_gradient() -> None:
    world = WorldPosition(16)
    points = torch.tensor([[[0.1, 0.2], [math.nan, math.nan], [math.nan, 0.2]]])
    codes = world(points)
    assert codes[0, 0].abs().min() > 0
    assert not codes[0, 1:].any()
    codes[0, 1:].sum().backward()
    for parameter in world.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


@pytest.mark.parametrize("far", [50.0, math.inf])
def test_points_out_of_any_arms_reach_are_all_alike(far: float) -> None:
    world = WorldPosition(16)
    torch.testing.assert_close(world(torch.tensor([[[far, 0.0]]])), world(torch.tensor([[[3.0, 0.0]]])))
