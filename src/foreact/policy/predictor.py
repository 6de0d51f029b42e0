"""Raw batches in, chunks in the robot's units out: what a policy computes, and what `foreact export` exports."""

from __future__ import annotations

from torch import Tensor, nn

from foreact.model.act import ACT
from foreact.policy.inputs import Inputs
from foreact.records import Batch


class Predictor(nn.Module):
    """Inputs, the network folded for inference, and its predictions read."""

    def __init__(self, inputs: Inputs, model: ACT) -> None:
        """Take both parts, on one device; the network's weights are shared but for the backbones'."""
        super().__init__()
        self.inputs = inputs
        self.network = model.folded()
        self.eval()

    def forward(self, raw: Batch, z: Tensor | None = None) -> Tensor:
        """Return chunks (B, T, C) as the executor takes them for a raw batch; None takes the latent's mode."""
        batch = self.inputs.prepare(raw, cells=self.network.cell_middles)
        output = self.network(batch, z="zero" if z is None else z)
        return self.inputs.read_chunk(output.action_hat, raw)
