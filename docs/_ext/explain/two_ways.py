"""A policy trained in seconds on demonstrations that go round an obstacle on either side: what z is for."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from explain.demonstrations import Demonstrations
from foreact.config import PolicyConfig, RunConfig, TrainConfig
from foreact.data.dataset import ChunkDataset
from foreact.data.statistics import compute_statistics
from foreact.policy.policy import Policy
from foreact.records import Batch, Episode, Features
from foreact.train.cost import QuietModule

FEATURES = Features(action_names=("x", "y"), state_names=("x", "y"), fps=10.0)
CHUNK = 20
_LENGTH = 30
_STEPS = 350
_BATCH = 32
KL_WEIGHTS = (0.02, 10.0)
"""A small one and the paper's."""


@dataclass(frozen=True, kw_only=True)
class TwoWays:
    """What was learned with one weight of the KL term."""

    policy: Policy
    kl: float
    """Of the posterior of each demonstration's first chunk, summed over the latent, the mean of all."""


def demonstrations(n: int = 60) -> Demonstrations:
    """Return ways from (0, 0) to (1, 0), half of them above the obstacle at (0.5, 0) and half below."""
    generator = np.random.default_rng(0)
    made = []
    for index in range(n):
        side = 1.0 if index % 2 else -1.0
        x = np.linspace(0, 1, _LENGTH + 1)
        y = side * generator.normal(0.4, 0.04) * np.sin(np.pi * x) + generator.normal(0, 0.01)
        way = np.stack([x, y], axis=1).astype(np.float32)
        made.append(Episode(index=index, task="around", action=way[1:], state=way[:-1]))
    return Demonstrations(FEATURES, made)


@cache
def trained(kl_weight: float) -> TwoWays:
    """Train a small ACT without cameras; the same numbers on every run of one machine."""
    run = RunConfig(
        policy=PolicyConfig(
            chunk_size=CHUNK,
            n_action_steps=CHUNK,
            dim_model=32,
            n_heads=4,
            dim_feedforward=64,
            n_encoder_layers=1,
            n_decoder_layers=1,
            n_vae_encoder_layers=1,
            latent_dim=2,
            dropout=0.0,
            kl_weight=kl_weight,
            use_environment_state=False,
            limit_margin=None,
        ),
        train=TrainConfig(steps=_STEPS, batch_size=_BATCH, lr=3e-3, lr_backbone=3e-3, lr_schedule="cosine"),
    )
    source = demonstrations()
    with tempfile.TemporaryDirectory() as folder:
        dataset = ChunkDataset(
            source, source.episode_indices, features=FEATURES, chunk_size=CHUNK, cache_dir=Path(folder)
        )
    statistics = compute_statistics(dataset.episodes)
    module = QuietModule(run, FEATURES, statistics).train()
    optimiser = module.configure_optimizers()
    generator = np.random.default_rng(0)
    for step in range(_STEPS):
        module.on_train_batch_start(Batch(), step)
        module.make_step(
            optimiser["optimizer"], dataset.__getitems__(generator.integers(len(dataset), size=_BATCH).tolist())
        )
        optimiser["lr_scheduler"]["scheduler"].step()
    module.eval()
    with torch.no_grad():
        first = module.inputs.prepare(dataset.__getitems__(list(range(0, len(dataset), _LENGTH))))
        mu, log_var = module.model.posterior(first)
        kl = float((mu**2 + log_var.exp() - 1 - log_var).sum(dim=1).mean() / 2)
    policy = Policy(config=run.policy, features=FEATURES, statistics=statistics, model=module.model)
    return TwoWays(policy=policy, kl=kl)


def chunks(policy: Policy, state: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return chunks (B, T, 2) from one state (2,) for latents (B, Z)."""
    raw = Batch(state=torch.from_numpy(np.tile(state, (len(z), 1)).astype(np.float32)))
    with torch.inference_mode():
        return policy.predictor(raw, torch.from_numpy(z.astype(np.float32))).numpy()
