"""Pictures as evidence: what was found beside what is usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.data.source import EpisodeSource
from foreact.errors import DataError
from foreact.finding import Finding
from foreact.inspection.looks import Look, small
from foreact.inspection.plan import read_window

_EPISODES = 3
"""That are shown of each camera and question."""
_QUESTIONS = ("black", "frozen", "swapped", "views", "brightness")


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A picture with what it shows."""

    caption: str
    picture: np.ndarray
    """uint8 (H, W, 3), small."""


def show(
    source: EpisodeSource, findings: Sequence[Finding], looks: Mapping[int, Mapping[str, Look]]
) -> dict[str, tuple[Exhibit, ...]]:
    """Return the accused pictures of a few episodes by question, each row after the same frame of a usual episode."""
    shown: dict[str, tuple[Exhibit, ...]] = {}
    for finding in findings:
        if finding.question not in _QUESTIONS or finding.severity not in ("fault", "warning"):
            continue
        accused = set(finding.evidence["episodes"])
        usual = next((index for index in looks if index not in accused), None)
        exhibits = []
        for camera, episodes in _by_camera(finding).items():
            for number, index in enumerate(episodes[:_EPISODES]):
                frames = _frames(finding, camera, index)
                if number == 0 and usual is not None:
                    exhibits += _pictures(source, usual, camera, frames, f"{camera}, episode {usual}, as usual")
                exhibits += _pictures(source, index, camera, frames, f"{camera}, episode {index}")
        if exhibits:
            shown[finding.question] = tuple(exhibits)
    return shown


def _by_camera(finding: Finding) -> dict[str, list[int]]:
    if "episodes_by_pair" in finding.evidence:
        pairs = finding.evidence["episodes_by_pair"]
        return {camera: episodes for pair, episodes in pairs.items() for camera in pair.split(" and ")}
    return dict(finding.evidence["episodes_by_camera"])


def _frames(finding: Finding, camera: str, index: int) -> list[int]:
    """Return the first accused frame, and the last one of a stretch."""
    of = finding.evidence.get("first_frame_and_count", {}).get(camera, {}).get(str(index))
    if of is None:
        return [0]
    first, count = of
    return [first, first + count - 1] if finding.question == "frozen" else [first]


def _pictures(source: EpisodeSource, index: int, camera: str, frames: Sequence[int], caption: str) -> list[Exhibit]:
    exhibits = []
    for frame in frames:
        at = min(frame, source.lengths[index] - 1)
        try:
            _, pictures = read_window(source, index, camera, (at, at + 1))
            exhibits.append(Exhibit(caption=f"{caption}, frame {at}", picture=small(next(pictures))))
        except DataError:
            continue  # that it is damaged is another finding
    return exhibits
