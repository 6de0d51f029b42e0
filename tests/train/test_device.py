"""Losses on a GPU, without one: PyTorch's fake tensors have no numbers, but refuse to meet those of another device."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from foreact.config import RunConfig
from foreact.data.selection import select_features
from foreact.presets import preset
from foreact.train.cost import QuietModule, any_statistics, raw_batch
from foreact.train.stand_in import ROBOTS, SO101, stand_in_features


@pytest.mark.parametrize("name", ["so101-grounded", "compact-grounded", "r1pro"])
def test_the_loss_of_a_raw_batch_stays_on_the_device(name: str) -> None:
    recipe = preset(name)
    policy = replace(recipe.policy, pretrained_backbone_weights=None)
    run = RunConfig(policy=policy, train=replace(recipe.train, batch_size=4, cue_noise=0.01))
    features = select_features(stand_in_features(ROBOTS.get(name.removesuffix("-grounded"), SO101)), policy)
    module = QuietModule(run, features, any_statistics(run, features)).train()
    with FakeTensorMode(allow_non_fake_inputs=True):
        for part in module.modules():
            own: tuple[dict[str, torch.Tensor | None], ...] = (part._parameters, part._buffers)  # type: ignore[assignment]
            for held in own:
                held |= {of: moved(tensor) for of, tensor in held.items() if tensor is not None}
        batch = raw_batch(run, features, 4).to("cuda")
        assert module.training_step(batch, 0).device.type == "cuda"


def moved(tensor: torch.Tensor) -> torch.Tensor:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
