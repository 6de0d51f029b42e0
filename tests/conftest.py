"""A small real data set and a small real recipe that several rooms' tests use."""

from pathlib import Path

import pytest
import torch

from foreact.config import PolicyConfig, RunConfig, TrainConfig
from spots import write_dataset

# Small tensors: threads would only wait for each other, above all beside the tests' other processes.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six episodes of 9 to 15 frames, two cameras of 32x32, 10 Hz."""
    return write_dataset(tmp_path_factory.mktemp("data") / "spots")


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests keep decoded frames."""
    return tmp_path_factory.mktemp("frames")


@pytest.fixture
def tiny_run() -> RunConfig:
    """A recipe that trains in a second: every part of ACT, all of it small, with dropout."""
    return RunConfig(
        policy=PolicyConfig(
            chunk_size=6,
            n_action_steps=3,
            vision_backbone="cnn",
            pretrained_backbone_weights=None,
            backbone_norm="group",
            dim_model=16,
            n_heads=2,
            dim_feedforward=32,
            n_encoder_layers=1,
            n_decoder_layers=1,
            n_vae_encoder_layers=1,
            latent_dim=4,
            dropout=0.1,
        ),
        train=TrainConfig(
            steps=6,
            batch_size=4,
            lr=1e-3,
            lr_backbone=1e-3,
            lr_schedule="cosine",
            warmup_steps=2,
            val_fraction=0.2,
            val_every=3,
            save_every=3,
            log_every=1,
            accelerator="cpu",
            devices="1",
        ),
    )
