"""What one training step minimises, whoever runs the loop: ours (`module.py`) or LeRobot's (the plugin)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from foreact.config import PolicyConfig
from foreact.model.act import ACT, ACTOutput
from foreact.model.latent import sample_latent
from foreact.model.losses import ACTLoss, Counterfactual, act_loss
from foreact.policy.inputs import CUE_DIM, with_cue
from foreact.records import Batch

_DROPOUT = 0xD207
"""Told apart from the batch's other noise."""


def training_loss(
    model: ACT, config: PolicyConfig, raw: Batch, prepare: Callable[[Batch], Batch], *, seed: int
) -> ACTLoss:
    """Return the loss of a batch with all that the configuration adds to it.

    Args:
        model: In training mode.
        config: The policy's.
        raw: As the loader gave it, perhaps with noise on the cue.
        prepare: Makes of a raw batch what the network takes, each time with the same crops (`Inputs.prepare`).
        seed: Of dropout; PyTorch's global generator is seeded with it where two predictions must be alike.
    """
    prepared = prepare(raw)
    if "contrastive" in config.conditioning and raw.environment_state is not None:
        neighbours = prepare(with_cue(raw, _cues_of_neighbours(raw.environment_state)))
        output, other = _with_counterfactual(model, config, prepared, neighbours, seed)
    else:
        output, other = model(prepared, z="posterior" if config.use_vae else "zero"), None
    return act_loss(output, prepared, config, counterfactual=other)


def _cues_of_neighbours(coordinates: Tensor) -> Tensor:
    """Return for each of a batch's coordinates (B, E) the cue of its neighbour in the batch (B, 2).

    With `train.sampling` "paired" the neighbour shows the same scene and has another block as target.
    """
    places = torch.arange(len(coordinates), device=coordinates.device)
    return coordinates[torch.where(places ^ 1 < len(places), places ^ 1, places), :CUE_DIM]


def _with_counterfactual(
    model: ACT, config: PolicyConfig, prepared: Batch, told_other: Batch, seed: int
) -> tuple[ACTOutput, Counterfactual]:
    """Predict as a batch says, and for the same observations with other cues.

    Crops, latent and dropout are the same: whatever differs is an answer to the cue.
    """
    assert prepared.environment_state is not None
    assert told_other.environment_state is not None
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
