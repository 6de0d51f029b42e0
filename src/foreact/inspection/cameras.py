"""Does every camera show a living picture: not black, not frozen, no frame twice, as bright as usual?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreact.finding import Finding
from foreact.inspection.looks import UNCHANGED, DepthLook, Look
from foreact.inspection.words import episodes_text, share_text
from foreact.records import Camera

Looks = Mapping[int, Mapping[str, Look]]
"""By episode index, by camera."""
_FROZEN_S = 1.0
"""A camera may for a shorter time not see what moves, for example a wrist that turns."""
_REPEATS = 0.02
"""Share of the moving frames that are the one before from which an episode has doubled frames."""
_DARK, _BRIGHT = 30.0, 225.0
"""Mean grey levels of 255."""


def by_camera(looks: Looks) -> dict[str, dict[int, Look]]:
    """Return the looks by camera, then by episode."""
    cameras: dict[str, dict[int, Look]] = {}
    for index, of in looks.items():
        for camera, look in of.items():
            cameras.setdefault(camera, {})[index] = look
    return cameras


def all_episodes(found: Mapping[str, list[int]]) -> list[int]:
    """Return the episodes of all cameras together, ascending."""
    return sorted({index for of in found.values() for index in of})


def said(found: Mapping[str, list[int]]) -> str:
    """Return the cameras with their episodes in words."""
    return "; ".join(f"{camera} in {episodes_text(episodes)}" for camera, episodes in found.items())


def judge_black(looks: Looks) -> Finding:
    """Say which cameras show black frames."""
    found = {camera: [index for index, look in of.items() if look.n_black] for camera, of in by_camera(looks).items()}
    found = {camera: episodes for camera, episodes in found.items() if episodes}
    return Finding(
        question="black",
        title="Are there black pictures?",
        verdict=f"black frames: {said(found)}: the policy is shown nothing there" if found else "no picture is black",
        severity="fault" if found else "fine",
        remedy="check the camera's cable and exposure; leave these episodes out (--skip-bad does not see it) or record "
        "them again"
        if found
        else "",
        evidence={
            "episodes": all_episodes(found),
            "episodes_by_camera": found,
            "first_black_frame": {
                camera: [looks[index][camera].first_black for index in episodes] for camera, episodes in found.items()
            },
        },
    )


def judge_frozen(looks: Looks, fps: float) -> Finding:
    """Say which cameras stand still while the arm moves.

    A camera that hardly changes in any episode sees too little of the arm to be judged by its changes, unless it
    does not change at all.
    """
    least = max(5, round(_FROZEN_S * fps))
    found: dict[str, list[int]] = {}
    for camera, of in by_camera(looks).items():
        usual = float(np.median([look.change for look in of.values()]))
        dead = usual < 0.25 * UNCHANGED
        if usual > 4 * UNCHANGED or dead:
            hit = [index for index, look in of.items() if look.frozen_run >= least]
            if hit:
                found[camera] = hit
    return Finding(
        question="frozen",
        title="Do the pictures move when the arm does?",
        verdict=f"frozen: {said(found)}: the pictures stay the same while the state moves, so they contradict it"
        if found
        else "no camera stands still while the state moves",
        severity="fault" if found else "fine",
        remedy="check the camera's connection; leave these episodes out or record them again" if found else "",
        evidence={
            "episodes": all_episodes(found),
            "episodes_by_camera": found,
            "run_frames": {
                camera: [looks[index][camera].frozen_run for index in episodes] for camera, episodes in found.items()
            },
        },
    )


def judge_doubled(looks: Looks, fps: float) -> Finding:
    """Say which episodes hold frames twice: each hides one that was dropped."""
    found: dict[str, list[int]] = {}
    shares: dict[str, list[float]] = {}
    for camera, of in by_camera(looks).items():
        hit = [
            index for index, look in of.items() if look.n_repeats >= 2 and look.n_repeats >= _REPEATS * look.n_moving
        ]
        if hit:
            found[camera] = hit
            shares[camera] = [of[index].n_repeats / of[index].n_moving for index in hit]
    largest = max((share for of in shares.values() for share in of), default=0.0)
    return Finding(
        question="doubled",
        title="Were frames dropped?",
        verdict=f"frames are there twice: {said(found)}: up to {share_text(largest, 1)} of the frames while the state "
        f"moves, so the camera gave fewer than {fps:g} pictures a second and the pictures are late"
        if found
        else "no frame is there twice while the state moves",
        severity="warning" if found else "fine",
        remedy="record at a rate that the camera keeps up with, on a USB port of its own; or train with a larger "
        "--policy.downsample-factor"
        if found
        else "",
        evidence={"episodes": all_episodes(found), "episodes_by_camera": found, "share_of_frames": shares},
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
