"""Where the hand is as the state says it, for arms whose kinematics are not known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foreact.errors import ConfigError, unknown_name
from foreact.records import RecordedPose
from foreact_runtime.kinematics import skew


class RecordedHandPose(nn.Module):
    """Where the hand is, from the state: read, where `HandPose` computes it from the joints."""

    def __init__(self, pose: RecordedPose, state_names: tuple[str, ...]) -> None:
        """Find the pose among the state's names; raises ConfigError where one is missing."""
        super().__init__()
        for name in (*pose.position, *pose.quaternion):
            if name not in state_names:
                raise ConfigError(f"recorded_pose: {unknown_name('dimension of the state', name, state_names)}")
        self._position = [state_names.index(name) for name in pose.position]
        self._quaternion = [state_names.index(name) for name in pose.quaternion]

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hand's position (B, 3) [m] and orientation (B, 3, 3) for raw states (B, S).

        Quaternions are brought to length 1; one of zeros, as before a robot's first message, does not turn.
        """
        quaternion = state[:, self._quaternion]
        length = torch.linalg.vector_norm(quaternion, dim=1, keepdim=True)
        quaternion = quaternion / length.clamp_min(1e-9)
        w, crossed = quaternion[:, :1, None], skew(quaternion[:, 1:])
        turn = torch.eye(3).to(state) + 2 * w * crossed + 2 * crossed @ crossed
        return state[:, self._position], turn
