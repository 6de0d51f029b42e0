"""An untrained policy for a data set, with that set's features and statistics."""

from pathlib import Path

import torch

from foreact.config import PolicyConfig
from foreact.data.selection import select_features
from foreact.data.source import open_source
from foreact.data.statistics import compute_statistics, robot_statistics
from foreact.policy.checkpoint import save_policy
from foreact.policy.policy import Policy


def save_untrained(data: Path, path: Path, config: PolicyConfig) -> None:
    """Write it as a checkpoint."""
    source = open_source(data)
    features = select_features(source.features, config=config)
    episodes = [source.episode(index) for index in source.episode_indices]
    statistics = {**compute_statistics(episodes), **robot_statistics(episodes, features)}
    torch.manual_seed(0)
    save_policy(path, Policy(config=config, features=features, statistics=statistics, device="cpu"))
