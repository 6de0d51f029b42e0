"""Where else a policy could be sent in the same scene: the other block's place, where it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from foreact.data.bad_episodes import listed
from foreact.data.mixed import origin_of, parts_of
from foreact.data.source import EpisodeSource
from foreact.errors import DataError
from foreact.policy.inputs import CUE_DIM

Kind = Literal["confuser", "paired", "elsewhere"]
KINDS: dict[Kind, str] = {
    "confuser": "the recorded or given place of another block in the scene",
    "paired": "the cue of the same scene's other demonstration",
    "elsewhere": "another episode's cue; no block is known to stand there",
}
APART = 0.05
"""Metres: an `elsewhere` cue is at least this far from the episode's own."""

Place = tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class OtherCues:
    """Trials of a swap test."""

    episode: np.ndarray
    """(K,): which of the episodes, counted from 0."""
    cue: np.ndarray
    """(K, 2): what the policy is told instead [m]."""
    kind: tuple[Kind, ...]
    """Of each trial."""


def known_places(
    source: EpisodeSource, given: Mapping[int, tuple[Place, ...]] | None = None
) -> dict[int, tuple[Kind, tuple[Place, ...]]]:
    """Return by episode where other blocks stand, as far as it is known: given, recorded, or cues of the same scene.

    Args:
        source: The demonstrations.
        given: What somebody says, by episode; the data are asked for the others.

    Raises:
        DataError: If places are given of an episode that does not exist.
    """
    given = given or {}
    if unknown := set(given) - set(source.episode_indices):
        raise DataError(f"places of other blocks are given for episode {listed(unknown)}, which '{source.root}' lacks")
    from foreact.sim.record import recorded_scenes

    recorded: dict[tuple[int, int], tuple[Place, ...]] = {}
    for number, part in enumerate(parts_of(source)):
        try:
            for scene in recorded_scenes(part.root):
                if scene["confusers"]:
                    places = tuple((float(x), float(y)) for x, y in scene["confusers"])
                    recorded[number, scene["episode_index"]] = places
        except DataError:  # not a recording of ours: the scenes of paired demonstrations may still tell
            pass
    origins = {index: origin_of(source, index) for index in source.episode_indices}
    known: dict[int, tuple[Kind, tuple[Place, ...]]] = {
        index: ("confuser", recorded[origin]) for index, origin in origins.items() if origin in recorded
    }
    known |= {index: ("confuser", places) for index, places in given.items()}
    members: dict[int, list[int]] = {}
    for index, scene_number in source.scenes.items():
        members.setdefault(scene_number, []).append(index)
    for of in members.values():
        for index in of:
            if index not in known and len(of) > 1:
                known[index] = ("paired", tuple(_cue(source, other) for other in of if other != index))
    return known


def other_cues(
    episodes: Sequence[int], cues: np.ndarray, known: Mapping[int, tuple[Kind, tuple[Place, ...]]]
) -> OtherCues:
    """Return one trial for each other block of each episode, or for another episode's cue where none is known.

    Args:
        episodes: Indices of N episodes.
        cues: Their own coordinates (N, 2) [m].
        known: From `known_places`; may be empty.
    """
    trials: list[tuple[int, Place, Kind]] = []
    for i, index in enumerate(episodes):
        if index in known:
            kind, places = known[index]
            trials += [(i, place, kind) for place in places]
            continue
        # Half way round the list, so that episodes recorded one after the other are not each other's.
        for j in ((i + len(episodes) // 2 + k) % len(episodes) for k in range(len(episodes))):
            if np.linalg.norm(cues[j] - cues[i]) >= APART:
                trials.append((i, (float(cues[j, 0]), float(cues[j, 1])), "elsewhere"))
                break
    return OtherCues(
        episode=np.array([i for i, _, _ in trials], np.int64),
        cue=np.array([place for _, place, _ in trials], np.float64).reshape(-1, CUE_DIM),
        kind=tuple(kind for _, _, kind in trials),
    )


def _cue(source: EpisodeSource, index: int) -> Place:
    state = source.episode(index).environment_state
    if state is None or state.shape[1] < CUE_DIM:
        raise DataError(f"episode {index} of '{source.root}' has no coordinates x and y to swap")
    return float(state[0, 0]), float(state[0, 1])
