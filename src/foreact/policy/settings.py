"""What a policy's configuration means for the executor."""

from foreact.config import PolicyConfig
from foreact.normalizer import binary_dimensions
from foreact.records import Features
from foreact_runtime.settings import ExecutorSettings


def executor_settings(config: PolicyConfig, features: Features) -> ExecutorSettings:
    """Return the settings of the executor for a robot with these features."""
    return ExecutorSettings(
        chunk_size=config.chunk_size,
        n_action_steps=config.n_action_steps,
        temporal_ensemble_coeff=config.temporal_ensemble_coeff,
        hand_poses="frame" in config.conditioning,
        binary=tuple(bool(of) for of in binary_dimensions(config, features)),
    )
