"""ACT as a Lightning module: one step, one validation, what is logged."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim import Optimizer

from foreact.config import RunConfig
from foreact.errors import TrainingError
from foreact.model.act import ACT
from foreact.model.losses import act_loss
from foreact.policy.inputs import Inputs, cue_noise
from foreact.records import Batch, Features, Statistics
from foreact.train.gradient_share import GradientShare
from foreact.train.objective import training_loss
from foreact.train.optimizer import gradient_norm, make_optimizer, make_schedule

_CUE_NOISE = 0x5EED
"""Told apart from the batch's other noise: the latent's must not say what was added to the cue."""


class ACTModule(lightning.LightningModule):
    """Raw batches in, loss terms out.

    All randomness of a step (crops, dropout, latent noise) is a function of the seed, the batch's number and the
    rank, so a resumed run continues bit for bit without a saved generator.
    """

    def __init__(self, run: RunConfig, features: Features, statistics: Statistics) -> None:
        """Build network and normaliser; the network's initialisation is drawn from `run.train.seed`."""
        super().__init__()
        self.run = run
        self.inputs = Inputs(run.policy, features, statistics)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.train.seed)
            self.model = ACT(run.policy, self.inputs.network_features)
        self._statistics = statistics
        self._watched: GradientShare | None = None
        if run.train.compile:
            self.model.compile()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed this batch's noise."""
        torch.manual_seed(_mix(self.run.train.seed, batch_idx, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a raw batch; whether it is finite is seen when the gradient is clipped."""
        seed = _mix(self.run.train.seed, batch_idx, self.global_rank)
        noise = torch.Generator().manual_seed(seed ^ _CUE_NOISE)
        batch = cue_noise(batch, self.run.train.cue_noise, noise)
        prepare: Callable[[Batch], Batch] = partial(self.inputs.prepare, crop_seed=seed, cells=self.model.cell_middles)
        if self.run.train.grad_share and (self.global_step + 1) % self.run.train.log_every == 0:
            self._watched = GradientShare(self.inputs, self._statistics)
            batch, prepare = self._watched.vectors(batch), self._watched.pictures(prepare)
        terms = training_loss(self.model, self.run.policy, batch, prepare, seed=seed).terms()
        self._last_batch, self._last_terms = batch, {name: value.detach() for name, value in terms.items()}
        self.log_dict({f"train/{name}": value for name, value in self._last_terms.items()}, batch_size=batch.size)
        return terms["loss"]

    def on_after_backward(self) -> None:
        """Log each input's share of the gradient, where it was asked for."""
        if self._watched is not None:
            self.log_dict({f"grad_share/{name}": share for name, share in self._watched.shares().items()})
            self._watched = None

    def _not_finite(self, what: str, batch: Batch) -> str:
        episodes = () if batch.episode_index is None else sorted(set(batch.episode_index.tolist()))
        return (
            f"{what} at step {self.global_step}; episodes in the batch: {', '.join(map(str, episodes))}. "
            "The last checkpoint, if there is one, is untouched; look at these episodes, or start with a lower train.lr"
        )

    def configure_gradient_clipping(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
        """Clip the gradient norm, before it reaches the weights.

        Raises:
            TrainingError: If a term of the loss or the norm is not finite; names it and the episodes in the batch.
        """
        norm = gradient_norm(self.model, self.run.train.grad_clip)
        seen = {f"loss term '{name}'": value for name, value in self._last_terms.items()}
        if self.run.train.precision != "16-mixed":  # whose scaler skips such steps
            seen["the gradient norm"] = norm
        finite = torch.stack(list(seen.values())).isfinite()
        if not finite.all():  # the only look at a GPU's values in a step
            name, value = next(of for of, is_finite in zip(seen.items(), finite, strict=True) if not is_finite)
            raise TrainingError(self._not_finite(f"{name} is {value.item()}", self._last_batch))
        self.log("train/grad_norm", norm)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the same L1 with z = 0, which inference uses, and with the posterior z, which has seen the answer."""
        prepared = self.inputs.prepare(batch, cells=self.model.cell_middles)
        zero = act_loss(self.model(prepared, z="zero"), prepared, self.run.policy).terms()
        logged = {"val/l1": zero["l1"]}
        if self.run.policy.use_vae:
            generator = torch.Generator(self.device).manual_seed(_mix(self.run.train.seed, batch_idx, -1))
            output = self.model(prepared, z="posterior", generator=generator)
            posterior = act_loss(output, prepared, self.run.policy).terms()
            logged |= {"val/l1_posterior": posterior["l1"], "val/kl": posterior["kl"]}
        self.log_dict(logged, batch_size=batch.size, sync_dist=True, on_epoch=True, on_step=False)

    def configure_optimizers(self) -> Any:
        """Return AdamW with its schedule, stepped once an optimiser step."""
        optimizer = make_optimizer(self.model, self.run.train)
        schedule = {"scheduler": make_schedule(optimizer, self.run.train), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def _mix(seed: int, batch_idx: int, rank: int) -> int:
    """One seed from three numbers: distinct for the sizes that occur (2^20 ranks, 2^34 batches)."""
    return (seed * 0x9E3779B97F4A7C15 + (batch_idx << 20) + rank + 1) % (1 << 63)
