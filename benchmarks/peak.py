"""How fast this processor was seen to compute and to copy, which a benchmark's figures are shares of."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

_SIDE = 1024
"""Of the matrices, whose products all libraries do well."""
_COPIED = 1 << 26
"""Numbers, more than any cache holds."""


def peak() -> dict[str, float]:
    """Return rates with the threads that PyTorch has now, each the best of seven.

    Products of 1024 x 1024 in float32 with Intel's MKL and with oneDNN [GFLOP/s], of int8 where PyTorch has that
    [billion additions and multiplications a second], and a copy of 256 MB [GB/s, read and written].
    """
    a, b = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE)
    whole, other = (of.mul(40).to(torch.int8) for of in (a, b))
    big, copied = torch.randn(_COPIED), torch.empty(_COPIED)
    products: dict[str, Callable[[], object]] = {"mkl_gflops": lambda: a @ b}
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        products["onednn_gflops"] = lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    if hasattr(torch, "_int_mm"):
        products["int8_gops"] = lambda: torch._int_mm(whole, other)
    rates = {name: 2 * _SIDE**3 / _best(product) / 1e9 for name, product in products.items()}
    rates["copy_gb_s"] = 2 * 4 * _COPIED / _best(lambda: copied.copy_(big)) / 1e9
    return {name: round(rate, 1) for name, rate in rates.items()}


def matrix_rate(rates: dict[str, float], precision: str = "fp32") -> float | None:
    """Return the fastest of the products [GFLOP/s] in a precision; None where none was measured."""
    if precision == "int8":
        return rates.get("int8_gops")
    return max(rate for name, rate in rates.items() if name.endswith("gflops"))


def share(amount: float, seconds: float, rate: float | None) -> float | None:
    """Return what part of a rate an amount in so many seconds is; None where there is no rate."""
    return None if rate is None else round(amount / seconds / rate, 3)


def _best(call: Callable[[], object]) -> float:
    """Return the seconds of the fastest call: CPU time of one thread, which others do not lengthen, or by the clock."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    spent = []
    for _ in range(7):
        begun = clock()
        call()
        spent.append(clock() - begun)
    return min(spent)
