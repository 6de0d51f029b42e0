"""Foreact's learning-rate schedule for LeRobot's training command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lerobot.optim import LRSchedulerConfig
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from foreact.config import TrainConfig
from foreact.train.optimizer import make_schedule


@LRSchedulerConfig.register_subclass("foreact")
@dataclass
class ForeactSchedulerConfig(LRSchedulerConfig):
    """Linear warm-up from 0, then a constant rate or a cosine down to `lr_min` at the last step."""

    lr_schedule: Literal["constant", "cosine"] = "cosine"
    lr_min: float = 0.0

    def build(self, optimizer: Optimizer, num_training_steps: int) -> LambdaLR:
        """Return the schedule, stepped once an optimiser step."""
        config = TrainConfig(
            steps=num_training_steps,
            warmup_steps=self.num_warmup_steps or 0,
            lr_schedule=self.lr_schedule,
            lr_min=self.lr_min,
        )
        return make_schedule(optimizer, config)
