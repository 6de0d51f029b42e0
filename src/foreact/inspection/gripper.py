"""When does the gripper close and open, and does what counts as closed lie between the two?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from foreact.data.dimensions import is_gripper
from foreact.data.statistics import names_of
from foreact.finding import Finding
from foreact.geometry.jaws import Misplaced
from foreact.inspection.scale import Scale
from foreact.inspection.words import episodes_text
from foreact.records import Episode, Features
from foreact_runtime import keys

_BAND = 0.1
"""Half the hysteresis around the threshold, as a share of the range."""
_QUANTILES = np.linspace(0, 1, 101)


@dataclass(frozen=True, kw_only=True)
class GripperDimension:
    """Where a gripper stands in the data, and what is closed."""

    key: str
    dim: int
    name: str
    threshold: float
    """Below it the gripper is closed, in the data's unit."""
    band: float
    """Half the hysteresis."""


@dataclass(frozen=True, kw_only=True)
class GripperEvents:
    """Frames at which the grippers close and open, of all grippers together, ascending."""

    closings: tuple[int, ...]
    openings: tuple[int, ...]
    length: int


def find_grippers(features: Features, scales: Mapping[str, Scale]) -> list[GripperDimension]:
    """Return the grippers: those of the state, or of the action where the state has none.

    Below the arm's `gripper_closed` one is closed; where that is not known, in the lower half of its usual range, as
    with LeRobot's and ALOHA's grippers.
    """
    names = names_of(features)
    for key in (keys.STATE, keys.ACTION):
        found = []
        for dim, name in enumerate(names[key]):
            if is_gripper(features, name) and scales[key].spread[dim] > 0:
                low, spread = scales[key].low[dim], scales[key].spread[dim]
                knows = features.arm is not None and features.arm.gripper == name and key == keys.STATE
                threshold = features.arm.gripper_closed if knows and features.arm else low + 0.5 * spread
                found.append(
                    GripperDimension(key=key, dim=dim, name=name, threshold=threshold, band=_BAND * float(spread))
                )
        if found:
            return found
    return []


def measure_gripper(episode: Episode, grippers: list[GripperDimension]) -> GripperEvents:
    """Return when the grippers close and open in an episode."""
    closings: list[int] = []
    openings: list[int] = []
    for gripper in grippers:
        vector = episode.state if gripper.key == keys.STATE else episode.action
        assert vector is not None
        values = vector[:, gripper.dim]
        is_closed = bool(values[0] < gripper.threshold)
        # Only the crossings matter, so the frames in between are skipped.
        outside = np.flatnonzero(np.abs(values - gripper.threshold) > gripper.band)
        below = values[outside] < gripper.threshold
        for frame, closed in zip(outside.tolist(), below.tolist(), strict=True):
            if closed != is_closed:
                (closings if closed else openings).append(frame)
                is_closed = closed
    return GripperEvents(closings=tuple(sorted(closings)), openings=tuple(sorted(openings)), length=episode.length)


def gripper_values(episode: Episode, features: Features) -> np.ndarray:
    """Return an episode's quantiles, from the least to the largest value (101,), of the gripper that the arm names.

    Empty where the arm, its gripper or its value in the state is not known.
    """
    arm = features.arm
    if arm is None or arm.gripper not in features.state_names or episode.state is None:
        return np.empty(0)
    values = episode.state[:, features.state_names.index(arm.gripper)]
    return np.quantile(values, _QUANTILES, method="nearest")


def judge_gripper(
    fps: float,
    grippers: list[GripperDimension],
    events: Mapping[int, GripperEvents],
    tasks: Mapping[int, str],
    misplaced: Misplaced | None,
) -> Finding:
    """Say how often and when the gripper closes, and in which episodes it never does though it does in most.

    Where the arm's `gripper_closed` is misplaced there is nothing to count, and that is said instead.
    """
    title = "When does the gripper close?"
    if misplaced is not None:
        return Finding(
            question="gripper",
            title=title,
            verdict=f"{misplaced.said}: when it closes cannot be told, and conditioning 'frame' is refused",
            severity="warning" if misplaced.levels is None else "fault",
            remedy=f"{misplaced.remedy}, in robot.yaml (foreact convert DATA OUT --calibration robot.yaml writes it "
            "into the data) or in the data's meta/foreact.json",
            evidence={
                "gripper_closed": misplaced.arm.gripper_closed,
                "range": [misplaced.low, misplaced.high],
                "levels": misplaced.levels,
                "proposed": misplaced.proposed,
                "first_closing_s": [],
            },
        )
    if not grippers or not events:
        return Finding(
            question="gripper",
            title=title,
            verdict="cannot tell: no dimension is called a gripper, finger, jaw, claw or hand, or it never moves",
            severity="note",
            remedy="name it '...gripper...' in the data",
        )
    counts = {index: len(of.closings) for index, of in events.items()}
    usual = int(np.median(list(counts.values())))
    closing = [index for index, count in counts.items() if count]
    of_task: dict[str, list[int]] = {}
    for index in counts:
        of_task.setdefault(tasks[index], []).append(index)
    never = sorted(
        index
        for group in of_task.values()
        if sum(counts[index] > 0 for index in group) > 0.5 * len(group)
        for index in group
        if not counts[index]
    )
    first = [events[index].closings[0] / fps for index in closing]
    often = [index for index, count in counts.items() if usual >= 1 and count >= 3 * usual + 1]
    said = f"it closes {usual} time{'s' if usual != 1 else ''} an episode" + (
        f", first after {np.median(first):.1f} s ({min(first):.1f} to {max(first):.1f} s)" if first else ""
    )
    if never:
        said += f"; never in {episodes_text(never)}: a failed grasp, or an episode that is cut short"
    if often:
        said += f"; many times in {episodes_text(often)}: repeated attempts"
    return Finding(
        question="gripper",
        title=title,
        verdict=said,
        severity="warning" if never else "fine",
        remedy="look at these episodes, and leave out those that fail" if never else "",
        evidence={
            "episodes": never,
            "many_attempts": often,
            "dimensions": [f"{of.key}: {of.name}" for of in grippers],
            "closings_by_episode": {str(index): count for index, count in counts.items()},
            "first_closing_s": first,
            "fps_hz": fps,
            "first_closing_share": [events[index].closings[0] / events[index].length for index in closing],
        },
    )
