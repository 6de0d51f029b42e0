"""Is each camera the one that its name says, the right way up and where it was? Told by the set's own first frames."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from foreact.data.lookup import spread_evenly
from foreact.finding import Finding
from foreact.inspection.cameras import Looks, by_camera
from foreact.inspection.looks import BLACK, Look
from foreact.inspection.words import all_episodes, said

_BETTER = 0.95
"""Where something else fits an episode's picture better than what is said of it, by at least so much, ..."""
_MARGIN, _DEVIATIONS, _LEAST = 0.7, 2.5, 0.2
"""... the ratio of the two distances is by that factor and so many robust deviations (of the logarithm) below the usual
one, and ..."""
_FITS = 2.5
"""... what fits better fits about as well as usual, it is taken for the truth."""
_SAME = 1.5
"""Mean difference of two first frames [grey levels of 255] below which they are one picture."""
_TELLABLE = 4.0
"""Mean difference of two references below which they cannot be told apart."""
_STABLE = 3.0
"""A view that is turned or exchanged is told where that makes so many times the difference that three of
four episodes have."""
_LEVELS, _CELLS = 5.0, 0.12
"""A view has moved where before and after are so many percent of the usual grey apart in so large a share of the
picture: more than one object that was put elsewhere."""
_SIDE = 10
"""Episodes before and after, at least."""
_EPISODES, _PLACES = 200, 50
"""Episodes that are compared for that, and places between them, at most."""


def judge_swapped(looks: Looks) -> Finding:
    """Say in which episodes two cameras took each other's place.

    The reference of a camera is the median of its first frames over all episodes; a swap in fewer than half of them
    does not move it. If two cameras were exchanged, both pictures fit the other's reference better than their own;
    how much better depends on the light, so the other episodes say what is usual.
    """
    cameras = by_camera(looks)
    reference = {camera: _reference(of) for camera, of in cameras.items()}

    def distance(index: int, camera: str, to: str) -> float:
        return float(np.abs(_lit_alike(looks[index][camera].first) - _lit_alike(reference[to])).mean())

    found: dict[str, list[int]] = {}
    for one, other in combinations(cameras, 2):
        same_shape = reference[one].shape == reference[other].shape
        if not same_shape or np.abs(reference[one] - reference[other]).mean() < _TELLABLE:
            continue
        both = sorted(cameras[one].keys() & cameras[other].keys())
        hit = _far_better(
            {index: distance(index, one, one) + distance(index, other, other) for index in both},
            {index: distance(index, one, other) + distance(index, other, one) for index in both},
        )
        if hit:
            found[f"{one} and {other}"] = hit
    if len(cameras) < 2:
        verdict = "there are no two cameras"
    elif found:
        verdict = f"swapped: {said(found)}: compared with the first frames of the other episodes"
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
        evidence={"episodes": all_episodes(found), "episodes_by_pair": found},
    )


def _reference(of: Mapping[int, Look]) -> np.ndarray:
    return np.asarray(np.median(np.stack([look.first for look in of.values()]), axis=0))


def _far_better(own: Mapping[int, float], other: Mapping[int, float]) -> list[int]:
    """Return the episodes that lie far nearer to something else than to what is said of them.

    Args:
        own: Distance to what is said, by episode.
        other: Distance to something else. Where that is the truth, it is about what the own one usually is.
    """
    if len(own) < 3:
        return []
    usual = float(np.median(list(own.values())))
    ratios = {index: max(other[index], 1e-6) / max(own[index], 1e-6) for index in own}
    logs = np.log(list(ratios.values()))
    middle = float(np.median(logs))
    spread = 1.4826 * float(np.median(np.abs(logs - middle)))
    limit = min(np.log(_BETTER), middle + np.log(_MARGIN), middle - _DEVIATIONS * spread)
    # What was exchanged is as far on the other side: there both distances have changed places.
    furthest = -middle - 2 * _DEVIATIONS * max(spread, _LEAST)
    return [
        index
        for index, value in zip(ratios, logs, strict=True)
        if furthest < value < limit and other[index] < _FITS * usual
    ]


