"""Does the recorded state hang while the arm moves?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreact.finding import Finding
from foreact.inspection.looks import Look
from foreact.inspection.ranges import runs
from foreact.inspection.words import episodes_text
from foreact.records import Episode

_LEAST, _LEAST_S = 5, 0.2
"""A state that stays the same to the last bit for as many frames and as long hangs, if anything else moves."""
_MOVED = 0.6
"""Share of these frames in which the action has to move."""
_SEEN = 0.5
"""Median change of the pictures meanwhile, as a share of the usual one."""


def hanging(episode: Episode, action_moves: np.ndarray, fps: float) -> tuple[list[tuple[int, int]], list[bool]]:
    """Return the stretches of frames (start, stop) of which all states are equal, and whether the action moves in each.

    Args:
        episode: With a state.
        action_moves: Bool (L - 1,), whether the action moves from each frame to the next.
        fps: Frames a second.
    """
    if episode.state is None:
        return [], []
    least = max(_LEAST, round(_LEAST_S * fps))
    equal = (np.diff(episode.state, axis=0) == 0).all(axis=1)
    found = [(start, stop + 1) for start, stop in runs(equal) if stop - start + 1 >= least]
    return found, [bool(action_moves[start : stop - 1].mean() >= _MOVED) for start, stop in found]


def seen_moving(stretches: list[tuple[int, int]], looks: Mapping[str, Look]) -> list[bool]:
    """Return whether a camera saw something move during each of the stretches as clearly as it usually does."""
    found = []
    for start, stop in stretches:
        moves = False
        for look in looks.values():
            during = look.change[max(start - look.start, 0) : max(stop - 1 - look.start, 0)]
            usual = look.change[look.moved]
            if len(during) >= _LEAST - 1 and len(usual):
                clear = max(4.0, _SEEN * float(np.median(usual)))
                moves |= float(np.median(during)) > clear
        found.append(moves)
    return found


def judge_stale(fps: float, stretches: Mapping[int, list[tuple[int, int]]]) -> Finding:
    """Say in which episodes (by index) the state hung, and when."""
    found = {index: of for index, of in stretches.items() if of}
    first = next(iter(found.items()), None)
    return Finding(
        question="stale",
        title="Does the state hang?",
        verdict=f"the state stays the same to the last bit while the action or the pictures move: "
        f"{episodes_text(list(found))} (episode {first[0]}: {first[1][0][1] - first[1][0][0]} frames, "
        f"{(first[1][0][1] - first[1][0][0]) / fps:.2g} s, from frame {first[1][0][0]} on): it was not read in time"
        if first
        else "the state never stays the same to the last bit while the action or the pictures move",
        severity="warning" if found else "fine",
        remedy="read the joints in every control tick, not from an old message; leave these episodes out or record "
        "them again"
        if found
        else "",
        evidence={
            "episodes": list(found),
            "frames_by_episode": {str(index): [list(stretch) for stretch in of] for index, of in found.items()},
        },
    )
