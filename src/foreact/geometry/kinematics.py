"""The runtime's kinematics for tensors: as a module that follows its device, and turns that the network predicts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foreact.records import Arm
from foreact_runtime.kinematics import chain, constants, skew


class ForwardKinematics(nn.Module):
    """Hand poses of many joint angles at once, on any device."""

    def __init__(self, arm: Arm) -> None:
        """Take the chain."""
        super().__init__()
        for name, constant in constants(arm).items():
            self.register_buffer(name, torch.from_numpy(constant).float(), persistent=False)

    def forward(self, angles: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hand's position (..., 3) [m] and orientation (..., 3, 3) in the base for angles (..., J) [rad]."""
        position, turn, *_ = chain(dict(self.named_buffers()), torch.sin(angles), torch.cos(angles))
        return position, turn


def rotation_matrix(vector: Tensor) -> Tensor:
    """Return rotation matrices (..., 3, 3) of axis times angle (..., 3) [rad]; the inverse of `rotation_vector`.

    Rodrigues' formula.
    """
    angle = torch.linalg.vector_norm(vector, dim=-1)[..., None, None]
    crossed = skew(vector)
    half = torch.sinc(angle / (2 * torch.pi))  # sin(a / 2) / (a / 2), and 1 at 0
    return torch.eye(3).to(vector) + torch.sinc(angle / torch.pi) * crossed + half**2 / 2 * crossed @ crossed
