"""Weights as training leaves them: none is where it was initialised."""

import torch
from torch import Tensor


def shake(state: dict[str, Tensor]) -> None:
    """Change every weight a little, so that zero biases and unit norms hide no mix-up."""
    for name, value in state.items():
        if name.endswith("running_var"):
            torch.nn.init.uniform_(value, 0.8, 1.2)
        elif not name.endswith("pos_enc"):
            value.add_(0.02 * torch.randn_like(value))
