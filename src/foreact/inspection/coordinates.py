"""Do the coordinates say where the arm acts: in metres, from its base, within the pictures?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreact.finding import Finding, Severity
from foreact.inspection.coverage import Places
from foreact.inspection.words import episodes_text, share_text
from foreact.policy.sight import seldom_in_view
from foreact.records import Features

_NEAR = 0.05
"""The hand closes at most so far [m] from its coordinates, which are off by a centimetre or two, on something small."""
_USUAL = 0.9
"""The least share of episodes in which it does."""
_OTHERWISE: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "in millimetres": ((0.001, 0), (0, 0.001)),
    "in centimetres": ((0.01, 0), (0, 0.01)),
    "exchanged, y before x": ((0, 1), (1, 0)),
    "mirrored along x": ((-1, 0), (0, 1)),
    "mirrored along y": ((1, 0), (0, -1)),
    "turned by half a turn": ((-1, 0), (0, -1)),
    "turned by a quarter to the left": ((0, 1), (-1, 0)),
    "turned by a quarter to the right": ((0, -1), (1, 0)),
}
"""Common mistakes, as what makes up for them: right = matrix @ recorded."""


def judge_coordinates(features: Features, places: Mapping[int, Places]) -> Finding:
    """Hold coordinates against where the hand first closes, and against what the calibrated cameras see.

    Only where they are metres on a table that the arm and a camera are calibrated to; elsewhere they may mean anything.
    """
    question, title = "coordinates", "Do the coordinates say where the arm acts?"
    told = {index: of.coordinates for index, of in places.items() if of.coordinates is not None}
    seeing = sorted({name for of in places.values() for name in of.in_view})
    shares = {name: float(np.mean([of.in_view[name] for of in places.values() if of.in_view])) for name in seeing}
    closed = [index for index in told if places[index].closing_hand is not None]
    unheld = "" if closed else f"not held against where the hand closes: {_why_not(places)}"
    calibrated = any(of.calibration for of in features.cameras)
    if not told or not calibrated or not (closed or shares):
        reason = "the data have none" if not told else unheld if calibrated else "no camera is calibrated"
        return Finding(question=question, title=title, verdict=f"cannot tell: {reason}", severity="note")

    said, faults, warnings, remedies = [], [], [], []
    evidence: dict[str, object] = {}
    if closed:
        at = np.array([told[index] for index in closed])
        hands = np.array([places[index].closing_hand for index in closed])[:, :2]
        off = np.linalg.norm(hands - at, axis=1)
        far = [index for index, distance in zip(closed, off, strict=True) if distance > _NEAR]
        usual = float(np.median(off))
        evidence |= {
            "closing_distance_m": usual,
            "closing_distance_m_by_episode": dict(zip(closed, off.tolist(), strict=True)),
        }
        said.append(f"the gripper first closes {_length(usual)} (median of {len(closed)}) from the coordinate")
        if usual > _NEAR:
            better = {
                name: float(np.median(np.linalg.norm(hands - at @ np.array(matrix).T, axis=1)))
                for name, matrix in _OTHERWISE.items()
            }
            likely = min(better, key=lambda name: better[name])
            if better[likely] <= _NEAR:
                faults.append(f"taken to be {likely}, {_length(better[likely])}")
                remedies.append(
                    f"the coordinates are {likely}; they must be metres from the arm's base, along its x and y"
                )
            else:
                warnings.append("more than a block is wide")
                remedies.append("look whether they are metres from the arm's base, and at the zero of its joints")
        elif len(far) > (1 - _USUAL) * len(closed):
            evidence["episodes"] = far
            warnings.append(f"more than {_length(_NEAR)} in {episodes_text(far)}")
            remedies.append(
                "look whether these coordinates are their own: a policy cannot be better than what it is told"
            )
    for camera, share in shares.items():
        evidence[f"share_of_frames_in_view_of_{camera}"] = share
        said.append(f"{camera} has them in its picture in {share_text(share, 1)} of the frames")
    for camera in seldom_in_view(features, shares):
        warnings.append(f"{camera} is not where its calibration says, or the coordinates are not where the arm acts")
        if not remedies:
            remedies.append(f"look at the calibration of {camera}, position and quaternion: a crop of it shows nothing")
    if unheld:
        said.append(unheld)
    severity: Severity = "fault" if faults else "warning" if warnings else "note" if unheld else "fine"
    return Finding(
        question=question,
        title=title,
        verdict="; ".join([*said, *faults, *warnings]),
        severity=severity,
        remedy="; ".join(remedies),
        evidence=evidence,
    )


def _why_not(places: Mapping[int, Places]) -> str:
    """Return why no episode tells where the hand is when the gripper first closes."""
    if all(of.start_hand is None for of in places.values()):
        return "the arm's kinematics are not known"
    return "the gripper closes in no episode ('When does the gripper close?' may say why)"


def _length(metres: float) -> str:
    return f"{1000 * metres:.0f} mm" if metres < 1 else f"{metres:.3g} m"
