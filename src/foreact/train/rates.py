"""How fast a machine computes: measured in some seconds on one operation of each kind, or published of a card."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from foreact.config import PolicyConfig, RunConfig, TrainConfig
from foreact.errors import ConfigError
from foreact.model.linear import linear
from foreact.records import Camera, Features
from foreact.train.cost import (
    ATTENTION,
    BACKWARD,
    CACHED,
    CALLS,
    CONVOLUTION,
    CONVOLUTION_FIRST,
    CONVOLUTION_PLANES,
    CONVOLUTION_SMALL,
    CONVOLUTION_STRIDED,
    FLOP_KINDS,
    MEMORY,
    PRODUCT,
    RECORDED,
    OperationCounter,
    QuietModule,
    any_statistics,
    raw_batch,
)

_ORDER = {True: torch.channels_last, False: torch.contiguous_format}
_CACHES = 1 << 24
"""Numbers that no processor's caches hold."""
_TURNS = 7
"""Of each measurement, of which the median counts."""
GPU_SHARE = 0.4
"""Of a card's published rates that is taken to be reached; a guess."""
GPU_CALLS = 1e5
"""Operations a second that Python can start on a card; a guess."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A graphics card's published figures."""

    tflops: float
    """Of float32 without tensor cores."""
    bandwidth: float
    """Of its memory [GB/s]."""
    memory: float = float("inf")
    """[GB]"""
    source: str = "--tflops and --bandwidth"


CARDS: Mapping[str, Card] = {
    "t4": Card(tflops=8.1, bandwidth=320, memory=16, source="NVIDIA T4 datasheet"),
    "l4": Card(tflops=30.3, bandwidth=300, memory=24, source="NVIDIA L4 datasheet"),
    "rtx3090": Card(tflops=35.6, bandwidth=936, memory=24, source="NVIDIA Ampere GA102 whitepaper"),
    "rtx4090": Card(tflops=82.6, bandwidth=1008, memory=24, source="NVIDIA Ada GPU architecture whitepaper"),
    "a100": Card(tflops=19.5, bandwidth=2039, memory=80, source="NVIDIA A100 80GB SXM datasheet"),
    "h100": Card(tflops=67.0, bandwidth=3350, memory=80, source="NVIDIA H100 SXM datasheet"),
}


def process_bytes() -> int:
    """Return what a training process holds besides its tensors; 0 where the system does not say.

    What is resident of this one now, after a step of a tiny network, for libraries are loaded as they are needed.
    """
    tiny_step()()
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else ()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def measure_rates() -> dict[str, float]:
    """Return this machine's rates with the threads that PyTorch has now: some seconds, and only right while idle.

    Every operation's time is that of the kind that it was chosen for and of what it moves and calls besides, so the
    rates are found in that order.
    """
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    rates: dict[str, float] = {}
    few, small, large = random(4, 8), random(1 << 16), random(_CACHES)
    _measure(rates, CALLS, partial(_again, partial(torch.add, few, few)))
    _measure(rates, CACHED, partial(_again, partial(torch.add, small, small.clone())))
    _measure(rates, MEMORY, partial(torch.add, large, large.clone()))
    _measure(rates, RECORDED, tiny_step())
    x, weight, bias = random(800, 512), random(512, 512), random(512)
    _measure(rates, PRODUCT, partial(_both_ways, linear, x, weight, bias))
    q, k, v = (random(16, 8, 75, 64) for _ in range(3))
    _measure(rates, ATTENTION, partial(_both_ways, F.scaled_dot_product_attention, q, k, v))
    for kind, (image, kernel, stride, channels_last) in {
        CONVOLUTION: ((4, 64, 56, 56), (64, 64, 3, 3), 1, True),
        CONVOLUTION_STRIDED: ((8, 64, 56, 56), (128, 64, 3, 3), 2, True),
        CONVOLUTION_PLANES: ((16, 32, 48, 48), (64, 32, 3, 3), 2, False),
        CONVOLUTION_SMALL: ((8, 512, 7, 7), (512, 512, 3, 3), 1, True),
        CONVOLUTION_FIRST: ((4, 3, 224, 224), (64, 3, 7, 7), 2, True),
    }.items():
        pictures = random(*image).contiguous(memory_format=_ORDER[channels_last])
        weight, padding = random(*kernel), kernel[-1] // 2
        forward = partial(F.conv2d, pictures, weight, None, stride, padding)
        _measure(rates, kind, forward)
        needs = (kind != CONVOLUTION_FIRST, True, False)
        rest = (None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, needs)
        backward = partial(torch.ops.aten.convolution_backward, forward(), pictures, weight, *rest)
        _measure(rates, f"{kind}{BACKWARD}", backward)
    return rates


