"""Dropout keeps the mean, drops as many as it says, and hands the gradient to what it kept."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foreact.model.dropout import Dropout, ReluDropout, keep_mask, kept_scale

N = 200_003


def is_likely(successes: int, trials: int, p: float) -> bool:
    """Whether a binomial count lies within 4 standard deviations of its mean, or 8 where it is rare."""
    return abs(successes - trials * p) < max(4 * (trials * p * (1 - p)) ** 0.5, 8)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.97, 1e-5])
def test_as_many_are_dropped_as_it_says(p: float) -> None:
    torch.manual_seed(0)
    n_dropped = N - int(keep_mask(torch.Size((N,)), p).sum())
    assert is_likely(n_dropped, N, p)


def test_draws_are_independent_of_their_neighbours() -> None:
    torch.manual_seed(1)
    dropped = keep_mask(torch.Size((4 * N,)), 0.5) == 0
    for distance in (1, 2, 3, 4):  # four elements share one draw of 64 bits
        both = int((dropped[:-distance] & dropped[distance:]).sum())
        assert is_likely(both, 4 * N - distance, 0.25)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5])
def test_what_is_kept_grows_so_that_the_mean_stays(p: float) -> None:
    assert kept_scale(p) == pytest.approx(1 / (1 - p), rel=2e-5)


@pytest.mark.parametrize("layer", [Dropout(0.3), ReluDropout(0.3)])
def test_the_same_seed_drops_the_same(layer: nn.Module) -> None:
    x = torch.randn(7, 11)
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(layer(x.clone()))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_gradient_goes_to_what_was_kept() -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 40, requires_grad=True)
    result = Dropout(0.3)(x)
    kept = result != 0
    assert 0.6 < kept.float().mean() < 0.8
    torch.testing.assert_close(result[kept], x[kept] * kept_scale(0.3))
    result.backward(factors := torch.randn(50, 40))
    torch.testing.assert_close(x.grad, factors * kept * kept_scale(0.3))


def test_a_rectifier_with_dropout_is_one_after_the_other() -> None:
    x = torch.randn(600, 501)  # more than is dropped at a time
    results, gradients = [], []
    for layer in (ReluDropout(0.3), nn.Sequential(nn.ReLU(), Dropout(0.3))):
        torch.manual_seed(0)
        given = x.clone().requires_grad_()
        result = layer(given * 1)  # * 1: what comes in is overwritten
        result.backward(torch.randn(600, 501, generator=torch.Generator().manual_seed(1)))
        results.append(result.detach())
        assert given.grad is not None
        gradients.append(given.grad)
    assert torch.equal(*results)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("p", [0.0, 0.4])
def test_nothing_is_dropped_in_evaluation(p: float) -> None:
    x = torch.randn(5, 6)
    assert torch.equal(Dropout(p).eval()(x), x)
    assert torch.equal(ReluDropout(p).eval()(x.clone()), x.relu())
