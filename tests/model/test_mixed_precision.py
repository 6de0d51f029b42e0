"""A training step in bfloat16, as on a GPU, here on the processor: the same gradients but for their rounding."""

from dataclasses import replace

import pytest
import torch

from foreact.config import PolicyConfig
from foreact.model.act import ACT
from foreact.model.losses import act_loss
from foreact.records import Batch, Camera, Features

FEATURES = Features(
    action_names=("a", "b"), state_names=("s",), environment_names=("x", "y"),
    cameras=(Camera(name="overhead", height=96, width=96), Camera(name="wrist", height=96, width=96)),
)  # fmt: skip
SMALL = PolicyConfig(
    pretrained_backbone_weights=None, chunk_size=8, n_action_steps=8, dim_model=64, n_heads=4, dim_feedforward=64,
    n_encoder_layers=1, n_vae_encoder_layers=1, dropout=0.0,
)  # fmt: skip


@pytest.mark.parametrize("backbone_norm", ["frozen", "batch"])
def test_gradients_in_bfloat16_point_where_those_in_float32_do(backbone_norm: str) -> None:
    torch.manual_seed(0)
    model = ACT(replace(SMALL, backbone_norm=backbone_norm), FEATURES).train()  # type: ignore[arg-type]
    batch = Batch(
        images={camera.name: torch.randn(4, 3, 96, 96) for camera in FEATURES.cameras},
        state=torch.randn(4, 1),
        environment_state=torch.randn(4, 2),
        action=torch.randn(4, 8, 2),
        action_is_pad=torch.zeros(4, 8, dtype=torch.bool),
    )
    gradients = {}
    for is_mixed in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
            loss = act_loss(model(batch, z="posterior", generator=torch.Generator().manual_seed(1)), batch, SMALL).loss
        loss.backward()
        gradients[is_mixed] = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    assert gradients[False].keys() == gradients[True].keys()
    exact, rounded = (torch.cat([of.flatten() for of in gradients[is_mixed].values()]) for is_mixed in (False, True))
    assert torch.nn.functional.cosine_similarity(exact, rounded, dim=0) > 0.98
    assert rounded.dtype == torch.float32
