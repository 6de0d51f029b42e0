"""`train.compile`: a step compiled by torch.compile computes what the clear code computes."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch._inductor import config as inductor

from foreact.config import RunConfig
from foreact.train.run import train
from train.test_run import with_train


class _Gradients(Callback):
    """Keeps the loss terms and gradients of the first step."""

    def __init__(self) -> None:
        self.terms: dict[str, Tensor] = {}
        self.gradients: dict[str, Tensor] = {}

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, *args: object) -> None:
        named = pl_module.named_parameters()
        self.gradients = {name: of.grad.clone() for name, of in named if of.grad is not None}
        self.terms = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("train/")}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
def test_a_compiled_step_has_the_losses_and_gradients_of_the_plain_one(
    tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path
) -> None:
    """Without dropout, whose mask is drawn otherwise; the latent's noise is drawn alike by `fallback_random`."""
    run = replace(tiny_run, policy=replace(tiny_run.policy, dropout=0.0))
    seen = []
    with inductor.patch(fallback_random=True):
        for compile in (False, True):
            gradients = _Gradients()
            step = with_train(run, compile=compile, steps=1, warmup_steps=0, val_fraction=0.0)
            train(step, data=dataset, out=tmp_path / str(compile), cache_dir=cache_dir, callbacks=[gradients])
            seen.append(gradients)
    plain, compiled = seen
    assert set(plain.terms) >= {"train/l1", "train/kl", "train/loss"}
    torch.testing.assert_close(compiled.terms, plain.terms, rtol=1e-5, atol=1e-6)
    largest = max(of.abs().max().item() for of in plain.gradients.values())
    torch.testing.assert_close(compiled.gradients, plain.gradients, rtol=1e-4, atol=1e-6 * largest)
