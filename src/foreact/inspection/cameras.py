"""Does every camera show a living picture: not black, not frozen, no frame twice, as bright as usual?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from foreact.finding import Finding
from foreact.inspection.looks import DepthLook, Look
from foreact.inspection.ranges import runs
from foreact.inspection.words import all_episodes, episodes_text, said, share_text
from foreact.records import Camera

Looks = Mapping[int, Mapping[str, Look]]
"""By episode index, by camera."""
UNCHANGED, PULSE = 1.0, 3.5
"""Grey levels of 255: what differs by less than the first is the same picture, whatever is usual; by more than the
second it is another one: an encoder's key frames change what stays the same by no more."""
_SAME, _SAME_STEP = 0.12, 0.08
"""The same as a share of what usually changes within a second, and of the large changes from frame to frame."""
_CLEAR, _CLEAR_LEVELS = 0.4, 4.0
"""A clear change from frame to frame: as a share of the usual one, and at least so many grey levels."""
_NOTHING, _SEES = 2.0, 10.0
"""Grey levels within a second: a camera that usually changes less shows nothing at all, and one that changes no more
than the second is not judged by its changes."""
_FAR = 1.0
"""The state goes far in a second where it goes so many times as far as usual: a camera has to see that."""
_MOVED = 0.4
"""Share of the repeated pictures in which the state has to move."""
_LEAPS, _LEAP = 3, 1.5
"""So many repeats in a row count without a clear change before them, if the one after is so many times the usual."""
_REPEATS, _OFTEN = 0.02, 0.15
"""Share of repeated pictures that is one too many where other episodes have far fewer, and in any case."""
_DARK, _BRIGHT = 30.0, 225.0
"""Mean grey levels of 255."""


def by_camera(looks: Looks) -> dict[str, dict[int, Look]]:
    """Return the looks by camera, then by episode."""
    cameras: dict[str, dict[int, Look]] = {}
    for index, of in looks.items():
        for camera, look in of.items():
            cameras.setdefault(camera, {})[index] = look
    return cameras


def judge_black(looks: Looks) -> Finding:
    """Say which cameras show frames that are black, or of one colour."""
    found: dict[str, list[int]] = {}
    shown: dict[str, dict[str, list[int]]] = {}
    for camera, of in by_camera(looks).items():
        for index, look in of.items():
            # A camera that looks at a plain wall all the time is not broken.
            if len(look.black) or 0 < len(look.empty) <= 0.5 * (len(look.change) + 1):
                found.setdefault(camera, []).append(index)
                shown.setdefault(camera, {})[str(index)] = [int(look.empty[0]), len(look.empty)]
    first = next(((camera, *next(iter(of.items()))) for camera, of in shown.items()), None)
    return Finding(
        question="black",
        title="Are there black pictures?",
        verdict=f"black or empty frames: {said(found)}: the policy is shown nothing there"
        + (f" (episode {first[1]}: {first[2][1]} from frame {first[2][0]} on)" if first else "")
        if found
        else "no picture is black or of one colour",
        severity="fault" if found else "fine",
        remedy="check the camera's cable and exposure; leave these episodes out or record them again" if found else "",
        evidence={
            "episodes": all_episodes(found),
            "episodes_by_camera": found,
            "first_frame_and_count": shown,
        },
    )


def judge_frozen(looks: Looks, fps: float) -> Finding:
    """Say which cameras stand still for a second or more while the arm moves.

    A picture is compared with that a second later: an encoder's pulse stays as small as from frame to frame, whatever
    moves has come far. A camera in which usually little changes within a second sees too little of the arm to be
    judged, unless it never changes at all.
    """
    found: dict[str, list[int]] = {}
    stretches: dict[str, dict[str, list[int]]] = {}
    for camera, of in by_camera(looks).items():
        long = [look for look in of.values() if len(look.sweep)]
        if not long:
            continue
        far = _FAR * float(np.median(np.concatenate([look.travel for look in long])))
        usual = [float(np.median(look.sweep[look.travel >= far])) for look in long if (look.travel >= far).any()]
        if not usual or far <= 0:
            continue
        sees = float(np.median(usual))
        if _NOTHING <= sees <= _SEES:
            continue
        for index, look in of.items():
            same = PULSE if sees < _NOTHING else float(np.clip(_SAME * sees, UNCHANGED, PULSE))
            run = _frozen(look, same, far)
            if run is not None:
                found.setdefault(camera, []).append(index)
                stretches.setdefault(camera, {})[str(index)] = [run[0], run[1] - run[0]]
    first = next(((camera, *next(iter(of.items()))) for camera, of in stretches.items()), None)
    return Finding(
        question="frozen",
        title="Do the pictures move when the arm does?",
        verdict=f"frozen: {said(found)}: the pictures stay the same while the state moves, so they contradict it"
        + (f" (episode {first[1]}: from frame {first[2][0]} on for {first[2][1] / fps:.1f} s)" if first else "")
        if found
        else "no camera stands still for a second while the state moves",
        severity="fault" if found else "fine",
        remedy="check the camera's connection; leave these episodes out or record them again" if found else "",
        evidence={
            "episodes": all_episodes(found),
            "episodes_by_camera": found,
            "first_frame_and_count": stretches,
        },
    )


