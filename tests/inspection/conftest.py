"""A set on disk, written by our own writer, that is clean."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inspection.made_up import MadeUpSource, clean, to_disk, with_noise


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[MadeUpSource], Path]:
    """Write a made-up set as a LeRobotDataset v3.0, without its depth."""
    return lambda source: to_disk(source, tmp_path_factory.mktemp("inspection") / "set")


@pytest.fixture(scope="session")
def clean_set(write: Callable[[MadeUpSource], Path]) -> Path:
    """Twelve clean episodes on disk, their pictures with a camera's noise."""
    return write(with_noise(clean(seed=5, n_episodes=12), np.random.default_rng(0)))
