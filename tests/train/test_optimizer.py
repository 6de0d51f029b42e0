"""A faster optimiser makes the steps of the plain one."""

from copy import deepcopy
from dataclasses import replace

import torch
from torch.optim import AdamW

from foreact.config import RunConfig
from foreact.model.act import ACT
from foreact.records import Camera, Features
from foreact.train.optimizer import make_optimizer, parameter_groups
from tiny import TINY

FEATURES = Features(state_names=("a", "b"), action_names=("a", "b"), cameras=(Camera(name="top", height=24, width=32),))


def test_steps_of_the_fused_optimizer_are_those_of_the_plain_one(tiny_run: RunConfig) -> None:
    """Decayed and not decayed, with a backbone's own rate; gradients of each step are drawn, not computed."""
    config = replace(tiny_run.train, weight_decay=0.1, lr_backbone=3e-4)
    torch.manual_seed(0)
    ours = ACT(TINY, FEATURES)
    plain = deepcopy(ours)
    options = {"lr": config.lr, "weight_decay": config.weight_decay}
    one_by_one = AdamW(parameter_groups(plain, config), **options, fused=False, foreach=False)  # type: ignore[arg-type]
    fused = make_optimizer(ours, config)
    assert fused.defaults["fused"] is True
    begun = [of.detach().clone() for of in ours.parameters()]
    for _ in range(5):
        for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        fused.step()
        one_by_one.step()
    moved = [float((of.detach() - before).abs().max()) for of, before in zip(ours.parameters(), begun, strict=True)]
    assert min(moved) > 1e-4
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
