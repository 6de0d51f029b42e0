"""What the episodes of a data set have in common where each file describes itself: that which most of them hold.

So an episode that lacks a camera is the odd one and is refused by name, wherever it stands in the set: were the first
one asked, a set could lose its cameras in silence, and a policy be trained blind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from foreact.console import warn

Layout: TypeAlias = Mapping[str, tuple[int, ...]]
"""Sizes by name: (D,) of a vector, (H, W) of pictures, () of pictures whose size cannot be seen."""

LOOKED_AT = 500
"""Episodes of a data set that are asked, evenly spread: a robomimic file with 20,000 of them opens in seconds."""


def usual_layout(layouts: Sequence[Layout], where: str) -> dict[str, tuple[int, ...]]:
    """Return what at least half of the episodes have, each with the size that most of them give it.

    A size that can be seen counts before one that cannot, and of sizes that are equally frequent the larger. A person
    is told of pictures that only fewer have.

    Args:
        layouts: One an episode, at least one.
        where: The data set, for the warning.
    """
    sizes: dict[str, Counter[tuple[int, ...]]] = {}
    for layout in sorted(layouts, key=len, reverse=True):  # the order of names is that of an episode that has all
        for name, size in layout.items():
            sizes.setdefault(name, Counter())[size] += 1
    usual = {}
    for name, counted in sizes.items():
        size = max(counted, key=lambda of: (bool(of), counted[of], of))
        if 2 * counted.total() >= len(layouts):
            usual[name] = size
        elif len(size) == 2:
            warn(f"{where}: only {counted.total()} of {len(layouts)} episodes have '{name}', so it is left out")
    return usual
