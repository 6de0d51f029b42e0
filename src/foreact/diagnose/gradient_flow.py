"""Whether all parts of the network learn: the gradient of the training loss at each, and which are frozen.

Two backward passes over some batches, as in training (dropout, posterior, all terms of the loss), at the checkpoint's
weights: of what judges predictions, and of the weighted KL term, whose only way is into the CVAE encoder. AdamW takes
the size out of a gradient, so a small share is no fault; none at all is. What a checkpoint cannot say of itself, such
as a part whose `requires_grad` some code has switched off, is seen in the weights: a frozen part is the same, bit for
bit, in two checkpoints of one run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from foreact.config import PolicyConfig, TrainConfig
from foreact.diagnose.network_parts import BACKBONE, KL, Part, explained, parts_of
from foreact.diagnose.probe import Probe
from foreact.finding import Finding, Severity
from foreact.model.act import ACT
from foreact.model.losses import ACTLoss
from foreact.train.objective import training_loss
from foreact.train.optimizer import parameter_groups

BATCHES, SAMPLES = 3, 16
"""How many batches of how many samples."""
NEARLY_NONE = 1e-6
"""Root mean square of a parameter's gradient, as a share of all parameters', below which it has none."""

TITLE = "Does every part of the network learn?"


@dataclass(frozen=True, kw_only=True)
class PartFlow:
    """The gradient at one part; norms are L2, root mean square over the batches."""

    part: Part
    parameters: int
    gradient: float
    weight: float
    """Norm of the weights."""
    share: float
    """Of the squared norm of the whole gradient; all parts add up to 1."""
    of_terms: Mapping[str, float]
    """The same of each term's own gradient, by the names of `GradientFlow.terms`."""
    without: tuple[str, ...]
    """Parameters that get none and should."""
    excused: Mapping[str, str]
    """Parameters that cannot have any, each with the reason."""
    lr: float | None
    """Learning rate in training; None where it is not known."""
    has_moved: bool | None
    """Whether any weight differs from an earlier checkpoint of the run; None where there is none."""
    is_as_drawn: bool
    """Whether the weights are those that the run's seed draws, up to a factor (weight decay)."""

    @property
    def is_frozen(self) -> bool:
        """Whether training leaves it as it is."""
        return self.lr == 0 or self.has_moved is False

    @property
    def is_dead(self) -> bool:
        """Whether nothing of it gets a gradient, although it is not frozen."""
        return not self.is_frozen and len(self.without) > 0 and self.gradient == 0


@dataclass(frozen=True, kw_only=True)
class GradientFlow:
    """What was measured."""

    parts: tuple[PartFlow, ...]
    norm: float
    """Of the whole gradient."""
    terms: Mapping[str, float]
    """Norms of the loss's terms, with their weights: what judges predictions (`L1`, `L1 + auxiliary`, ...), and `KL`
    where there is a posterior."""
    compared_with: int | None
    """Step of the earlier checkpoint; None where there is none."""

    @property
    def frozen(self) -> tuple[PartFlow, ...]:
        """Parts that training leaves as they are; none where it leaves all, for then the rate has run out."""
        frozen = tuple(of for of in self.parts if of.is_frozen)
        return () if len(frozen) == len(self.parts) else frozen