def _frozen(look: Look, same: float, far: float) -> tuple[int, int] | None:
    """Return the longest stretch of frames (start, stop) in which nothing changes while the state goes far."""
    if not len(look.sweep):
        return None
    quiet = np.concatenate([[0], np.cumsum(look.change >= same)])
    within = (quiet[look.reach :] == quiet[: -look.reach])[: len(look.sweep)]  # nor is there a way and back
    still = (look.sweep < same) & within
    still[np.isin(look.start + np.arange(len(still)), look.empty)] = False  # black frames are another finding
    found = [(start, stop + look.reach) for start, stop in runs(still) if look.travel[start:stop].max() >= far]
    if not found:
        return None
    start, stop = max(found, key=lambda of: of[1] - of[0])
    return look.start + start, look.start + stop


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Pictures that are the one before, between clear changes, while the state moved."""

    n: int
    longest: int
    n_distinct: int
    """Steps in which the state moved and the picture is another one."""
    n_moving: int
    """Steps in which the state moved."""

    @property
    def share(self) -> float:
        """Of the steps in which the state moved."""
        return self.n / self.n_moving if self.n_moving else 0.0


def count_repeats(look: Look) -> Repeats:
    """Count a look's repeated pictures, in runs shorter than a second: longer ones are frozen."""
    moving = int(look.moved.sum())
    none = Repeats(n=0, longest=0, n_distinct=moving, n_moving=moving)
    if not moving:
        return none
    large = float(np.quantile(look.change[look.moved], 0.95))
    same = look.change < np.clip(_SAME_STEP * large, UNCHANGED, PULSE)
    others = look.change[look.moved & ~same]
    if not len(others):
        return none
    usual = float(np.median(others))
    clear = look.change > max(_CLEAR_LEVELS, _CLEAR * usual)
    leap = look.change > max(_CLEAR_LEVELS, _LEAP * usual)
    same[np.isin(look.start + np.arange(len(same)), look.empty)] = False
    found = [
        (start, stop)
        for start, stop in runs(same)
        if 0 < start < stop < len(same) and stop - start < look.reach and look.moved[start:stop].mean() >= _MOVED
        # What begins to move, or stops, changes little at first; after a picture too many the next one has leapt.
        if (clear[start - 1] and clear[stop]) or (stop - start >= _LEAPS and leap[stop])
    ]
    return Repeats(
        n=sum(int(look.moved[start:stop].sum()) for start, stop in found),
        longest=max((stop - start for start, stop in found), default=0),
        n_distinct=int((look.moved & ~same).sum()),
        n_moving=moving,
    )


def judge_doubled(looks: Looks, fps: float) -> Finding:
    """Say which episodes hold frames several times: each hides one that was dropped."""
    found: dict[str, list[int]] = {}
    shares: dict[str, dict[str, float]] = {}
    rates: dict[str, float] = {}
    longest = 0
    for camera, of in by_camera(looks).items():
        repeats = {index: count_repeats(look) for index, look in of.items()}
        usual = float(np.median([of.share for of in repeats.values()]))
        for index, counted in repeats.items():
            if counted.n >= 2 and (counted.share >= _OFTEN or counted.share >= max(_REPEATS, 3 * usual)):
                found.setdefault(camera, []).append(index)
                shares.setdefault(camera, {})[str(index)] = counted.share
                longest = max(longest, counted.longest)
        accused = [repeats[index] for index in found.get(camera, ())]
        if accused:
            rates[camera] = fps * float(np.median([of.n_distinct / of.n_moving for of in accused]))
    largest = max((share for of in shares.values() for share in of.values()), default=0.0)
    return Finding(
        question="doubled",
        title="Were frames dropped?",
        verdict=f"pictures are there several times: {said(found)}: up to {share_text(largest, 1)} of the frames while "
        f"the state moves, at most {longest + 1} alike in a row; "
        + ", ".join(f"{camera} gave about {rate:.2g} pictures a second there" for camera, rate in rates.items())
        + f", not {fps:g}, and they are late"
        if found
        else "no picture is there twice while the state moves",
        severity="warning" if found else "fine",
        remedy="record at a rate that the camera keeps up with, on a USB port of its own; or train with a larger "
        "--policy.downsample-factor"
        if found
        else "",
        evidence={
            "episodes": all_episodes(found),
            "episodes_by_camera": found,
            "share_of_frames": shares,
            "pictures_per_second": rates,
            "longest_run": longest + 1 if found else 0,
        },
    )


