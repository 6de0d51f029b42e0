"""What a training step costs in time and memory, from the configuration alone.

The model, in full:

    seconds = sum over kinds of FLOPs / rate  +  bytes / bandwidth, in memory and in the cache
              +  calls / rate, and once more where they are recorded for the backward pass
    memory  = the process without tensors  +  HEAP x the most that all tensors hold at once

FLOPs, bytes, calls and the tensors' peak are counted by walking through `ACTModule`'s own step on tensors without
numbers, so whatever the network becomes is counted as it is. All of them are straight lines in the batch size, which
are drawn through two small batches. The rates are those of rates.py.

Bytes are those of an operation's inputs and outputs, whether or not a cache holds them; reading data, validation and
checkpoints are not part of a step.
"""

from __future__ import annotations

import math
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, shape_wrapper

from foreact.config import RunConfig
from foreact.policy.inputs import network_features
from foreact.records import Batch, Features, VectorStatistics
from foreact.train.module import ACTModule
from foreact_runtime import keys

PARTS = {
    "backbones": "vision backbone",
    "image_proj": "vision backbone",
    "vae_encoder": "CVAE encoder",
    "encoder": "encoder",
    "decoder": "decoder",
}
"""Parts of the network by the names of ACT's modules; the others are `the rest`."""
REST = "the rest"

OPTIMISER = "optimiser"
"""Clipping and AdamW."""

MEMORY, CACHED = "bytes moved", "bytes moved in the cache"
CALLS, RECORDED = "calls", "recorded calls"
"""Of operations; and of those of them that are noted for the backward pass, which Python code stands around."""
PRODUCT, ATTENTION = "matrix product", "fused attention"
CONVOLUTION, CONVOLUTION_STRIDED = "convolution", "strided convolution"
CONVOLUTION_SMALL, CONVOLUTION_FIRST = "convolution of few cells", "first convolution"
CONVOLUTION_PLANES = "convolution of planes"
"""In the usual order, a plane a channel; the others have the channels of a pixel side by side."""
BACKWARD = ", backward"
"""Behind a convolution's kind."""
_CONVOLUTIONS = (CONVOLUTION, CONVOLUTION_STRIDED, CONVOLUTION_PLANES, CONVOLUTION_SMALL, CONVOLUTION_FIRST)
FLOP_KINDS = (PRODUCT, ATTENTION, *_CONVOLUTIONS, *(f"{kind}{BACKWARD}" for kind in _CONVOLUTIONS))
"""All kinds of operation with FLOPs; MEMORY, CACHED, CALLS and RECORDED count what else takes time."""
_FEW_CELLS = 64
"""Feature maps of no more cells are convolved more slowly: their weights are larger than they are."""
_FEW_CHANNELS = 5
"""A picture's, not a feature map's."""
_CACHE = 1 << 20
"""Bytes that an operation may read and write to be done in a core's own cache."""

HEAP = 1.25
"""What a process on a CPU holds for each byte of its tensors at their peak: gaps between them, and oneDNN's copies of
what it convolves. Of the points of `benchmarks/scaling.py`."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is computed: FLOPs by kind of operation, and what is moved and called."""

    amounts: Mapping[str, float] = field(default_factory=dict)
    """FLOPs by kind of operation; bytes under `MEMORY` and `CACHED`; numbers under `CALLS` and `RECORDED`."""

    @property
    def flops(self) -> float:
        """Of all kinds together."""
        return sum(amount for kind, amount in self.amounts.items() if kind in FLOP_KINDS)

    def seconds(self, rates: Mapping[str, float]) -> float:
        """Return the time it takes at these rates, in the units of `amounts` a second."""
        return sum(amount / rates[kind] for kind, amount in self.amounts.items())


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """What a training step of one batch computes and holds."""

    work: Mapping[str, Work]
    """By part of the network, and `OPTIMISER`."""
    parameters: Mapping[str, int]
    """By part."""
    weights: int
    """Bytes of all parameters and buffers."""
    trained: int
    """Bytes of the parameters that are trained: as many are the gradients, twice as many AdamW's averages."""
    saved: int
    """Bytes of the weights in a checkpoint, their moving average among them."""
    activations: int
    """Bytes that the forward pass leaves for the backward pass."""
    operations: int
    """Calls of a step whatever its batch: what a processor does sample by sample, a card does in one call."""
    peaks: Mapping[str, float]
    """Bytes that all tensors hold at the highest moment of each part of a step, by direction and part."""
    batch_size: int

    @property
    def all_work(self) -> Work:
        """Of all parts together."""
        amounts: Counter[str] = Counter()
        for work in self.work.values():
            amounts.update(work.amounts)
        return Work(amounts=amounts)

    @property
    def peak(self) -> float:
        """Bytes that all tensors hold at the highest moment of a step."""
        return max(self.peaks.values())

    def process_peak(self, besides: int) -> int:
        """Return the most that a training process on a CPU holds, given what it holds besides its tensors."""
        return besides + round(HEAP * self.peak)

    @property
    def n_parameters(self) -> int:
        """Of all parts together."""
        return sum(self.parameters.values())

    def seconds(self, rates: Mapping[str, float]) -> float:
        """Return the time of a step."""
        return self.all_work.seconds(rates)