def judge_views(looks: Looks, tasks: Mapping[int, str]) -> Finding:
    """Say where a camera shows red for blue or the world upside down, and from which episode on it was moved."""
    turned: dict[str, list[int]] = {}
    coloured: dict[str, list[int]] = {}
    moved: dict[str, int] = {}
    for camera, of in by_camera(looks).items():
        reference = _reference(of)
        colour = {index: _chroma(look.first) for index, look in of.items()}
        grey = {index: look.first.mean(axis=2) for index, look in of.items()}
        # Light and shade are the same whichever way the colours are, and tell which way is up.
        for found, seen, flipped in (
            (turned, grey, reference.mean(axis=2)[::-1, ::-1]),
            (coloured, colour, _chroma(reference)[..., ::-1]),
        ):
            upright = reference.mean(axis=2) if found is turned else _chroma(reference)
            own = {index: float(np.abs(values - upright).mean()) for index, values in seen.items()}
            other = {index: float(np.abs(values - flipped).mean()) for index, values in seen.items()}
            told = max(_TELLABLE, _STABLE * float(np.quantile(list(own.values()), 0.75)))
            if np.abs(upright - flipped).mean() >= told and (hit := _far_better(own, other)):
                found[camera] = hit
        if (first := _moved_from({i: look for i, look in of.items() if tasks[i] == tasks[next(iter(of))]})) is not None:
            moved[camera] = first
    why = [f"upside down: {said(turned)}"] * bool(turned)
    why += [f"red and blue exchanged: {said(coloured)}"] * bool(coloured)
    why += [f"{camera} shows another view from episode {first} on" for camera, first in moved.items()]
    concerned = sorted({*all_episodes(turned), *all_episodes(coloured)})
    return Finding(
        question="views",
        title="Does each camera show what it usually shows?",
        verdict="; ".join(why) + ": compared with the first frames of the other episodes"
        if why
        else "first frames are the same way up, with the same colours and the same view in all episodes",
        severity="fault" if concerned else "warning" if moved else "fine",
        remedy=(
            "turn the pictures or exchange their colours where they were recorded; until then leave the episodes out"
            if concerned
            else "mount the camera fast; where it was calibrated, calibrate it again for the later episodes"
        )
        if why
        else "",
        evidence={
            "episodes": concerned,
            "episodes_by_camera": {
                camera: sorted({*turned.get(camera, ()), *coloured.get(camera, ())})
                for camera in {**turned, **coloured}
            },
            "moved_from_episode": moved,
        },
    )


def _lit_alike(thumbnail: np.ndarray) -> np.ndarray:
    """Return a picture with a mean of 100: another light is no other view."""
    return np.asarray(100.0 * thumbnail / max(float(thumbnail.mean()), 1.0))


def _chroma(thumbnail: np.ndarray) -> np.ndarray:
    """Return a picture's colours (rows, columns, 3) without its grey."""
    return np.asarray(thumbnail - thumbnail.mean(axis=2, keepdims=True))


def _moved_from(of: Mapping[int, Look]) -> int | None:
    """Return the episode from which on a camera's first frames are others; None where they are not.

    Pictures are compared after division by their mean, so that another light alone is no other view.
    """
    episodes = list(spread_evenly(tuple(of), _EPISODES))
    if len(episodes) < 2 * _SIDE:
        return None
    first = np.stack([_lit_alike(of[index].first.mean(axis=2)) for index in episodes]).reshape(len(episodes), -1)
    best, where = 0.0, None
    for at in spread_evenly(range(_SIDE, len(episodes) - _SIDE + 1), _PLACES):
        before, after = first[:at], first[at:]
        # Nine of ten before are darker than nine of ten after, or lighter, and clearly so: no chance of a few episodes.
        (dark_before, light_before), (dark_after, light_after) = (
            np.quantile(of_cells, (0.1, 0.9), axis=0) for of_cells in (before, after)
        )
        apart = np.maximum(dark_after - light_before, dark_before - light_after)
        share = float((apart > _LEVELS).mean())
        if share > best:
            best, where = share, episodes[at]
    return where if best >= _CELLS else None


def judge_same_cameras(looks: Looks) -> Finding:
    """Say which cameras show the same picture."""
    cameras = by_camera(looks)
    found: dict[str, list[int]] = {}
    for one, other in combinations(cameras, 2):
        both = sorted(cameras[one].keys() & cameras[other].keys())
        same = [index for index in both if _is_same(looks[index][one].first, looks[index][other].first)]
        if same:
            found[f"{one} and {other}"] = same
    return Finding(
        question="same_cameras",
        title="Do two cameras show the same?",
        verdict=f"the same picture twice: {said(found)}: one of them was opened twice, and the other's view is missing"
        if found
        else "no two cameras show the same picture"
        if len(cameras) > 1
        else "there are no two cameras",
        severity="fault" if found else "fine" if len(cameras) > 1 else "note",
        remedy="give each camera its own index or serial number and record again; --policy.cameras chooses one of them"
        if found
        else "",
        evidence={"episodes": all_episodes(found), "episodes_by_pair": found},
    )


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape or max(one.mean(), other.mean()) < BLACK:
        return False
    return float(np.abs(one.astype(float) - other).mean()) < _SAME
