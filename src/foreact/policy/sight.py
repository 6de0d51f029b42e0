"""How often calibrated cameras have the cue in their pictures: false coordinates and poses show there first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from foreact.geometry.projection import are_in_view
from foreact.policy.inputs import CUE_DIM, hand_pose
from foreact.records import Episode, Features

_USUAL = {"base": 0.9, "hand": 0.05}
"""The least share of frames by where a camera is mounted: one on the hand sees the cue on the way there alone."""


def cue_in_view(features: Features, episode: Episode) -> dict[str, np.ndarray]:
    """Return in which frames (N,) each camera whose pose is known has the cue in its picture, by the camera's name.

    Args:
        features: Of the data, `environment_height` among them.
        episode: Its state and coordinates; none of them is no camera.
    """
    if episode.environment_state is None or episode.environment_state.shape[1] < CUE_DIM:
        return {}
    hand = hand_pose(features)
    pose = None if hand is None or episode.state is None else hand(torch.from_numpy(episode.state).float())
    height = np.full((episode.length, 1), features.environment_height)
    cue = torch.from_numpy(np.hstack([episode.environment_state[:, :CUE_DIM], height])).float()
    return {
        camera.name: are_in_view(camera.calibration, cue, (camera.height, camera.width), pose).numpy()
        for camera in features.cameras
        if camera.calibration is not None and (camera.calibration.mounted_on == "base" or pose is not None)
    }


def seldom_in_view(features: Features, shares: Mapping[str, float]) -> list[str]:
    """Return the cameras that have the cue in their pictures less often than one that is calibrated has."""
    mounted = {of.name: of.calibration.mounted_on for of in features.cameras if of.calibration is not None}
    return [name for name, share in shares.items() if share < _USUAL[mounted[name]]]
