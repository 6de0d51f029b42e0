"""Is each camera the one that its name says? Told by the set's own first frames."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from foreact.finding import Finding
from foreact.inspection.cameras import Looks, by_camera
from foreact.inspection.looks import BLACK
from foreact.inspection.words import episodes_text

_BETTER = 0.6
"""Two cameras are swapped where their pictures fit the other's reference so much better (distance, of their own)."""
_SAME = 1.5
"""Mean difference of two first frames [grey levels of 255] below which they are one picture."""
_TELLABLE = 4.0
"""Mean difference of two references below which the cameras cannot be told apart."""


def judge_swapped(looks: Looks) -> Finding:
    """Say in which episodes two cameras took each other's place.

    The reference of a camera is the median of its first frames over all episodes; a swap in fewer than half of them
    does not move it. If two cameras were exchanged, both pictures fit the other's reference better.
    """
    cameras = by_camera(looks)
    reference = {
        camera: np.median(np.stack([look.first for look in of.values()]), axis=0) for camera, of in cameras.items()
    }

    def distance(index: int, camera: str, to: str) -> float:
        first = looks[index][camera].first
        return float(np.abs(first - reference[to]).mean()) if first.shape == reference[to].shape else np.inf

    found: dict[str, list[int]] = {}
    for one, other in combinations(cameras, 2):
        same_shape = reference[one].shape == reference[other].shape
        if not same_shape or np.abs(reference[one] - reference[other]).mean() < _TELLABLE:
            continue
        for index in sorted(cameras[one].keys() & cameras[other].keys()):
            own = distance(index, one, one) + distance(index, other, other)
            exchanged = distance(index, one, other) + distance(index, other, one)
            if exchanged < _BETTER * own:
                found.setdefault(f"{one} and {other}", []).append(index)
    concerned = sorted({index for episodes in found.values() for index in episodes})
    pairs = "; ".join(f"{pair} in {episodes_text(episodes)}" for pair, episodes in found.items())
    if len(cameras) < 2:
        verdict = "there are no two cameras"
    elif found:
        verdict = f"swapped: {pairs}: compared with the first frames of the other episodes"
    else:
        verdict = "each camera's first frames look like those of its other episodes"
    return Finding(
        question="swapped",
        title="Are two cameras swapped?",
        verdict=verdict,
        severity="fault" if found else "fine" if len(cameras) > 1 else "note",
        remedy="record again with cameras that are found by serial number, or exchange the two videos of these "
        "episodes; until then leave them out"
        if found
        else "",
        evidence={"episodes": concerned, "episodes_by_pair": found},
    )


def judge_same_cameras(looks: Looks) -> Finding:
    """Say which cameras show the same picture."""
    cameras = by_camera(looks)
    found: dict[str, list[int]] = {}
    for one, other in combinations(cameras, 2):
        both = sorted(cameras[one].keys() & cameras[other].keys())
        same = [index for index in both if _is_same(looks[index][one].first, looks[index][other].first)]
        if same:
            found[f"{one} and {other}"] = same
    concerned = sorted({index for episodes in found.values() for index in episodes})
    pairs = "; ".join(f"{pair} in {episodes_text(episodes)}" for pair, episodes in found.items())
    return Finding(
        question="same_cameras",
        title="Do two cameras show the same?",
        verdict=f"the same picture twice: {pairs}: one of them was opened twice, and the other's view is missing"
        if found
        else "no two cameras show the same picture"
        if len(cameras) > 1
        else "there are no two cameras",
        severity="fault" if found else "fine" if len(cameras) > 1 else "note",
        remedy="give each camera its own index or serial number and record again; --policy.cameras chooses one of them"
        if found
        else "",
        evidence={"episodes": concerned, "episodes_by_pair": found},
    )


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape or max(one.mean(), other.mean()) < BLACK:
        return False
    return float(np.abs(one.astype(float) - other).mean()) < _SAME
