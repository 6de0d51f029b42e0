"""What one training step minimises, whoever runs the loop: ours (`module.py`) or LeRobot's (the plugin)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from foreact.config import PolicyConfig
from foreact.model.act import ACT, ACTOutput
from foreact.model.latent import sample_latent
from foreact.model.losses import ACTLoss, Counterfactual, act_loss
from foreact.policy.inputs import CUE_DIM, Inputs, with_cue
from foreact.records import Batch
from foreact.train.gradient_share import GradientShare

_DROPOUT = 0xD207
"""Told apart from the batch's other noise."""


def training_loss(
    model: ACT,
    inputs: Inputs,
    config: PolicyConfig,
    raw: Batch,
    prepared: Batch,
    *,
    seed: int,
    watched: GradientShare | None = None,
) -> ACTLoss:
    """Return the loss of a batch with all that the configuration adds to it.

    Args:
        model: In training mode.
        inputs: What prepared the batch.
        config: The policy's.
        raw: As the loader gave it, perhaps with noise on the cue.
        prepared: The same for the network.
        seed: Of crops and dropout; PyTorch's global generator is seeded with it where two predictions must be alike.
        watched: Is shown the pictures of the counterfactual; None where nobody asks for the gradient at the inputs.
    """
    if "contrastive" in config.conditioning and raw.environment_state is not None:
        output, other = _with_counterfactual(model, inputs, config, raw, prepared, seed, watched)
    else:
        output, other = model(prepared, z="posterior" if config.use_vae else "zero"), None
    return act_loss(output, prepared, config, counterfactual=other)


def _with_counterfactual(
    model: ACT,
    inputs: Inputs,
    config: PolicyConfig,
    raw: Batch,
    prepared: Batch,
    seed: int,
    watched: GradientShare | None,
) -> tuple[ACTOutput, Counterfactual]:
    """Predict as the batch says, and for the same observations with the cue of the neighbour in the batch.

    With `train.sampling` "paired" the neighbour shows the same scene and has another block as target. Crops, latent
    and dropout are the same: whatever differs is an answer to the cue.
    """
    assert raw.environment_state is not None
    assert prepared.environment_state is not None
    places = torch.arange(raw.size, device=raw.environment_state.device)
    neighbour = torch.where(places ^ 1 < raw.size, places ^ 1, places)
    other_raw = with_cue(raw, raw.environment_state[neighbour, :CUE_DIM])
    told_other = inputs.prepare(other_raw, crop_seed=seed, cells=model.cell_middles)
    assert told_other.environment_state is not None
    if watched is not None:
        watched.pictures(told_other)
    apart = (told_other.environment_state - prepared.environment_state)[:, :CUE_DIM].detach()
    distance = apart.norm(dim=1)

    z: Tensor | Literal["zero"] = "zero"
    mu = log_var = None
    if config.use_vae:
        mu, log_var = model.posterior(prepared)
        z = sample_latent(mu, log_var)
    torch.manual_seed(seed ^ _DROPOUT)
    output = replace(model(prepared, z=z), mu=mu, log_var=log_var)
    torch.manual_seed(seed ^ _DROPOUT)
    other = model(told_other, z=z)
    return output, Counterfactual(action_hat=other.action_hat, distance=distance)
