"""Scaled dot-product attention; for long sequences on a CPU one head at a time, so that its scores stay in the cache.

PyTorch's fused attention knows no dropout on a CPU: in training it writes the scores of all heads to memory, several
times. The scores of one head of 600 tokens are 1.4 MB.

Sources: Vaswani et al. 2017 (arXiv:1706.03762), Sec. 3.2.1; the backward pass recomputes the scores, as in
Dao et al. 2022 (arXiv:2205.14135), Sec. 3.1.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from foreact.model.dropout import keep_mask, kept_scale
from foreact.model.linear import ONEDNN_IS_FASTER, is_plain, product

_MANY_SCORES = 256 * 256
"""Of one head; fewer are not worth a call each."""
_MANY_TO_DROP = 80 * 80
"""The same where some are dropped, which PyTorch does slowly."""


def attention(q: Tensor, k: Tensor, v: Tensor, is_hidden: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v, with dropout on the weights.

    Args:
        q: (B, heads, Lq, d).
        k: (B, heads, Lk, d).
        v: (B, heads, Lk, d).
        is_hidden: (B, Lk) bool, True where a key must not be seen; None sees all.
        dropout: Probability that a weight is 0.

    Returns:
        (B, heads, Lq, d).
    """
    if not is_plain(q, k) or not _is_long(q.shape[-2] * k.shape[-2], dropout):
        mask = None if is_hidden is None else ~is_hidden[:, None, None, :]
        return F.scaled_dot_product_attention(q, k, v, mask, dropout)
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return _HeadByHead.apply(q, k, v, is_hidden, dropout)
    return _Heads(q, k, v, is_hidden, *_mask_and_scale(q, k, dropout)).forward()


def _is_long(n_scores: int, dropout: float) -> bool:
    return n_scores >= _MANY_TO_DROP if dropout > 0 else ONEDNN_IS_FASTER and n_scores >= _MANY_SCORES


def _mask_and_scale(q: Tensor, k: Tensor, dropout: float) -> tuple[Tensor | None, float]:
    if dropout == 0:
        return None, 1.0
    return keep_mask(torch.Size((*q.shape[:3], k.shape[2])), dropout), kept_scale(dropout)


class _HeadByHead(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, is_hidden: Tensor | None, dropout: float) -> Tensor:
        keep, ctx.scale = _mask_and_scale(q, k, dropout)
        heads = _Heads(q, k, v, is_hidden, keep, ctx.scale)
        out = heads.forward()
        ctx.save_for_backward(q, k, v, is_hidden, keep, out)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, is_hidden, keep, out = ctx.saved_tensors
        return *_Heads(q, k, v, is_hidden, keep, ctx.scale).backward(out, grad), None, None


class _Heads:
    """The samples' heads one after the other."""

    def __init__(
        self, q: Tensor, k: Tensor, v: Tensor, is_hidden: Tensor | None, keep: Tensor | None, scale: float
    ) -> None:
        self._q, self._k, self._v, self._is_hidden, self._keep, self._scale = q, k, v, is_hidden, keep, scale
        self._root = q.shape[-1] ** -0.5
        self._places = [(sample, head) for sample in range(q.shape[0]) for head in range(q.shape[1])]

    def forward(self) -> Tensor:
        out = _like(self._q)
        for at in self._places:
            out[at] = product(self._dropped(at, self._weights(at)), self._v[at].mT)
        return out

    def backward(self, out: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of q, k and v, given that of the result."""
        grad_q, grad_k, grad_v = _like(self._q), _like(self._k), _like(self._v)
        along = (out * grad).sum(dim=-1, keepdim=True)  # what the softmax's gradient is relative to
        for at in self._places:
            weights = self._weights(at)
            grad_v[at] = product(self._dropped(at, weights).mT, grad[at].mT)
            grad_scores = self._dropped(at, product(grad[at], self._v[at]))
            grad_scores.sub_(along[at]).mul_(weights).mul_(self._root)
            grad_q[at] = product(grad_scores, self._k[at].mT)
            grad_k[at] = product(grad_scores.mT, self._q[at].mT)
        return grad_q, grad_k, grad_v

    def _weights(self, at: tuple[int, int]) -> Tensor:
        scores = product(self._q[at], self._k[at]).mul_(self._root)
        if self._is_hidden is not None:
            scores.masked_fill_(self._is_hidden[at[0]], float("-inf"))
        return scores.softmax(dim=-1)

    def _dropped(self, at: tuple[int, int], weights: Tensor) -> Tensor:
        return weights if self._keep is None else (weights * self._keep[at]).mul_(self._scale)


def _like(x: Tensor) -> Tensor:
    """Return an empty (B, heads, L, d) whose tokens lie one after the other in memory: heads are joined for free."""
    samples, heads, length, dim = x.shape
    return x.new_empty(samples, length, heads, dim).transpose(1, 2)