def count_step(run: RunConfig, features: Features) -> StepCost:
    """Count what a step of a batch of `train.batch_size` costs, without computing one.

    Args:
        run: The recipe.
        features: As selected from the data (`select_features`).

    Raises:
        ConfigError: If configuration and features contradict each other, as the network says it.
    """
    size = run.train.batch_size
    policy = replace(run.policy, pretrained_backbone_weights=None)
    run = replace(run, policy=policy, train=replace(run.train, compile=False, grad_share=False))
    module = QuietModule(run, features, any_statistics(run, features)).train()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        _drop_numbers(module, mode)
        # Not one sample, which is treated apart here and there.
        two, three = _count(module, features, 2), _count(module, features, 3)

    def line(second: float, third: float) -> float:
        return second + (third - second) * (size - 2)

    def lines(second: Mapping[str, float], third: Mapping[str, float]) -> dict[str, float]:
        return {of: line(second.get(of, 0), amount) for of, amount in third.items()}

    return replace(
        two,
        work={part: Work(amounts=lines(two.work[part].amounts, work.amounts)) for part, work in three.work.items()},
        peaks=lines(two.peaks, three.peaks),
        activations=round(line(two.activations, three.activations)),
        operations=3 * two.operations - 2 * three.operations,
        batch_size=size,
    )


def checkpoint_bytes(cost: StepCost) -> int:
    """Return what the tensors of a training checkpoint take: weights, their average if any, AdamW's two averages."""
    return cost.saved + 2 * cost.trained


class QuietModule(ACTModule):
    """The module whose steps can be made without a trainer: nobody is told of a loss."""

    def log(self, *args: Any, **kwargs: Any) -> None:
        """Forget it."""

    def log_dict(self, *args: Any, **kwargs: Any) -> None:
        """Forget it."""

    def make_step(self, optimizer: Optimizer, batch: Batch) -> None:
        """Make a step of training in the trainer's order."""
        loss = self.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        self.configure_gradient_clipping(optimizer)
        optimizer.step()


def _drop_numbers(module: nn.Module, mode: FakeTensorMode) -> None:
    """Replace all parameters and buffers by tensors of their shapes that hold nothing."""
    for part in module.modules():
        held: tuple[dict[str, Any], ...] = (part._parameters, part._buffers)
        for own in held:
            own.update({name: mode.from_tensor(tensor) for name, tensor in own.items() if tensor is not None})


def _count(module: QuietModule, features: Features, size: int) -> StepCost:
    run = module.run
    module.zero_grad()
    with OperationCounter() as counter, counter.watching(module):
        optimizer = module.configure_optimizers()["optimizer"]
        batch = raw_batch(run, features, size)
        at_rest = counter.live
        loss = module.training_step(batch, 0)
        activations = counter.live - at_rest
        counter.direction = "backward"
        loss.backward()
        counter.part = OPTIMISER
        module.configure_gradient_clipping(optimizer)
        optimizer.step()
    parameters: Counter[str] = Counter()
    for name, parameter in module.model.named_parameters():
        parameters[_part_of(name)] += parameter.numel()
    trained = _bytes_of(parameter for parameter in module.parameters() if parameter.requires_grad)
    weights = _bytes_of((*module.parameters(), *module.buffers()))
    # What the first step does not have and every other has: AdamW's averages are there from the start, and Lightning
    # keeps the gradients of the step before until the forward pass is over.
    before = {"forward": 3 * trained, "backward": 2 * trained}
    averaged = weights if run.train.ema_decay is not None else 0
    return StepCost(
        work={part: Work(amounts=dict(amounts)) for part, amounts in counter.work.items()},
        parameters=dict(parameters),
        weights=weights,
        trained=trained,
        operations=sum(int(amounts[CALLS]) for amounts in counter.work.values()),
        saved=_bytes_of(module.state_dict().values()) * (1 if run.train.ema_decay is None else 2),
        activations=activations,
        peaks={
            f"{direction} {part}": held + averaged + (before[direction] if part != OPTIMISER else 0)
            for (direction, part), held in counter.peaks.items()
        },
        batch_size=size,
    )


