"""The terms of ACT's loss, all on normalised (unitless) actions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from foreact.config import PolicyConfig, Reduction
from foreact.model.act import ACTOutput
from foreact.records import Batch


@dataclass(frozen=True, kw_only=True, eq=False)
class ACTLoss:
    """The terms of one batch's loss, each a scalar tensor."""

    loss: Tensor
    """What is minimised: l1 + kl_weight kl."""
    l1: Tensor
    kl: Tensor | None = None
    """None where no posterior was computed."""

    def terms(self) -> dict[str, Tensor]:
        """Return the terms that exist by name, for logs."""
        terms = {"loss": self.loss, "l1": self.l1}
        return terms if self.kl is None else {**terms, "kl": self.kl}


def masked_l1(action_hat: Tensor, action: Tensor, action_is_pad: Tensor, reduction: Reduction = "valid") -> Tensor:
    """Mean absolute error over the steps that exist.

    Args:
        action_hat: Predicted actions (B, T, A).
        action: Target actions (B, T, A).
        action_is_pad: (B, T) bool, True where the episode had already ended; what stands there does not count.
        reduction: "valid" divides by the number of real entries, as LeRobot 0.6 does; "padded_mean" by B*T*A, as
            the original code, il_lib and LeRobot up to 0.3 do: short chunks then weigh less.

    Raises:
        ValueError: If every step is padded, because there is nothing to learn from.

    Source: Zhao et al. 2023 (arXiv:2304.13705), Sec. IV-C. Their Algorithm 1 writes a squared error; text and code
    use the absolute one.
    """
    n_real = int((~action_is_pad).sum())
    if n_real == 0:
        raise ValueError("every step of the batch is padded, so its L1 is undefined")
    error = (action_hat - action).abs().masked_fill(action_is_pad[..., None], 0.0)
    return error.sum() / (n_real * action.shape[-1] if reduction == "valid" else action.numel())


def kl_divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, I)), summed over the latent's dimensions and averaged over the batch.

    Args:
        mu: (B, Z).
        log_var: log sigma^2, (B, Z).

    Source: Kingma and Welling 2013 (arXiv:1312.6114), appendix B. A mean over dimensions, which some tutorials
    take, makes the same `kl_weight` Z times weaker.
    """
    return (mu**2 + log_var.exp() - 1 - log_var).sum(dim=-1).mean() / 2


def act_loss(output: ACTOutput, batch: Batch, config: PolicyConfig) -> ACTLoss:
    """Return the loss of a prediction against the normalised batch that it was made from.

    The KL term joins where the output holds a posterior; a prediction with z = 0 has none.

    Raises:
        ValueError: If the batch has no actions, or all of them are padded.
    """
    if batch.action is None or batch.action_is_pad is None:
        raise ValueError("the loss needs a batch with action and action_is_pad")
    l1 = masked_l1(output.action_hat, batch.action, batch.action_is_pad, config.reduction)
    if output.mu is None or output.log_var is None:
        return ACTLoss(loss=l1, l1=l1)
    kl = kl_divergence(output.mu, output.log_var)
    return ACTLoss(loss=l1 + config.kl_weight * kl, l1=l1, kl=kl)
