"""How a bound on the disk is shared out where frames are streamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.data.chunks import downsampled_length
from foreact.data.files import size_text
from foreact.data.frame_windows import N_WINDOWS, frame_bytes
from foreact.data.source import EpisodeSource
from foreact.errors import ConfigError
from foreact.records import Features

_FOR_VALIDATION = 0.25
"""Largest share of the bound that the held-out frames may take."""


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """What the disk holds at any time."""

    capacity: int
    """Frames of each of the two windows."""
    validation: tuple[int, ...]
    """Held-out episodes whose frames stay there, ascending; all of them where they take a quarter of the bound."""


def plan_stream(
    source: EpisodeSource,
    training: Sequence[int],
    validation: Sequence[int],
    *,
    features: Features,
    bound: int,
    downsample_factor: int = 1,
    scenes: Mapping[int, int] | None = None,
    seed: int = 0,
) -> StreamPlan | None:
    """Return what to keep on the disk, or None where all frames fit.

    Args:
        source: Where the frames come from.
        training: Episodes to train on.
        validation: Held-out episodes.
        features: What the policy takes, from `select_features`.
        bound: Bytes.
        downsample_factor: Use every n-th frame.
        scenes: Scene by episode index, where a window has to hold a scene's episodes together; None where not.
        seed: Decides which held-out episodes are kept, where not all are.

    Raises:
        ConfigError: If the bound does not hold two windows of one episode each and a held-out one.
    """
    a_frame = frame_bytes(features)
    length = {index: downsampled_length(source.lengths[index], downsample_factor) for index in (*training, *validation)}
    if sum(length.values()) * a_frame <= bound:
        return None
    room = bound // a_frame
    crowds: dict[int, int] = {}
    for index in training:
        crowd = index if scenes is None else scenes[index]
        crowds[crowd] = crowds.get(crowd, 0) + length[index]
    windows = N_WINDOWS * max(crowds.values())
    one_held_out = min((length[index] for index in validation), default=0)
    if windows + one_held_out > room:
        what = "episode" if scenes is None else "scene"
        also = " and one held-out episode" if validation else ""
        frames = windows + one_held_out
        raise ConfigError(
            f"train.stream is {size_text(bound)}, but {N_WINDOWS} windows of the longest {what}{also} take "
            f"{size_text(frames * a_frame)} ({frames} frames of {size_text(a_frame)}); give it more, or lower "
            "policy.image_size"
        )
    left = max(min(int(_FOR_VALIDATION * room), room - windows), one_held_out)
    kept = []
    for index in np.random.default_rng(seed).permutation(np.array(validation, int)).tolist():
        if length[index] <= left:
            kept.append(index)
            left -= length[index]
    n_kept = sum(length[index] for index in kept)
    return StreamPlan(capacity=(room - n_kept) // N_WINDOWS, validation=tuple(sorted(kept)))
