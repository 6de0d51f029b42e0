"""Whether data sets mean the same, so that they may be mixed: rate, names, picture sizes, units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreact.console import console
from foreact.data.source import EpisodeSource
from foreact.data.statistics import names_of, vectors
from foreact.errors import DataError
from foreact.records import Camera

OTHER_UNIT = 20.0
"""A dimension whose numbers are this many times larger in one source may have another unit there: degrees are 57 times
radians, millimetres 1000 times metres."""
_SAMPLED = 10
"""Episodes a source that are looked at."""


def check_agreement(sources: Sequence[EpisodeSource]) -> None:
    """Refuse sources that cannot be mixed.

    Rate, names and sizes are compared as the sources declare them. Units are seen in the numbers of a few episodes: a
    vector has another unit where more than half of its dimensions that move in both sources have a spread and a
    size that both differ `OTHER_UNIT`-fold, all to the same side. Of fewer a person is warned only: a joint that one
    task hardly uses looks like that.

    Raises:
        DataError: Naming both sources and what differs.
    """
    first, *others = sources
    for other in others:
        _check_features(first, other)
        if first.root.resolve() == other.root.resolve():
            raise DataError(f"'{other.root}' was given twice; name it once")
    ranges = [sampled_ranges(source) for source in sources]
    for other, of_other in zip(others, ranges[1:], strict=True):
        _check_units(first, ranges[0], other, of_other)


def sampled_ranges(source: EpisodeSource) -> dict[str, np.ndarray]:
    """Return the 1 % and 99 % quantiles (2, D) of each vector, by key, over a few episodes spread over the data set.

    Damaged episodes do not count; empty where all of those looked at are.
    """
    indices = source.episode_indices
    chosen = {indices[round(place)] for place in np.linspace(0, len(indices) - 1, min(_SAMPLED, len(indices)))}
    parts: dict[str, list[np.ndarray]] = {}
    for index in sorted(chosen):
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
        if getattr(one, kind) != getattr(two, kind):
            raise DataError(f"{both}: their {kind} differ; use sources of one robot")
    cameras = {camera.name: camera for camera in two.cameras}
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
                f"{both}: the depth of camera '{camera.name}' is {_range_text(camera)} in the first, "
                f"{_range_text(match)} in the second; use sources of one camera"
            )


def _check_names(both: str, kind: str, one: Sequence[str], two: Sequence[str]) -> None:
    if list(one) == list(two):
        return
    found = [f"{', '.join(only) or 'none'}" for only in (_without(one, two), _without(two, one))]
    what = "are the same in another order" if not set(one) ^ set(two) else f"are {found[0]} only in the first, "
    what += "" if not set(one) ^ set(two) else f"{found[1]} only in the second"
    raise DataError(f"{both}: {kind} {what}; foreact convert --rename makes names agree")


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    return [name for name in names if name not in others]


def _range_text(camera: Camera) -> str:
    return "missing" if camera.depth_range is None else f"{camera.depth_range[0]:g} to {camera.depth_range[1]:g} m"


def _check_units(
    first: EpisodeSource, one: dict[str, np.ndarray], other: EpisodeSource, two: dict[str, np.ndarray]
) -> None:
    for key in sorted(one.keys() & two.keys()):
        spread = [of[key][1] - of[key][0] for of in (one, two)]
        size = [np.abs(of[key]).max(axis=0) for of in (one, two)]
        moving = np.flatnonzero((spread[0] > 0) & (spread[1] > 0))
        ratios = np.array([after[moving] / before[moving] for before, after in (spread, size)])
        for differs in ((ratios > OTHER_UNIT).all(axis=0), (ratios < 1 / OTHER_UNIT).all(axis=0)):
            if not differs.any():
                continue
            dim = int(moving[np.argmax(differs)])
            (low, high), (other_low, other_high) = one[key][:, dim], two[key][:, dim]
            seen = (
                f"dimension '{names_of(first.features)[key][dim]}' of '{key}' goes from {low:.3g} to {high:.3g} in "
                f"'{first.root}', from {other_low:.3g} to {other_high:.3g} in '{other.root}'"
            )
            if 2 * differs.sum() > len(moving):
                raise DataError(
                    f"units differ, as of {differs.sum()} of {len(moving)} dimensions: {seen}; "
                    "bring both to one unit, such as radians, before they are mixed"
                )
            console.print(f"warning: {seen}; has it the same unit there?", highlight=False)
