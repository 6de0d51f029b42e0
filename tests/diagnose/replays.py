"""Replays whose chunks are made up, so that what is measured of them is known by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foreact.config import PolicyConfig
from foreact.diagnose.replay import Replay
from foreact.diagnose.tune_executor import Predicted, execute
from foreact.policy.policy import Policy
from foreact.records import Episode, Features, VectorStatistics
from foreact_runtime.executor import make_executor

FEATURES = Features(action_names=("a", "gripper"), state_names=("a", "gripper"), fps=10)
CHUNK = 4


def policy(features: Features = FEATURES, **changes: object) -> Policy:
    """Of its features and settings only; executes two steps of four."""
    one = np.ones(features.action_dim)
    wide = VectorStatistics(mean=0 * one, std=one, min=-99 * one, max=99 * one, q01=-99 * one, q99=99 * one, count=9)
    options = {
        "chunk_size": CHUNK,
        "n_action_steps": 2,
        "vision_backbone": "cnn",
        "pretrained_backbone_weights": None,
        "dim_model": 16,
        "n_heads": 2,
        "dim_feedforward": 16,
        "n_vae_encoder_layers": 1,
        "limit_margin": None,
        **changes,
    }
    config = PolicyConfig(**options)  # type: ignore[arg-type]
    return Policy(config=config, features=features, statistics={"action": wide, "observation.state": wide})


def demonstration(index: int = 0, length: int = 40) -> Episode:
    """A joint that swings, and a gripper that shuts at a third of the way and opens at two thirds."""
    t = np.arange(length, dtype=np.float32)
    gripper = np.where((t >= length // 3) & (t < 2 * length // 3), 0.0, 1.0)
    action = np.stack([np.sin(0.37 * t + index), gripper], axis=1).astype(np.float32)
    state = np.concatenate([action[:1], action[:-1]])  # it is where it was told to be a tick before
    return Episode(index=index, task="swing", action=action, state=state)


def replay_of(policy: Policy, episode: Episode, predict: Callable[[np.ndarray], np.ndarray]) -> Replay:
    """What a policy does whose chunks are a function of which frames they are for, (L, T) to (L, T, A)."""
    chunks = predict(np.arange(episode.length)[:, None] + np.arange(CHUNK)).astype(np.float32)
    executor = make_executor(policy.executor_settings, policy.features)
    executed, asked = execute(executor, Predicted(action=episode.action, chunks=chunks))
    return Replay(
        episode=episode,
        is_held_out=True,
        chunks=chunks,
        executed=executed,
        asked=tuple(asked),
        ticks=np.arange(episode.length),
        actions=chunks,
    )


def shown(
    episode: Episode, later: int = 0, off: np.ndarray | float = 0.0, noise: float = 0.0
) -> Callable[[np.ndarray], np.ndarray]:
    """Chunks that are the demonstrated ones, or those of some frames later, and off by something."""
    rng = np.random.default_rng(episode.index)

    def predict(frames: np.ndarray) -> np.ndarray:
        chunks = episode.action[np.clip(frames + later, 0, episode.length - 1)] + off
        return np.asarray(chunks + noise * rng.normal(size=chunks.shape))

    return predict


def staying(episode: Episode, at: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Chunks that stay where `at` (L, A) says at their first frame."""
    return lambda frames: np.repeat(at[np.minimum(frames[:, :1], episode.length - 1)], frames.shape[1], axis=1)
