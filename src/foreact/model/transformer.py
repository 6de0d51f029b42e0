"""Transformer encoder and decoder in the manner of DETR, with dropout.

Positions are added to queries and keys in every layer and never to values. `pre_norm` moves the layer norms from
after each residual sum (the paper's choice) to before each branch, and then the encoder ends with a norm too; the
decoder always does. Weights start as in DETR and ACT: Xavier uniform, biases zero in the attention.

Sources: Vaswani et al. 2017 (arXiv:1706.03762); Carion et al. 2020 (arXiv:2005.12872), appendix A.3.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from foreact.config import PolicyConfig
from foreact.model.attention import attention
from foreact.model.dropout import Dropout, ReluDropout
from foreact.model.linear import Linear, linear


class Attention(nn.Module):
    """Multi-head attention with the parameters of `nn.MultiheadAttention`, whose weights it can take."""

    def __init__(self, dim: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))  # queries, keys, values
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = Linear(dim, dim)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, key_is_pad: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            query: (B, Lq, D), positions included.
            key: (B, Lk, D), positions included; the same object as `query` in self-attention.
            value: (B, Lk, D).
            key_is_pad: (B, Lk) bool, True where a key must not be seen; None sees all.

        Returns:
            (B, Lq, D).
        """
        dim = query.shape[-1]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if query is key:  # one product for both
            q, k = linear(query, weight[: 2 * dim], bias[: 2 * dim]).chunk(2, dim=-1)
        else:
            q = linear(query, weight[:dim], bias[:dim])
            k = linear(key, weight[dim : 2 * dim], bias[dim : 2 * dim])
        v = linear(value, weight[2 * dim :], bias[2 * dim :])
        dropout = self.dropout if self.training else 0.0
        heads = attention(self._split(q), self._split(k), self._split(v), key_is_pad, dropout)
        return self.out_proj(heads.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # (B, heads, L, D / heads)


class FeedForward(nn.Module):
    """Two linear layers with an activation between them, (..., D) to (..., D)."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.linear1 = Linear(config.dim_model, config.dim_feedforward)
        self.linear2 = Linear(config.dim_feedforward, config.dim_model)
        self.between = (
            ReluDropout(config.dropout)
            if config.feedforward_activation == "relu"
            else nn.Sequential(nn.GELU(), Dropout(config.dropout))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply to every token alone."""
        rows = x.flatten(0, -2)  # what is between works in place, which in a view of rows costs the gradient a copy
        return cast(Tensor, self.linear2(self.between(self.linear1(rows)))).unflatten(0, x.shape[:-1])


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.pre_norm = config.pre_norm
        self.self_attention = Attention(config.dim_model, config.n_heads, config.dropout)
        self.feed_forward = FeedForward(config)
        self.norm1 = nn.LayerNorm(config.dim_model)
        self.norm2 = nn.LayerNorm(config.dim_model)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, x: Tensor, position: Tensor, key_is_pad: Tensor | None = None, wanted: int | None = None
    ) -> Tensor:
        """Encode tokens.

        Args:
            x: (B, L, D).
            position: (L, D) or (B, L, D).
            key_is_pad: (B, L) bool, True hides a token; None hides none.
            wanted: How many of the first tokens are computed, from all of them; None computes all.

        Returns:
            (B, L, D), or (B, wanted, D).
        """
        if self.pre_norm:
            x = x[:, :wanted] + self._attend(self.norm1(x), position, key_is_pad, wanted)
            return x + self.dropout(self.feed_forward(self.norm2(x)))
        x = self.norm1(x[:, :wanted] + self._attend(x, position, key_is_pad, wanted))
        return self.norm2(x + self.dropout(self.feed_forward(x)))

    def _attend(self, x: Tensor, position: Tensor, key_is_pad: Tensor | None, wanted: int | None) -> Tensor:
        key = x + position
        query = key if wanted is None else key[:, :wanted]
        return self.dropout(self.self_attention(query, key, x, key_is_pad))


