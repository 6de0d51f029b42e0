"""`--policy.*`: LeRobot's own options, all of Foreact's policy, and those of its training that are a policy's here."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any, Literal, get_type_hints

from lerobot.configs import NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig, LRSchedulerConfig
from lerobot.utils.constants import ACTION

from foreact.config import PolicyConfig, TrainConfig
from foreact.errors import ConfigError
from lerobot_policy_foreact.schedule import ForeactSchedulerConfig

LEFT_OUT = ("state_keys", "action_keys", "key_dims", "downsample_factor")
"""LeRobot's loader gives one vector each, at the recorded rate."""
NOT_HERE = (*LEFT_OUT, "asynchronous")
"""LeRobot's own loop asks for the actions, and waits for each."""
_HINTS = get_type_hints(PolicyConfig)
_PolicyOptions = make_dataclass(
    "_PolicyOptions",
    [(of.name, _HINTS[of.name], field(default=of.default)) for of in fields(PolicyConfig) if of.name not in NOT_HERE],
    kw_only=True,
)


@PreTrainedConfig.register_subclass("foreact")
@dataclass
class ForeactConfig(_PolicyOptions, PreTrainedConfig):  # type: ignore[misc, valid-type]
    """Foreact's policy; see `foreact.config.PolicyConfig` for the options that are its."""

    calibration: str | None = None
    """A file that says where cameras and arm stand (docs/conditioning.md); None takes what the data set says itself."""
    cue_noise: float = 0.0
    """Standard deviation [m] of Gaussian noise on the coordinates of each training sample."""
    coordinates: tuple[float, ...] | None = None
    """Where to act, for robots and environments that do not say it themselves as `observation.environment_state`."""

    optimizer_lr: float = 1e-5
    optimizer_lr_backbone: float = 1e-5
    optimizer_weight_decay: float = 1e-4
    optimizer_grad_clip_norm: float = 10.0
    lr_schedule: Literal["constant", "cosine"] = "constant"
    lr_warmup_steps: int = 0
    lr_min: float = 0.0

    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(("VISUAL", "STATE", "ENV", "ACTION"), NormalizationMode.IDENTITY)
    )
    """LeRobot's processors leave all numbers as they are: the policy normalises, as everywhere in Foreact."""
    action_feature_names: list[str] | None = None
    """Written by LeRobot from the data set, so that a robot's joints are commanded by name."""
    robot: dict[str, Any] = field(default_factory=dict)
    """Written by the policy when it is made for a data set: features and statistics, as in Foreact's checkpoints."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.policy_config()

    def policy_config(self) -> PolicyConfig:
        """Return Foreact's configuration.

        Raises:
            ConfigError: If an option contradicts another.
        """
        return PolicyConfig(**{of.name: getattr(self, of.name) for of in fields(_PolicyOptions)})

    def train_config(self) -> TrainConfig:
        """Return Foreact's options of the optimiser; LeRobot's command has the others."""
        return TrainConfig(
            lr=self.optimizer_lr,
            lr_backbone=self.optimizer_lr_backbone,
            weight_decay=self.optimizer_weight_decay,
            grad_clip=self.optimizer_grad_clip_norm,
        )

    def validate_features(self) -> None:
        """Refuse data without actions; what else is needed depends on the options and is checked by the policy."""
        if self.output_features and ACTION not in self.output_features:
            raise ConfigError(f"the data have no '{ACTION}'; they have: {', '.join(self.output_features)}")

    def get_optimizer_preset(self) -> AdamWConfig:
        """Return AdamW as Foreact configures it; the groups are the policy's."""
        return AdamWConfig(
            lr=self.optimizer_lr,
            weight_decay=self.optimizer_weight_decay,
            grad_clip_norm=self.optimizer_grad_clip_norm,
        )

    def get_scheduler_preset(self) -> LRSchedulerConfig | None:
        """Return Foreact's schedule, or None for a constant rate."""
        if self.lr_schedule == "constant" and not self.lr_warmup_steps:
            return None
        return ForeactSchedulerConfig(
            num_warmup_steps=self.lr_warmup_steps, lr_schedule=self.lr_schedule, lr_min=self.lr_min
        )

    @property
    def observation_delta_indices(self) -> None:
        """Observations have no time axis."""
        return None

    @property
    def action_delta_indices(self) -> list[int]:
        """A chunk that begins with the observation."""
        return list(range(self.chunk_size))

    @property
    def reward_delta_indices(self) -> None:
        """Rewards are not used."""
        return None
