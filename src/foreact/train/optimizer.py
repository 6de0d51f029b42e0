"""Parameter groups, AdamW and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from foreact.config import TrainConfig
from foreact.model.act import ACT


def parameter_groups(model: ACT, config: TrainConfig) -> list[dict[str, object]]:
    """Return AdamW groups, by what a parameter is, never by a rate's value, so that a resumed run finds the same.

    - The backbones have a learning rate of their own (seed 000; DETR and ACT do so too).
    - Biases, norms and one-dimensional embeddings are not decayed (il_lib's grouping; the original code decays all).
    - `layer_decay` d multiplies the rate by d^k for a parameter k transformer layers away from the action head.
    """
    groups: dict[tuple[bool, int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            layers = layers_from_output(model, name) if config.layer_decay < 1 else 0
            groups.setdefault((name.startswith("backbone"), layers, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": (config.lr_backbone if in_backbone else config.lr) * config.layer_decay**layers,
            "weight_decay": config.weight_decay if decayed else 0.0,
        }
        for (in_backbone, layers, decayed), parameters in groups.items()
    ]


def layers_from_output(model: ACT, name: str) -> int:
    """Return how many transformer layers lie between a parameter and the action head.

    0 for the head and the last decoder layer; all of them for what feeds the first encoder layer.
    """
    n_encoder, n_decoder = model.config.n_encoder_layers, model.config.n_decoder_layers
    parts = name.split(".")
    if parts[0] in ("action_head", "cue_head") or parts[:2] == ["decoder", "norm"]:
        return 0
    if parts[:2] == ["decoder", "layers"]:
        return n_decoder - 1 - int(parts[2])
    if parts[:2] == ["encoder", "layers"]:
        return n_decoder + n_encoder - 1 - int(parts[2])
    if parts[:2] == ["encoder", "norm"]:
        return n_decoder
    return n_decoder + n_encoder


def make_optimizer(model: ACT, config: TrainConfig) -> Optimizer:
    """Return AdamW over `parameter_groups`."""
    # Lightning leaves unscaling to a fused optimiser, so fp16 gradients would be clipped while still scaled.
    fused = config.precision != "16-mixed"
    return AdamW(parameter_groups(model, config), lr=config.lr, weight_decay=config.weight_decay, fused=fused)


def make_schedule(optimizer: Optimizer, config: TrainConfig) -> LambdaLR:
    """Return linear warm-up from 0, then a constant rate or a cosine down to `lr_min` at the last step.

    A group whose own rate is below `lr_min` keeps it.
    """
    factors = [_factor(float(group["lr"]), config) for group in optimizer.param_groups]
    return LambdaLR(optimizer, factors)


def _factor(lr: float, config: TrainConfig) -> Callable[[int], float]:
    floor = min(config.lr_min / lr, 1.0) if lr > 0 else 1.0

    def factor(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        if config.lr_schedule == "constant":
            return 1.0
        progress = min((step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1), 1.0)
        return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2

    return factor


def gradient_norm(model: nn.Module, largest: float) -> torch.Tensor:
    """Return the norm of all gradients, which are scaled down to `largest` where it is positive."""
    return nn.utils.clip_grad_norm_(model.parameters(), largest if largest > 0 else math.inf)
