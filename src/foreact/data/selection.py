"""What a policy takes of the features that the data have."""

from __future__ import annotations

from dataclasses import replace

from foreact.config import PolicyConfig
from foreact.errors import ConfigError, unknown_name
from foreact.records import Camera, Features, KeyGroup


def select_features(features: Features, config: PolicyConfig) -> Features:
    """Return the features that a policy is trained on.

    Cameras are chosen by name, in the configuration's order, and have the size that pictures are resized to; state
    and coordinates are left out where the configuration says so; the rate is that after downsampling.

    Args:
        features: As recorded.
        config: The policy's.

    Raises:
        ConfigError: If a camera is not in the data or named twice, or the sizes of named groups do not add up.
    """
    known = {camera.name: camera for camera in features.cameras}
    names = tuple(known) if config.cameras is None else config.cameras
    for name in names:
        if name not in known:
            raise ConfigError(f"policy.cameras: {unknown_name('camera', name, known)}")
    if len(set(names)) < len(names):
        raise ConfigError(f"policy.cameras names a camera twice: {', '.join(names)}")
    n_state = len(config.state_keys)
    return replace(
        features,
        cameras=tuple(_as_trained(known[name], config) for name in names),
        state_names=features.state_names if config.use_state else (),
        environment_names=features.environment_names if config.use_environment_state else (),
        fps=features.fps / config.downsample_factor,
        state_groups=_groups("state", config.state_keys, config.key_dims[:n_state], features.state_dim)
        if config.use_state
        else (),
        action_groups=_groups("action", config.action_keys, config.key_dims[n_state:], features.action_dim),
    )


def _as_trained(camera: Camera, config: PolicyConfig) -> Camera:
    recorded = (camera.height, camera.width)
    height, width = config.image_size or recorded
    return replace(
        camera,
        height=height,
        width=width,
        depth_range=camera.depth_range if config.use_depth else None,
        recorded_size=None if (height, width) == recorded else recorded,
    )


def _groups(kind: str, names: tuple[str, ...], dims: tuple[int, ...], dim: int) -> tuple[KeyGroup, ...]:
    if names and sum(dims) != dim:
        raise ConfigError(
            f"policy.{kind}_keys add up to {sum(dims)} dimensions ({', '.join(names)}), the data's {kind} has {dim}"
        )
    return tuple(KeyGroup(key=name, dim=size) for name, size in zip(names, dims, strict=True))