def judge_brightness(looks: Looks) -> Finding:
    """Say which cameras are dark or glaring, and in which episodes the light differs from the others."""
    found: dict[str, list[int]] = {}
    usual: dict[str, float] = {}
    for camera, of in by_camera(looks).items():
        values = np.array([look.brightness for look in of.values()])
        middle = usual[camera] = float(np.median(values))
        spread = 1.4826 * float(np.median(np.abs(values - middle)))
        far = np.abs(values - middle) > max(30.0, 6 * spread)
        if not _DARK < middle < _BRIGHT:
            found[camera] = list(of)
        elif far.any():
            found[camera] = [index for index, is_far in zip(of, far, strict=True) if is_far]
    levels = ", ".join(f"{camera} {level:.0f}" for camera, level in usual.items())
    return Finding(
        question="brightness",
        title="Is the light the same?",
        verdict=f"unusual brightness: {said(found)}; usual are {levels} of 255: what is dark, glaring or lit in "
        "another way is learned badly"
        if found
        else f"mean brightness {levels} of 255, alike in all episodes",
        severity="warning" if found else "fine",
        remedy="fix exposure and white balance of the camera, and light the scene alike; look at these episodes"
        if found
        else "",
        evidence={
            "episodes": all_episodes(found),
            "episodes_by_camera": found,
            "brightness": {
                camera: {str(index): round(look.brightness, 1) for index, look in of.items()}
                for camera, of in by_camera(looks).items()
            },
        },
    )


def judge_depth(cameras: tuple[Camera, ...], depths: Mapping[int, Mapping[str, DepthLook]]) -> Finding | None:
    """Say whether depth is in metres and within its declared range; None where no camera measures depth."""
    ranges = {camera.name: camera.depth_range for camera in cameras if camera.depth_range is not None}
    if not ranges:
        return None
    found: dict[str, list[int]] = {}
    why: list[str] = []
    medians: dict[str, float] = {}
    for camera, depth_range in ranges.items():
        of = {index: by[camera] for index, by in depths.items() if camera in by}
        if not of or depth_range is None:
            continue
        median = medians[camera] = float(np.median([look.median_m for look in of.values()]))
        far_off = [index for index, look in of.items() if look.median_m and not 0.03 <= look.median_m <= 50]
        empty = [index for index, look in of.items() if look.empty_share > 0.5]
        at_end = [index for index, look in of.items() if look.at_end_share > 0.5]
        if far_off:
            factor = "1000 times too small: metres were taken for millimetres"
            if median > 50:
                factor = "1000 times too large: millimetres were taken for metres"
            why.append(f"{camera}: {of[far_off[0]].median_m:.3g} m in {episodes_text(far_off)}, perhaps {factor}")
        if empty:
            why.append(f"{camera}: more than half of the pixels are empty in {episodes_text(empty)}")
        if at_end:
            why.append(
                f"{camera}: more than half of the pixels lie at the range's end, {depth_range[1]:g} m, in "
                f"{episodes_text(at_end)}"
            )
        if hit := sorted({*far_off, *empty, *at_end}):
            found[camera] = hit
    return Finding(
        question="depth",
        title="Is depth in metres and within its range?",
        verdict="; ".join(why)
        or "; ".join(f"{camera}: median {median:.2f} m" for camera, median in medians.items())
        or "no depth could be read",
        severity="fault" if why else "fine",
        remedy="say the unit in the data's metadata (depth_unit: m or mm), or set the depth range to what the scene "
        "has; --policy.no-use-depth trains without"
        if why
        else "",
        evidence={
            "episodes": all_episodes(found),
            "episodes_by_camera": found,
            "median_m": medians,
            "ranges_m": {name: list(of) for name, of in ranges.items() if of is not None},
        },
    )