class Encoder(nn.Module):
    """Encoder layers; with `pre_norm` a last norm follows."""

    def __init__(self, config: PolicyConfig, n_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([EncoderLayer(config) for _ in range(n_layers)])
        self.norm = nn.LayerNorm(config.dim_model) if config.pre_norm else nn.Identity()
        _xavier(self)

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        key_is_pad: Tensor | None = None,
        additions: Tensor | None = None,
        wanted: int | None = None,
    ) -> Tensor:
        """Encode.

        Args:
            x: Tokens (B, L, D).
            position: (L, D), or (B, L, D) where samples differ.
            key_is_pad: (B, L) bool, True hides a token; None hides none.
            additions: (layers, B, 1, D), added to all tokens before each layer; None adds nothing.
            wanted: How many of the first tokens are returned; None returns all. The last layer computes no others.

        Returns:
            (B, L, D), or (B, wanted, D).
        """
        for i, layer in enumerate(self.layers):
            if additions is not None:
                x = x + additions[i]
            x = layer(x, position, key_is_pad, wanted if i == len(self.layers) - 1 else None)
        return self.norm(x[:, :wanted])


class DecoderLayer(nn.Module):
    """Self-attention among the queries, cross-attention to the memory, feed-forward."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.pre_norm = config.pre_norm
        self.self_attention = Attention(config.dim_model, config.n_heads, config.dropout)
        self.cross_attention = Attention(config.dim_model, config.n_heads, config.dropout)
        self.feed_forward = FeedForward(config)
        self.norm1 = nn.LayerNorm(config.dim_model)
        self.norm2 = nn.LayerNorm(config.dim_model)
        self.norm3 = nn.LayerNorm(config.dim_model)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, query_position: Tensor, memory: Tensor, memory_key: Tensor) -> Tensor:
        """Return (B, T, D) for contents (B, T, D).

        Args:
            x: (B, T, D).
            query_position: (T, D).
            memory: The encoder's output (B, L, D).
            memory_key: The same with its positions added.
        """
        if self.pre_norm:
            x = x + self._attend_self(self.norm1(x), query_position)
            x = x + self._attend_memory(self.norm2(x), query_position, memory, memory_key)
            return x + self.dropout(self.feed_forward(self.norm3(x)))
        x = self.norm1(x + self._attend_self(x, query_position))
        x = self.norm2(x + self._attend_memory(x, query_position, memory, memory_key))
        return self.norm3(x + self.dropout(self.feed_forward(x)))

    def _attend_self(self, x: Tensor, query_position: Tensor) -> Tensor:
        query = x + query_position
        return self.dropout(self.self_attention(query, query, x))

    def _attend_memory(self, x: Tensor, query_position: Tensor, memory: Tensor, memory_key: Tensor) -> Tensor:
        return self.dropout(self.cross_attention(x + query_position, memory_key, memory))


class Decoder(nn.Module):
    """Decoder layers on empty contents, and a norm; the result is the last layer's.

    The first public code of ACT took the first layer's output by mistake, which left the others untrained;
    LeRobot therefore configures one layer (ACT.md 8.4).
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList([DecoderLayer(config) for _ in range(config.n_decoder_layers)])
        self.norm = nn.LayerNorm(config.dim_model)
        self.dropout = config.dropout
        _xavier(self)

    def forward(self, query_position: Tensor, memory: Tensor, memory_position: Tensor) -> Tensor:
        """Return (B, T, D) for queries (T, D), a memory (B, L, D) and its positions (L, D) or (B, L, D)."""
        # Until a layer has seen the memory all samples are alike: without dropout one stands for all.
        alike = 1 if not self.training or self.dropout == 0 else memory.shape[0]
        x = memory.new_zeros(alike, *query_position.shape)
        memory_key = memory + memory_position
        for layer in self.layers:
            x = layer(x, query_position, memory, memory_key)
        return self.norm(x)


def _xavier(module: nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
