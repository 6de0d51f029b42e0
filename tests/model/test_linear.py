"""The product of tokens and weights is PyTorch's, whichever library computes it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from foreact.model import linear as module
from foreact.model.linear import Linear, linear

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch is built without oneDNN")


@pytest.fixture(params=[False, pytest.param(True, marks=needs_onednn)], ids=["plain", "onednn"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(module, "ONEDNN_IS_FASTER", request.param)
    return bool(request.param)


@pytest.mark.parametrize("shape", [(2, 30, 24), (48, 24), (3, 2, 17, 24), (1, 24), (4, 1, 24)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_result_and_gradients_are_those_in_double_precision(
    library: bool, shape: tuple[int, ...], has_bias: bool
) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape, requires_grad=True)
    weight = torch.randn(10, 24, requires_grad=True)
    bias = torch.randn(10, requires_grad=True) if has_bias else None
    given = [t for t in (x, weight, bias) if t is not None]
    result = linear(x, weight, bias)
    factors = torch.randn_like(result)
    gradients = torch.autograd.grad((result * factors).sum(), given)

    exact = [t.detach().double().requires_grad_() for t in given]
    expected = F.linear(*exact)
    expected_gradients = torch.autograd.grad((expected * factors).sum(), exact)
    for found, wanted in zip([result, *gradients], [expected, *expected_gradients], strict=True):
        assert found.shape == wanted.shape
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


def test_rows_that_do_not_lie_one_after_the_other_are_read_right(library: bool) -> None:
    x = torch.randn(5, 24, 40).mT  # (5, 40, 24)
    weight = torch.randn(10, 48)[:, ::2]
    assert not weight.is_contiguous()
    torch.testing.assert_close(linear(x, weight), F.linear(x, weight))


@needs_onednn
def test_it_can_be_traced_exported_and_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ONEDNN_IS_FASTER", True)
    layer, x = Linear(24, 10), torch.randn(40, 24)
    program = torch.export.export(layer, (x,))
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert targets == {"aten.linear.default"}
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert layer.double()(x.double()).dtype == torch.float64


@needs_onednn
def test_only_what_needs_a_gradient_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ONEDNN_IS_FASTER", True)
    x = torch.randn(40, 24, requires_grad=True)
    weight = torch.randn(10, 24)
    linear(x, weight).sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(0).expand(40, 24))
    with torch.no_grad():
        assert not linear(x, weight).requires_grad
