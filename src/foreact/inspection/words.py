"""How findings speak of episodes, dimensions and their units."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from foreact.records import Features
from foreact_runtime import keys

_SHOWN = 8
_SUFFIXES = {"rad": "rad", "radians": "rad", "deg": "deg", "degrees": "deg", "m": "m", "mm": "mm", "s": "s"}


def episodes_text(indices: Sequence[int]) -> str:
    """Return `episode 3`, `episodes 3, 5 and 7`, or the first few and how many more."""
    if len(indices) == 1:
        return f"episode {indices[0]}"
    shown = [str(index) for index in indices[:_SHOWN]]
    if len(indices) > _SHOWN:
        return f"episodes {', '.join(shown)} and {len(indices) - _SHOWN} more"
    return f"episodes {', '.join(shown[:-1])} and {shown[-1]}"


def all_episodes(found: Mapping[str, Sequence[int]]) -> list[int]:
    """Return the episodes under all names together, ascending."""
    return sorted({index for of in found.values() for index in of})


def said(found: Mapping[str, Sequence[int]]) -> str:
    """Return names, of cameras or pairs of them, with their episodes in words."""
    return "; ".join(f"{name} in {episodes_text(episodes)}" for name, episodes in found.items())


def episode_ranges(indices: Sequence[int]) -> str:
    """Return indices as `foreact convert --episodes` takes them: `0:12,13:50` leaves out 12 of the first fifty."""
    parts: list[tuple[int, int]] = []
    for index in indices:
        if parts and parts[-1][1] == index:
            parts[-1] = parts[-1][0], index + 1
        else:
            parts.append((index, index + 1))
    return ",".join(str(first) if after == first + 1 else f"{first}:{after}" for first, after in parts)


def share_text(part: float, whole: float) -> str:
    """Return a share in percent, with a decimal below ten."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"


def short_key(key: str) -> str:
    """Return a vector's key in a word."""
    return {keys.STATE: "state", keys.ENVIRONMENT_STATE: "coordinates"}.get(key, key)


def unit_of(features: Features, key: str, name: str) -> str:
    """Return a dimension's unit where the arm, the coordinates or the name itself say it, else an empty text."""
    if features.arm is not None and name in features.arm.joints:
        return features.arm.unit
    if key == keys.ENVIRONMENT_STATE and features.environment_dim >= 2 and features.arm is not None:
        return "m" if name in features.environment_names[:3] else ""
    last = re.split(r"[^A-Za-z0-9]+", name.strip("()[] "))[-1].lower()
    return _SUFFIXES.get(last, "")
