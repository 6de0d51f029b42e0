"""Whether data sets may be mixed: that rate, names, picture sizes and units agree, and that no two hold the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from foreact.console import warn
from foreact.data.lookup import spread_evenly
from foreact.data.source import EpisodeSource
from foreact.data.statistics import names_of, vectors
from foreact.errors import DataError
from foreact.records import Camera
from foreact_runtime import keys

OTHER_WIDTH = 5.0
"""A range that is this many times wider in one source than in another is worth a warning."""
OTHER_UNIT = 20.0
"""A dimension whose range and numbers are both this many times larger in one source has another unit there: degrees are
57 times radians, millimetres 1000 times metres."""
_SAMPLED = 10
"""Episodes a source that are looked at."""
_SHOWN = 3
"""Dimensions in a message."""


def check_agreement(sources: Sequence[EpisodeSource]) -> None:
    """Refuse sources that cannot be mixed.

    Rate, names and sizes are compared as the sources declare them. Unit, zero and direction are seen in the numbers of
    a few episodes, by the ranges that each dimension covers in the first source and in another one (1 % to 99 %, where
    it moves in both). A person is warned of ranges that do not meet or whose widths differ `OTHER_WIDTH`-fold: a joint
    that one task hardly uses looks like that. Where, of more than half of a vector's dimensions, ranges do not meet or
    both width and size differ `OTHER_UNIT`-fold, the sources are refused. Coordinates that do not meet are warned of
    only: recording at other places is what more data are for.

    Raises:
        DataError: Naming both sources and what differs.
    """
    first, *others = sources
    for other in others:
        _check_features(first, other)
    for one, two in combinations(sources, 2):
        if one.root.resolve() == two.root.resolve():
            raise DataError(f"'{two.root}' was given twice; name it once")
        if one.fingerprint() == two.fingerprint():
            raise DataError(
                f"'{two.root}' is a copy of '{one.root}': the same episodes would be trained on and held out; name one"
            )
    ranges = [sampled_ranges(source) for source in sources]
    for other, of_other in zip(others, ranges[1:], strict=True):
        for key in sorted(ranges[0].keys() & of_other.keys()):
            _check_ranges(key, first, ranges[0][key], other, of_other[key])


def sampled_ranges(source: EpisodeSource) -> dict[str, np.ndarray]:
    """Return the 1 % and 99 % quantiles (2, D) of each vector, by key, over a few episodes spread over the data set.

    Damaged episodes do not count; empty where all of those looked at are.
    """
    parts: dict[str, list[np.ndarray]] = {}
    for index in spread_evenly(source.episode_indices, _SAMPLED):
        try:
            episode = source.episode(index)
        except DataError:  # whoever reads the episode to use it says so
            continue
        for key, values in vectors(episode).items():
            parts.setdefault(key, []).append(values[np.isfinite(values).all(axis=1)])
    whole = {key: np.concatenate(of) for key, of in parts.items()}
    return {key: np.quantile(of.astype(np.float64), (0.01, 0.99), axis=0) for key, of in whole.items() if len(of)}


def _check_features(first: EpisodeSource, other: EpisodeSource) -> None:
    one, two = first.features, other.features
    both = f"'{first.root}' and '{other.root}' cannot be mixed"
    if one.fps != two.fps:
        raise DataError(f"{both}: fps is {one.fps:g} in the first, {two.fps:g} in the second; use sources of one rate")
    for kind in ("action_names", "state_names", "environment_names"):
        _check_names(both, kind, getattr(one, kind), getattr(two, kind))
    for kind in ("action_groups", "state_groups"):
        groups = getattr(one, kind), getattr(two, kind)
        if all(groups) and groups[0] != groups[1]:  # a converted data set has none, whatever its robot
            raise DataError(f"{both}: their {kind} differ; use sources of one robot")
    cameras: Mapping[str, Camera] = {camera.name: camera for camera in two.cameras}
    _check_names(both, "cameras", sorted(camera.name for camera in one.cameras), sorted(cameras))
    for camera in one.cameras:
        match = cameras[camera.name]
        if (camera.height, camera.width) != (match.height, match.width):
            raise DataError(
                f"{both}: camera '{camera.name}' is {camera.height}x{camera.width} in the first, "
                f"{match.height}x{match.width} in the second; use pictures of one size"
            )
        if camera.depth_range != match.depth_range:
            raise DataError(
                f"{both}: the depth of camera '{camera.name}' is {_depth_text(camera)} in the first, "
                f"{_depth_text(match)} in the second; use sources of one camera"
            )


def _check_names(both: str, kind: str, one: Sequence[str], two: Sequence[str]) -> None:
    if list(one) == list(two):
        return
    if sorted(one) == sorted(two):
        raise DataError(
            f"{both}: {kind} are the same in another order; bring the second's columns into the order of the first "
            "(--rename changes names, not the order of the numbers)"
        )
    only_one = ", ".join(name for name in one if name not in two) or "none"
    only_two = ", ".join(name for name in two if name not in one) or "none"
    raise DataError(
        f"{both}: {kind} are {only_one} only in the first, {only_two} only in the second; where two mean the same, "
        "foreact convert --rename OLD=NEW gives them one name"
    )


def _depth_text(camera: Camera) -> str:
    return "missing" if camera.depth_range is None else f"{camera.depth_range[0]:g} to {camera.depth_range[1]:g} m"


def _check_ranges(key: str, first: EpisodeSource, one: np.ndarray, other: EpisodeSource, two: np.ndarray) -> None:
    """Compare the ranges (2, D) of a vector in two sources; see `check_agreement`."""
    (low, high), (other_low, other_high) = one, two
    moving = (high > low) & (other_high > other_low)
    widths = _factor(high - low, other_high - other_low, moving)
    sizes = _factor(np.abs(one).max(axis=0), np.abs(two).max(axis=0), moving)
    apart = moving & ((high < other_low) | (other_high < low))
    other_unit = (widths > OTHER_UNIT) & (sizes > OTHER_UNIT)
    refused = other_unit if key == keys.ENVIRONMENT_STATE else other_unit | apart

    def text(which: np.ndarray) -> str:
        names = names_of(first.features)[key]
        shown = [
            f"'{names[dim]}' {low[dim]:.3g} to {high[dim]:.3g} and {other_low[dim]:.3g} to {other_high[dim]:.3g}"
            for dim in np.flatnonzero(which)[:_SHOWN]
        ]
        more = f" and {which.sum() - _SHOWN} more" if which.sum() > _SHOWN else ""
        return (
            f"{which.sum()} of {moving.sum()} dimensions of '{key}' go through other numbers in '{first.root}' than in "
            f"'{other.root}': {', '.join(shown)}{more}"
        )

    if 2 * refused.sum() > moving.sum():
        raise DataError(
            f"{text(refused)}; bring both to one unit, zero and direction (radians or degrees, metres or millimetres) "
            "before they are mixed, or train on one of them"
        )
    if (odd := apart | (widths > OTHER_WIDTH)).any():
        warn(f"{text(odd)}; have they one unit, zero and direction?")


def _factor(one: np.ndarray, two: np.ndarray, where: np.ndarray) -> np.ndarray:
    """How many times the larger of two numbers (D,) is the smaller; 1 elsewhere."""
    larger, smaller = np.maximum(one, two), np.minimum(one, two)
    return np.divide(larger, smaller, out=np.ones_like(larger), where=where & (smaller > 0))