def _bytes_of(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _part_of(name: str) -> str:
    return PARTS.get(name.partition(".")[0], REST)


def any_statistics(run: RunConfig, features: Features) -> dict[str, VectorStatistics]:
    """Statistics of the right sizes; no number of them changes what there is to do."""
    seen = network_features(run.policy, features)
    dims = {keys.ACTION: seen.action_dim, keys.STATE: seen.state_dim, keys.ENVIRONMENT_STATE: seen.environment_dim}

    def of(dim: int) -> VectorStatistics:
        one, zero = np.ones(dim), np.zeros(dim)
        return VectorStatistics(mean=zero, std=one, min=-one, max=one, q01=-one, q99=one, count=1)

    return {key: of(dim) for key, dim in dims.items() if dim}


def raw_batch(run: RunConfig, features: Features, size: int) -> Batch:
    """A batch as the loader gives it: colour uint8, depth in metres."""
    steps, cameras = run.policy.chunk_size, features.cameras
    return Batch(
        images={of.name: torch.zeros(size, 3, of.height, of.width, dtype=torch.uint8) for of in cameras},
        depth={of.name: torch.ones(size, 1, of.height, of.width) for of in cameras if of.depth_range is not None},
        state=torch.zeros(size, features.state_dim) if features.state_dim else None,
        environment_state=torch.zeros(size, features.environment_dim) if features.environment_dim else None,
        action=torch.zeros(size, steps, features.action_dim),
        action_is_pad=torch.zeros(size, steps, dtype=torch.bool),
    )


class OperationCounter(TorchDispatchMode):
    """Adds up what every operation below autograd computes and moves, and what its results hold while they live."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.direction = REST, "forward"
        self.work: dict[str, Counter[str]] = {}
        self.live = 0
        self.peaks: Counter[tuple[str, str]] = Counter()
        self._held: dict[int, int] = {}

    @contextmanager
    def watching(self, module: ACTModule) -> Iterator[None]:
        """Hold what it has, and tell the parts of its network apart, in both directions."""
        for tensor in (*module.parameters(), *module.buffers()):
            self._hold(tensor)
        hooks = []
        for name, child in module.model.named_children():
            for part in child if isinstance(child, nn.ModuleList) else (child,):
                hooks.append(part.register_forward_pre_hook(partial(self._enter, _part_of(name))))
                hooks.append(part.register_forward_hook(partial(self._leave, _part_of(name))))
        yield
        for hook in hooks:
            hook.remove()

    def _enter(self, part: str, *args: Any) -> None:
        self.part = part

    def _leave(self, part: str, module: nn.Module, given: Any, result: Any) -> None:
        self.part = REST
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.requires_grad:  # its gradient is where the way back begins
                tensor.register_hook(partial(self._enter, part))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.prim.device.default:  # every tensor without numbers is asked for it at every turn
            return func(*args)
        if func is torch.ops.aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            return True if args[0].dtype == torch.bool else 1  # no number decides how much there is to do
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        results = [value for value in tree_leaves(result) if isinstance(value, Tensor)]
        for tensor in results:
            self._hold(tensor)
        self._add(func, args, kwargs, result, results)
        self.peaks[self.direction, self.part] = max(self.peaks[self.direction, self.part], self.live)
        return result

    def _add(self, func: Any, args: Any, kwargs: Any, result: Any, results: list[Tensor]) -> None:
        amounts = self.work.setdefault(self.part, Counter())
        packet = func._overloadpacket
        if func.is_view or packet in _ONLY_RESERVE:
            return
        amounts[CALLS] += 1
        if torch.is_grad_enabled():
            amounts[RECORDED] += 1
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        moved = _bytes_of((*given, *(results or given)))  # without a result, what was given is changed
        amounts[MEMORY if moved > _CACHE else CACHED] += moved
        if packet in _FORMULAS:
            amounts[_kind(packet, args)] += _FORMULAS[packet](*args, **kwargs, out_val=result)

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._held:
            self._held[key] = size = storage.nbytes()
            self.live += size
            weakref.finalize(storage, self._release, key)

    def _release(self, key: int) -> None:
        self.live -= self._held.pop(key)


_ONLY_RESERVE = {torch.ops.aten.empty, torch.ops.aten.new_empty, torch.ops.aten.empty_strided}
_ONLY_RESERVE |= {torch.ops.aten.new_empty_strided, torch.ops.aten.empty_like}


def _product(x: tuple[int, ...], weight: tuple[int, ...], *args: Any, **kwargs: Any) -> int:
    return 2 * math.prod(x) * weight[0]


_ONEDNN_PRODUCT = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
ONEDNN_FLOPS = {} if _ONEDNN_PRODUCT is None else {_ONEDNN_PRODUCT: _product}
"""FLOPs from shapes, of what PyTorch's registry lacks: a `custom_mapping` of its `FlopCounterMode`."""
_FORMULAS = {**flop_registry, **{packet: shape_wrapper(of) for packet, of in ONEDNN_FLOPS.items()}}
_FORWARD, _BACKWARD = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
_PRODUCTS = {torch.ops.aten.mm, torch.ops.aten.addmm, *ONEDNN_FLOPS}


def _kind(packet: Any, args: Any) -> str:
    """Return the kind of an operation with FLOPs."""
    if packet not in (_FORWARD, _BACKWARD):
        return PRODUCT if packet in _PRODUCTS else ATTENTION
    image, weight, stride = (args[0], args[1], args[3]) if packet is _FORWARD else (args[1], args[2], args[4])
    if weight.shape[1] <= _FEW_CHANNELS:
        kind = CONVOLUTION_FIRST
    elif image.shape[-2:].numel() <= _FEW_CELLS:
        kind = CONVOLUTION_SMALL
    elif image.is_contiguous():
        kind = CONVOLUTION_PLANES
    else:
        kind = CONVOLUTION_STRIDED if max(stride) > 1 else CONVOLUTION
    return kind if packet is _FORWARD else f"{kind}{BACKWARD}"