def tiny_step() -> Callable[[], None]:
    """Return a training step of a network so small that nothing of it takes time but the calls."""
    policy = PolicyConfig(
        chunk_size=8,
        n_action_steps=8,
        vision_backbone="cnn",
        pretrained_backbone_weights=None,
        dim_model=32,
        n_heads=4,
        dim_feedforward=64,
        latent_dim=4,
    )
    run = RunConfig(policy=policy, train=TrainConfig(batch_size=2))
    features = Features(action_names=("a",), state_names=("s",), cameras=(Camera(name="camera", height=32, width=32),))
    with torch.random.fork_rng(devices=[]):
        module = QuietModule(run, features, any_statistics(run, features)).train()
    return partial(module.make_step, module.configure_optimizers()["optimizer"], raw_batch(run, features, 2))


def _again(call: Callable[[], object], times: int = 200) -> None:
    for _ in range(times):
        call()


def _both_ways(function: Callable[..., Tensor], *given: Tensor) -> None:
    """Compute a function and the gradients of all that it is given."""
    leaves = [tensor.detach().requires_grad_() for tensor in given]
    result = function(*leaves)
    torch.autograd.grad(result, leaves, torch.ones_like(result))


def _measure(rates: dict[str, float], kind: str, call: Callable[[], object]) -> None:
    """Add the rate of a kind, so that the model gives the time that the call takes."""
    elsewhere = torch.zeros(_CACHES)
    call()
    with OperationCounter() as counter:
        call()
    amounts: Counter[str] = sum(counter.work.values(), Counter())
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter  # the first knows no neighbours
    spent = []
    for _ in range(_TURNS):
        elsewhere.add_(1)  # a step finds in the caches what the operation before has left there
        begun = clock()
        call()
        spent.append(clock() - begun)
    seconds = statistics.median(spent)
    others = sum(amount / rates[other] for other, amount in amounts.items() if other in rates and other != kind)
    rates[kind] = amounts[kind] / max(seconds - others, seconds / 4)


def rates_of(path: Path | None) -> dict[str, float]:
    """Return this machine's rates from a file, or measure them and write it; None measures and writes nothing.

    Raises:
        ConfigError: If the file is none of these, or its rates are those of another number of threads.
    """
    threads = torch.get_num_threads()
    if path is None:
        return measure_rates()
    if not path.exists():
        content = {"threads": threads, "torch": torch.__version__, "rates": measure_rates()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n")
    try:
        content = json.loads(path.read_text())
        rates, of_threads = {str(kind): float(rate) for kind, rate in content["rates"].items()}, content["threads"]
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"'{path}' is not a file of rates; delete it, and --rates measures them anew") from error
    if of_threads != threads:
        raise ConfigError(f"the rates in '{path}' are those of {of_threads} threads, not of {threads}; measure another")
    if missing := {MEMORY, CACHED, CALLS, RECORDED, *FLOP_KINDS} - rates.keys():
        raise ConfigError(f"'{path}' lacks the rate of '{min(missing)}'; delete it, and --rates measures them anew")
    return rates


def card_rates(tflops: float, bandwidth: float) -> dict[str, float]:
    """Return rates of a graphics card from published figures: an estimate that nobody has checked.

    Calls are not among them: a card has `GPU_CALLS` for the step's `operations`.

    Args:
        tflops: 10^12 FLOPs a second.
        bandwidth: Of its memory [GB/s].
    """
    rates = {kind: GPU_SHARE * tflops * 1e12 for kind in FLOP_KINDS}
    not_calls = dict.fromkeys((CALLS, RECORDED), float("inf"))
    return {**rates, **dict.fromkeys((MEMORY, CACHED), GPU_SHARE * bandwidth * 1e9), **not_calls}


def all_reduce_seconds(n_bytes: int, n_devices: int, bandwidth: float) -> float:
    """Return how long devices take to add up gradients in a ring, with nothing computed meanwhile.

    Each sends and receives 2 (n - 1) / n of the bytes (Patarasuk and Yuan 2009).

    Args:
        n_bytes: Of the gradients.
        n_devices: How many.
        bandwidth: Of the slowest link, in one direction [GB/s].
    """
    return 2 * (n_devices - 1) / n_devices * n_bytes / (bandwidth * 1e9)
