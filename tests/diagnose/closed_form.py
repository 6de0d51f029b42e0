"""Policies whose answer is known: they move in a straight line to where they have decided to go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from foreact.config import PolicyConfig
from foreact.data.dataset import ChunkDataset
from foreact.data.source import open_source
from foreact.diagnose.probe import Probe
from foreact.model.act import ACTOutput
from foreact.policy.inputs import Inputs
from foreact.records import Arm, Batch, Features
from spots import FEATURES

CHUNK, STEPS = 6, 12
"""Length of a chunk, and of the way to the place."""
CONFIG = PolicyConfig(
    chunk_size=CHUNK,
    n_action_steps=1,
    vision_backbone="cnn",
    pretrained_backbone_weights=None,
    backbone_norm="group",
    state_normalization="identity",
    environment_normalization="identity",
    action_normalization="identity",
)
"""Normalised values are raw ones, so that a policy can be written down."""
ARM = Arm(
    joints=("a", "b"),
    positions=((0.0, 0.0, 0.1), (0.3, 0.0, 0.0)),
    quaternions=((1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)),
    axes=((0.0, 0.0, 1.0), (0.0, 0.0, 1.0)),
    limits=((-3.0, 3.0), (-3.0, 3.0)),
    hand_position=(0.2, 0.0, 0.0),
    hand_quaternion=(1.0, 0.0, 0.0, 0.0),
)
"""Two links of 0.3 and 0.2 m in a plane 0.1 m above the table."""


class Straight(nn.Module):
    """Goes from the state to a place, a twelfth of the way each step."""

    def __init__(self, place: Callable[[Batch], Tensor]) -> None:
        super().__init__()
        self.place = place

    def forward(self, batch: Batch, z: object = "zero") -> ACTOutput:
        assert batch.state is not None
        share = torch.arange(1, CHUNK + 1)[None, :, None] / STEPS
        return ACTOutput(action_hat=batch.state[:, None] + share * (self.place(batch) - batch.state)[:, None])


def told(batch: Batch) -> Tensor:
    """Where the coordinate says."""
    assert batch.environment_state is not None
    return batch.environment_state


def middle(batch: Batch) -> Tensor:
    """The mean of all places, whatever the coordinate."""
    return torch.full_like(told(batch), 0.5)


def seen(batch: Batch) -> Tensor:
    """Where the red spot is in the overhead picture, whatever the coordinate."""
    image = batch.images["overhead"]
    red = (image[:, 0] - image[:, 1]).clamp(min=0) ** 2
    red = torch.where(red > 1, red, 0.0)
    middle_of_pixel = torch.arange(32) - 2.5  # the spot's corner is 2.5 pixels before its middle
    total = red.sum((1, 2)).clamp(min=1)  # the white spot may cover it
    rows = (red.sum(2) * middle_of_pixel).sum(1) / total
    columns = (red.sum(1) * middle_of_pixel).sum(1) / total
    return torch.stack([rows, columns], dim=1) / 26


def probe_of(place: Callable[[Batch], Tensor], data: Path, cache_dir: Path, features: Features = FEATURES) -> Probe:
    source = open_source(data)
    dataset = ChunkDataset(source, source.episode_indices, features=features, chunk_size=CHUNK, cache_dir=cache_dir)
    return Probe(Straight(place).eval(), Inputs(CONFIG, features, {}), features, dataset)
