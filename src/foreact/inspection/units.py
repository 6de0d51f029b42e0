"""Is a dimension in the same unit in every episode?"""

from __future__ import annotations

import numpy as np

from foreact.data.dimensions import is_gripper
from foreact.finding import Finding
from foreact.inspection.ranges import Reaches
from foreact.inspection.words import all_episodes, episodes_text
from foreact.normalizer import NARROWEST
from foreact.records import Features
from foreact_runtime import keys

_FACTORS = {"degrees and radians": 180 / np.pi, "millimetres and metres": 1000.0}
_WITHIN = 1.6
"""The factor between the groups of episodes may be off by as much: no two episodes go equally far."""
_GAP = 6.0
"""No episode lies between the groups: neighbours in size are so many times apart."""


def judge_units(features: Features, all_of: tuple[Reaches, ...]) -> Finding:
    """Say which dimensions are in another unit in some episodes: values fall in two groups, a unit's factor apart."""
    found: dict[str, list[int]] = {}
    for of in all_of:
        if of.key == keys.ENVIRONMENT_STATE:
            continue
        span = of.max - of.min
        size = np.maximum(np.abs(of.min), np.abs(of.max))
        for dim, name in enumerate(of.names):
            if is_gripper(features, name):
                continue
            for unit, factor in _FACTORS.items():
                odd = _other_unit(size[:, dim], span[:, dim], factor)
                if odd.any():
                    found[f"{of.key}: {name} ({unit})"] = of.episodes[odd].tolist()
    concerned = all_episodes(found)
    return Finding(
        question="units",
        title="Is each dimension in one unit?",
        verdict=f"two units: {'; '.join(found)}: {episodes_text(concerned)} differ from the rest"
        if found
        else "no dimension is many times larger in some episodes than in others",
        severity="fault" if found else "fine",
        remedy="leave these episodes out, or bring them to one unit where they were recorded" if found else "",
        evidence={"episodes": concerned, "episodes_by_dimension": found},
    )


def _other_unit(size: np.ndarray, span: np.ndarray, factor: float) -> np.ndarray:
    """Return which episodes (N,) are the smaller group of two that lie a unit's factor apart; none where there is one.

    Both the largest value and the way from the least to the largest have to say so.
    """
    none = np.zeros(len(size), bool)
    if len(size) < 3 or size.min() < NARROWEST:
        return none
    ordered = np.sort(size)
    gaps = ordered[1:] / ordered[:-1]
    at = int(gaps.argmax())
    large = size >= ordered[at + 1]
    if gaps[at] < _GAP:
        return none
    for of in (size, span):
        low = float(np.median(of[~large]))
        ratio = float(np.median(of[large])) / low if low > 0 else np.inf
        if not 1 / _WITHIN < ratio / factor < _WITHIN:
            return none
    return large if large.sum() <= len(size) / 2 else ~large
