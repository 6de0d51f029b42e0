"""Pooling with its ReLU against PyTorch's two in the usual order: the same numbers, bit for bit."""

import pytest
import torch
import torch.nn.functional as F

from foreact.model.pooling import max_pool_relu


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(8, 12), (7, 9)])
def test_result_and_gradient_are_those_of_a_relu_before_the_pooling(
    order: torch.memory_format, size: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, *size, generator=generator).round(decimals=1)  # rounded, so that there are ties and zeros
    x[0, 0] = -1.0
    outputs, gradients = [], []
    for pool in (max_pool_relu, lambda of: F.max_pool2d(F.relu(of), 3, 2, 1)):
        leaf = x.clone(memory_format=order).requires_grad_()
        pooled = pool(leaf * 1)
        (pooled * torch.arange(pooled.numel()).reshape(pooled.shape)).sum().backward()
        assert leaf.grad is not None
        outputs.append(pooled.detach())
        gradients.append(leaf.grad)
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(gradients[0], gradients[1])
    with torch.no_grad():
        assert torch.equal(max_pool_relu(x), outputs[1])


def test_the_picture_before_the_pooling_is_not_kept() -> None:
    kept: set[int] = set()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.add(tensor.numel())
        return tensor

    x = torch.randn(1, 4, 32, 32, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        max_pool_relu(x)
    assert max(kept) == 4 * 16 * 16
