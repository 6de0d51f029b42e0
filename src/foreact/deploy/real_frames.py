"""Observations of a data set as a robot would send them."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from foreact.data.mixed import open_sources
from foreact.data.source import EpisodeSource
from foreact.errors import DataError
from foreact.policy.checkpoint import CheckpointMeta, data_paths, source_of
from foreact_runtime import keys

_EPISODES = 16
"""That frames are taken of, at most: for each its video is decoded."""


def real_observations(meta: CheckpointMeta, data: Path | None, count: int) -> list[dict[str, Any]]:
    """Return observations, evenly spread over the episodes and each episode's time.

    Args:
        meta: Of the policy: says how the data are read and, where `data` is None, where they are.
        data: A data set.
        count: How many; fewer where the data have no more.

    Raises:
        DataError: If there are no data, or they lack a camera, state or coordinates of the policy.
    """
    paths = (data,) if data is not None else data_paths(meta)
    if not paths:
        raise DataError("the policy does not say what it was trained on; give real frames with --data")
    missing = [path for path in paths if not path.exists()]
    if missing and data is None:
        raise DataError(f"the training data '{missing[0]}' are gone; give real frames with --data")
    source = open_sources(paths, source_of(meta))
    places = np.linspace(0, len(source.episode_indices) - 1, _EPISODES).round().astype(int)
    episodes = [source.episode_indices[place] for place in np.unique(places)]
    lengths = [source.lengths[index] for index in episodes]
    frames = np.unique(np.linspace(0, sum(lengths) - 1, count).astype(int))
    ends = np.cumsum(lengths)
    observed: list[dict[str, Any]] = []
    for index, end, length in zip(episodes, ends, lengths, strict=True):
        own = frames[(frames >= end - length) & (frames < end)] - (end - length)
        if len(own):
            observed += _of_episode(source, index, own.tolist(), meta)
    return observed


def _of_episode(source: EpisodeSource, index: int, frames: list[int], meta: CheckpointMeta) -> list[dict[str, Any]]:
    episode = source.episode(index)
    observed: list[dict[str, Any]] = [{} for _ in frames]
    for key, values in ((keys.STATE, episode.state), (keys.ENVIRONMENT_STATE, episode.environment_state)):
        if values is not None:
            for of, frame in zip(observed, frames, strict=True):
                of[key] = values[frame]
    known = {camera.name for camera in source.features.cameras}
    for camera in meta.features.cameras:
        if camera.name not in known:
            raise DataError(f"'{source.root}' has no camera '{camera.name}', which the policy was trained with")
        pictures = {keys.image_key(camera.name): source.frames(index, camera.name)}
        if camera.depth_range is not None:
            pictures[keys.depth_key(camera.name)] = source.depth(index, camera.name)
        for key, stream in pictures.items():
            for frame, picture in enumerate(islice(stream, frames[-1] + 1)):
                if frame in frames:
                    observed[frames.index(frame)][key] = np.where(np.isnan(picture), 0, picture).astype(picture.dtype)
    return observed
