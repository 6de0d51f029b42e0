"""The terms of ACT's loss, all on normalised (unitless) actions."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from foreact.config import PolicyConfig, Reduction
from foreact.model.act import ACTOutput
from foreact.records import Batch


@dataclass(frozen=True, kw_only=True, eq=False)
class ACTLoss:
    """The terms of one batch's loss, each a scalar tensor without its weight."""

    loss: Tensor
    """What is minimised: l1 + kl_weight kl + auxiliary_weight auxiliary + contrastive_weight contrastive."""
    l1: Tensor
    kl: Tensor | None = None
    """None where no posterior was computed."""
    auxiliary: Tensor | None = None
    """None where the coordinates were not predicted."""
    contrastive: Tensor | None = None
    """None where there was no counterfactual."""

    def terms(self) -> dict[str, Tensor]:
        """Return the terms that exist by name, for logs."""
        terms = {name: getattr(self, name) for name in ("loss", "l1", "kl", "auxiliary", "contrastive")}
        return {name: value for name, value in terms.items() if value is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class Counterfactual:
    """What the network predicts for the same observations, told another cue."""

    action_hat: Tensor
    """(B, T, A), normalised; predicted with the same latent and dropout."""
    distance: Tensor
    """(B,): between the true and the other cue, in normalised coordinates; 0 where a sample has no other."""


def masked_l1(action_hat: Tensor, action: Tensor, action_is_pad: Tensor, reduction: Reduction = "valid") -> Tensor:
    """Mean absolute error over the steps that exist.

    Args:
        action_hat: Predicted actions (B, T, A).
        action: Target actions (B, T, A).
        action_is_pad: (B, T) bool, True where the episode had already ended; what stands there does not count.
        reduction: "valid" divides by the number of real entries, as LeRobot 0.6 does; "padded_mean" by B*T*A, as
            the original code, il_lib and LeRobot up to 0.3 do: short chunks then weigh less.

    Returns:
        A scalar; NaN with "valid" where every step is padded. It is not looked at here: the processor would wait for
        the GPU in the middle of each step.

    Source: Zhao et al. 2023 (arXiv:2304.13705), Sec. IV-C. Their Algorithm 1 writes a squared error; text and code
    use the absolute one.
    """
    error = (action_hat - action).abs().masked_fill(action_is_pad[..., None], 0.0)
    if reduction == "padded_mean":
        return error.sum() / action.numel()
    return error.sum() / ((~action_is_pad).sum() * action.shape[-1])


def kl_divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, I)), summed over the latent's dimensions and averaged over the batch.

    Args:
        mu: (B, Z).
        log_var: log sigma^2, (B, Z).

    Source: Kingma and Welling 2013 (arXiv:1312.6114), appendix B. A mean over dimensions, which some tutorials
    take, makes the same `kl_weight` Z times weaker.
    """
    return (mu**2 + log_var.exp() - 1 - log_var).sum(dim=-1).mean() / 2


def contrastive_hinge(
    action_hat: Tensor, action_hat_other: Tensor, distance: Tensor, action_is_pad: Tensor, margin: float
) -> Tensor:
    """Penalise chunks that hardly change when the cue does: mean of max(0, margin min(1, distance) - difference).

    The difference is a sample's mean absolute one over the steps that exist. Cues that are nearer than 1 have to
    differ by less, and equal cues by nothing.

    Args:
        action_hat: Chunks for the true cue (B, T, A), normalised.
        action_hat_other: Chunks for the other cue (B, T, A).
        distance: Between the two cues (B,), normalised.
        action_is_pad: (B, T) bool, True where the episode had already ended; a sample of nothing else counts 0.
        margin: Difference from which nothing is lost, in normalised actions.

    Source: the margin of Hadsell et al. 2006 (DrLIM), eq. 4, without its square, between counterfactuals of one
    observation: random pairs of a batch differ by their pictures anyway (ACT.md 9).
    """
    is_real = ~action_is_pad
    change = (action_hat - action_hat_other).abs().mean(dim=-1).masked_fill(action_is_pad, 0.0)  # (B, T)
    difference = change.sum(dim=-1) / is_real.sum(dim=-1).clamp(min=1)
    hinge = F.relu(margin * distance.clamp(max=1.0) - difference)
    return (hinge * is_real.any(dim=-1)).mean()


def act_loss(
    output: ACTOutput, batch: Batch, config: PolicyConfig, *, counterfactual: Counterfactual | None = None
) -> ACTLoss:
    """Return the loss of a prediction against the normalised batch that it was made from.

    The KL term joins where the output holds a posterior (a prediction with z = 0 has none), the auxiliary one where
    it holds predicted coordinates, and the contrastive one where a counterfactual is given. No gradient goes to what is
    compared with: with `frame` the actions are made of the state too.

    Raises:
        ValueError: If the batch lacks actions or the coordinates to compare with.
    """
    if batch.action is None or batch.action_is_pad is None:
        raise ValueError("the loss needs a batch with action and action_is_pad")
    loss = l1 = masked_l1(output.action_hat, batch.action.detach(), batch.action_is_pad, config.reduction)
    kl = auxiliary = contrastive = None
    if output.mu is not None and output.log_var is not None:
        kl = kl_divergence(output.mu, output.log_var)
        loss = loss + config.kl_weight * kl
    if output.cue_hat is not None:
        if batch.environment_state is None:
            raise ValueError("the auxiliary loss needs a batch with environment_state")
        auxiliary = F.mse_loss(output.cue_hat, batch.environment_state.detach())
        loss = loss + config.auxiliary_weight * auxiliary
    if counterfactual is not None:
        contrastive = contrastive_hinge(
            output.action_hat,
            counterfactual.action_hat,
            counterfactual.distance,
            batch.action_is_pad,
            config.contrastive_margin,
        )
        loss = loss + config.contrastive_weight * contrastive
    return ACTLoss(loss=loss, l1=l1, kl=kl, auxiliary=auxiliary, contrastive=contrastive)
