"""Does every number have a value?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreact.data.statistics import names_of, vectors
from foreact.finding import Finding
from foreact.inspection.words import episodes_text
from foreact.records import Episode, Features


def count_missing(episode: Episode) -> dict[str, np.ndarray]:
    """Return how many NaN or infinite numbers each dimension (D,) has, by key; keys without any are left out."""
    missing = {key: (~np.isfinite(values)).sum(axis=0) for key, values in vectors(episode).items()}
    return {key: count for key, count in missing.items() if count.any()}


def judge_missing(features: Features, missing: Mapping[int, Mapping[str, np.ndarray]]) -> Finding:
    """Say which episodes (by index) lack numbers, and where."""
    names = names_of(features)
    total = sum(int(count.sum()) for of in missing.values() for count in of.values())
    where = sorted(
        {f"{key}: {names[key][dim]}" for of in missing.values() for key in of for dim in np.flatnonzero(of[key])}
    )
    verdict = "every number of state, coordinates and action has a value"
    if missing:
        verdict = (
            f"{total} NaN or infinite number{'s' if total > 1 else ''} in {episodes_text(list(missing))} "
            f"({'; '.join(where[:4])}{' ...' if len(where) > 4 else ''}): one of them makes the loss NaN"
        )
    return Finding(
        question="numbers",
        title="Does every number have a value?",
        verdict=verdict,
        severity="fault" if missing else "fine",
        remedy="record these episodes again; --skip-bad trains without them, and what follows is without them"
        if missing
        else "",
        evidence={"episodes": list(missing), "dimensions": where, "count": total},
    )