def gradient_flow(
    probe: Probe,
    network: ACT,
    train: TrainConfig | None,
    *,
    earlier: Mapping[str, Tensor] | None = None,
    earlier_step: int | None = None,
    seed: int = 0,
) -> GradientFlow:
    """Measure.

    Args:
        probe: What prepares the batches, and the episodes.
        network: With its CVAE encoder, and nobody else's: its gradients and running statistics change.
        train: How it was trained; None where that is not known.
        earlier: Weights of an earlier checkpoint of the same run.
        earlier_step: Its step.
        seed: Of the samples, dropout and the posterior's noise.
    """
    named = dict(network.named_parameters())
    frozen_by_code = {name for name, parameter in named.items() if not parameter.requires_grad}
    squares = dict.fromkeys(named, 0.0)  # of the whole gradient
    by_term: dict[str, dict[str, float]] = {}
    rng = np.random.default_rng(seed)
    config = _trainable(network)
    network.train()
    for number in range(BATCHES):
        rows = rng.integers(len(probe.dataset), size=SAMPLES)
        raw = probe.dataset.__getitems__(rows.tolist()).to(probe.device)
        prepare = partial(probe.inputs.prepare, crop_seed=number, cells=network.cell_middles)
        with torch.random.fork_rng():
            torch.manual_seed(seed + number)
            loss = training_loss(network, config, raw, prepare, seed=number)
        gradients = {term: _gradients(network, value) for term, value in _terms(loss, config).items()}
        for term, of in gradients.items():
            _add_squares(by_term.setdefault(term, dict.fromkeys(named, 0.0)), of)
        _add_squares(squares, {name: torch.stack([of[name] for of in gradients.values()]).sum(dim=0) for name in named})
        probe.advance(SAMPLES)
    network.zero_grad()
    network.eval()
    total = sum(squares.values())
    typical = (total / max(1, sum(parameter.numel() for parameter in named.values()))) ** 0.5
    rates = {} if train is None else _rates(network, train)
    drawn = None if train is None else _drawn(network, train)
    reasons = explained(network)

    def flow(part: Part, of: dict[str, nn.Parameter]) -> PartFlow:
        none = [name for name in of if (squares[name] / of[name].numel()) ** 0.5 <= NEARLY_NONE * typical]
        part_rates = [rates[name] for name in of if name in rates]
        return PartFlow(
            part=part,
            parameters=sum(parameter.numel() for parameter in of.values()),
            gradient=sum(squares[name] for name in of) ** 0.5,
            weight=float(torch.stack([parameter.detach().norm() for parameter in of.values()]).norm()),
            share=_share(squares, of),
            of_terms={term: _share(of_term, of) for term, of_term in by_term.items()},
            without=tuple(name for name in none if name not in reasons),
            excused={name: reasons[name] for name in none if name in reasons},
            lr=0.0 if set(of) <= frozen_by_code else max(part_rates) if part_rates else None,
            has_moved=None if earlier is None else any(_differs(of[name], earlier.get(name)) for name in of),
            is_as_drawn=drawn is not None and all(_is_multiple(of[name], drawn[name]) for name in of),
        )

    return GradientFlow(
        parts=tuple(flow(part, of) for part, of in parts_of(network).items()),
        norm=total**0.5,
        terms={term: sum(of_term.values()) ** 0.5 for term, of_term in by_term.items()},
        compared_with=earlier_step,
    )


def _terms(loss: ACTLoss, config: PolicyConfig) -> dict[str, Tensor]:
    """Split the loss into what judges predictions (L1 and what conditioning adds) and the weighted KL term."""
    predicted = " + ".join(["L1", *(name for name in ("auxiliary", "contrastive") if name in loss.terms())])
    if loss.kl is None:
        return {predicted: loss.loss}
    kl = config.kl_weight * loss.kl
    return {predicted: loss.loss - kl, KL: kl}


def _gradients(network: ACT, loss: Tensor) -> dict[str, Tensor]:
    """Return a loss's gradient by parameter, 0 where none arrives; the graph stays."""
    network.zero_grad()
    if loss.requires_grad:  # not where all that it depends on is frozen
        loss.backward(retain_graph=True)
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.detach().clone()
        for name, parameter in network.named_parameters()
    }


def _add_squares(squares: dict[str, float], gradients: Mapping[str, Tensor]) -> None:
    for name, gradient in gradients.items():
        squares[name] += float(gradient.double().square().sum()) / BATCHES


def _share(squares: Mapping[str, float], names: Iterable[str]) -> float:
    return sum(squares[name] for name in names) / max(sum(squares.values()), 1e-300)


def _trainable(network: ACT) -> PolicyConfig:
    """Return the configuration with which the network can be trained as it is: without a CVAE encoder z is 0."""
    return network.config if network.vae_encoder is not None else replace(network.config, use_vae=False)


def _rates(network: ACT, train: TrainConfig) -> dict[str, float]:
    """The peak learning rate of each parameter that an optimiser would get, by name."""
    rates: dict[int, float] = {}
    for group in parameter_groups(network, train):
        parameters, lr = group["params"], group["lr"]
        assert isinstance(parameters, Iterable)
        assert isinstance(lr, float)
        rates |= {id(parameter): lr for parameter in parameters}
    return {name: rates[id(parameter)] for name, parameter in network.named_parameters() if id(parameter) in rates}


