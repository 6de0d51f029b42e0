"""How often calibrated cameras have the cue in their pictures: false coordinates and poses show there first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from foreact.geometry.projection import are_in_view
from foreact.policy.inputs import CUE_DIM, hand_pose, is_placed
from foreact.records import Episode, Features

_USUAL = {"base": 0.9, "hand": 0.05}
"""The least share of frames by where a camera is mounted: one on the hand sees the cue on the way there alone."""


class CueSight:
    """Says in which frames the cameras whose pose is known have the cue in their pictures."""

    def __init__(self, features: Features) -> None:
        """Take what the data set says of cameras, arm and `environment_height`."""
        self._features = features
        self._hand = hand_pose(features)

    def frames(self, episode: Episode) -> dict[str, np.ndarray]:
        """Return by the camera's name whether each frame (N,) has it; none of an episode that is told no coordinates.

        Args:
            episode: Without pictures.
        """
        if episode.environment_state is None or episode.environment_state.shape[1] < CUE_DIM:
            return {}
        pose = None
        if self._hand is not None:
            assert episode.state is not None
            pose = self._hand(torch.from_numpy(episode.state).float())
        height = np.full((episode.length, 1), self._features.environment_height)
        cue = torch.from_numpy(np.hstack([episode.environment_state[:, :CUE_DIM], height])).float()
        seen = {}
        for camera in self._features.cameras:
            if is_placed(camera, self._hand):
                assert camera.calibration is not None
                size = (camera.height, camera.width)
                seen[camera.name] = are_in_view(camera.calibration, cue, size, pose).numpy()
        return seen


def seldom_in_view(features: Features, shares: Mapping[str, float]) -> list[str]:
    """Return the cameras that have the cue in their pictures less often than one that is calibrated has."""
    mounted = {of.name: of.calibration.mounted_on for of in features.cameras if of.calibration is not None}
    return [name for name, share in shares.items() if share < _USUAL[mounted[name]]]
