"""Attention head by head is attention."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from foreact.model import attention as module
from foreact.model.attention import attention
from foreact.model.dropout import keep_mask, kept_scale

SHAPE = (2, 3, 150, 16)


@pytest.fixture(autouse=True)
def always_head_by_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MANY_SCORES", 0)
    monkeypatch.setattr(module, "_MANY_TO_DROP", 0)
    monkeypatch.setattr(module, "ONEDNN_IS_FASTER", True)  # which product is taken is linear.py's matter


def by_definition(q: Tensor, k: Tensor, v: Tensor, is_hidden: Tensor | None, keep: Tensor, scale: float) -> Tensor:
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5
    if is_hidden is not None:
        scores = scores + torch.where(is_hidden, -torch.inf, 0.0)[:, None, None, :]
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    return torch.einsum("bhqk,bhkd->bhqd", weights * keep * scale, v)


@pytest.mark.parametrize("hides", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.25])
@pytest.mark.parametrize("n_keys", [150, 40])
def test_result_and_gradients_are_those_of_the_definition(hides: bool, dropout: float, n_keys: int) -> None:
    torch.manual_seed(0)
    q = torch.randn(SHAPE, requires_grad=True)
    k, v = (torch.randn(2, 3, n_keys, 16, requires_grad=True) for _ in range(2))
    is_hidden = torch.rand(2, n_keys) < 0.3 if hides else None
    factors = torch.randn(SHAPE)
    torch.manual_seed(7)
    result = attention(q, k, v, is_hidden, dropout)
    gradients = torch.autograd.grad((result * factors).sum(), (q, k, v))

    torch.manual_seed(7)
    keep = keep_mask(torch.Size((2, 3, 150, n_keys)), dropout)
    exact = [t.detach().double().requires_grad_() for t in (q, k, v)]
    expected = by_definition(exact[0], exact[1], exact[2], is_hidden, keep, kept_scale(dropout))
    expected_gradients = torch.autograd.grad((expected * factors).sum(), exact)
    for found, wanted in zip([result, *gradients], [expected, *expected_gradients], strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)


def test_without_gradients_it_is_pytorchs() -> None:
    q, k, v = (torch.randn(SHAPE) for _ in range(3))
    is_hidden = torch.rand(2, 150) < 0.5
    expected = F.scaled_dot_product_attention(q, k, v, ~is_hidden[:, None, None, :])
    with torch.no_grad():
        torch.testing.assert_close(attention(q, k, v, is_hidden), expected)


def test_heads_are_joined_without_a_copy() -> None:
    q, k, v = (torch.randn(SHAPE) for _ in range(3))
    joined = attention(q, k, v).transpose(1, 2)
    assert joined.is_contiguous()