def _drawn(network: ACT, train: TrainConfig) -> dict[str, Tensor]:
    """The weights that the run's seed draws before any file of weights is read (`ACTModule`)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(train.seed)
        other = ACT(replace(network.config, pretrained_backbone_weights=None), network.features)
    return dict(other.named_parameters())


def _differs(weight: Tensor, before: Tensor | None) -> bool:
    return before is None or not torch.equal(weight.detach().cpu(), before.cpu())


def _is_multiple(weight: Tensor, other: Tensor) -> bool:
    """Whether one is the other times a number near 1: decay shrinks what no gradient reaches."""
    one, two = weight.detach().cpu().double().flatten(), other.detach().cpu().double().flatten()
    if one.shape != two.shape:
        return False
    size = two @ two
    factor = (one @ two) / size if size > 0 else 1.0
    return bool((one - factor * two).norm() <= 1e-5 * one.norm() and 0.5 < factor <= 1.0 + 1e-6)


def judge_gradient_flow(measured: GradientFlow, config: PolicyConfig, train: TrainConfig | None) -> Finding:
    """Put it into words."""
    frozen = measured.frozen
    names = {of.part for of in frozen}
    dead = [of for of in measured.parts if of.is_dead and of.part not in names]
    partly = [name for of in measured.parts if of.part not in names and not of.is_dead for name in of.without]
    severity: Severity = "fine"
    said, remedies = [], []
    if dead or partly:
        severity = "fault"
        if dead:
            said.append(f"no gradient arrives at {_listed([of.part.name for of in dead])}")
        if partly:
            said.append(f"no gradient arrives at {_listed(partly)}")
        remedies.append("look where these stand in the forward pass: nothing of the loss depends on them")
    for box in dict.fromkeys(of.part.box for of in frozen):
        of_box = [of for of in frozen if of.part.box == box]
        whole = len(of_box) == sum(of.part.box == box for of in measured.parts)
        name = box if whole else _listed([of.part.name for of in of_box])
        by_rate = all(of.lr == 0 for of in of_box)
        option = "lr_backbone" if box.startswith(BACKBONE) else "lr"
        how = f"train.{option} is 0" if by_rate else f"not one weight has changed since step {measured.compared_with}"
        random = all(of.is_as_drawn for of in of_box)
        said.append(f"the {name} is frozen{' at its random weights' if random else ''}: {how}")
        by_mistake = random or not by_rate
        if severity != "fault":
            severity = "fault" if by_mistake else "warning"
        rate = f"--train.{option.replace('_', '-')} {1e-5 if train is None else (train.lr or 1e-5):g}"
        remedies.append(
            f"train it: {rate}" if by_rate else f"nothing in the recipe freezes the {name}: look for requires_grad"
        )
        if random and box.startswith(BACKBONE) and config.vision_backbone != "cnn":  # there are none for that
            remedies.append("or begin with weights that know pictures: --policy.pretrained-backbone-weights imagenet")
    if not said:
        least = min(measured.parts, key=lambda of: of.gradient / max(of.weight, 1e-12))
        said.append(
            f"every part gets a gradient; least for its weights {least.part.name} "
            f"({least.gradient / max(least.weight, 1e-12):.1e} of their norm)"
        )
    if config.backbone_norm == "frozen" and any(of.part.box.startswith(BACKBONE) for of in measured.parts):
        said.append("the backbone's batch norms are fixed on purpose (policy.backbone_norm frozen)")
    for reason in dict.fromkeys(reason for of in measured.parts for reason in of.excused.values()):
        n = sum(reason in of.excused.values() for of in measured.parts)
        said.append(f"{'1 parameter' if n == 1 else f'{n} parameters'} cannot learn: {reason}")
    return Finding(
        question="parts",
        title=TITLE,
        verdict="; ".join(said),
        severity=severity,
        remedy="; ".join(remedies),
        evidence={
            "gradient_norm": measured.norm,
            "gradient_norm_of_terms": dict(measured.terms),
            "batches": BATCHES,
            "samples_a_batch": SAMPLES,
            "compared_with_step": measured.compared_with,
            "without_gradient": [name for of in measured.parts for name in of.without],
            "explained": {name: reason for of in measured.parts for name, reason in of.excused.items()},
            "parts": [
                {
                    "box": of.part.box,
                    "layer": of.part.layer,
                    "parameters": of.parameters,
                    "gradient_norm": of.gradient,
                    "weight_norm": of.weight,
                    "share": of.share,
                    "share_of_terms": dict(of.of_terms),
                    "lr": of.lr,
                    "frozen": of in frozen,
                    "dead": of in dead,
                    "has_moved": of.has_moved,
                    "is_as_drawn": of.is_as_drawn,
                }
                for of in measured.parts
            ],
            "table": [
                {
                    "part": of.part.name,
                    "parameters": of.parameters,
                    "gradient": of.gradient,
                    "gradient / weights": of.gradient / max(of.weight, 1e-12),
                    "share %": 100 * of.share,
                    **{f"of {term} %": 100 * share for term, share in of.of_terms.items()},
                    "learns": "frozen" if of in frozen else "no" if of in dead else "yes",
                }
                for of in measured.parts
            ],
        },
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
