"""Sets that many questions share: a clean one on disk, written by our own writer, and a real recording."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreact.data.source import open_source
from foreact.sim.record import RecordConfig, record
from foreact.sim.task import level
from inspection.made_up import MadeUpSource, clean, to_disk, with_noise

EPISODES = 10


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[MadeUpSource], Path]:
    """Write a made-up set as a LeRobotDataset v3.0, without its depth."""
    return lambda source: to_disk(source, tmp_path_factory.mktemp("inspection") / "set")


@pytest.fixture(scope="session")
def clean_set(write: Callable[[MadeUpSource], Path]) -> Path:
    """Twelve clean episodes on disk, their pictures with a camera's noise."""
    return write(with_noise(clean(seed=5, n_episodes=12), np.random.default_rng(0)))


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> MadeUpSource:
    """Demonstrations at L1, whose coordinates are off by a centimetre or so; without their pictures."""
    out = tmp_path_factory.mktemp("recorded") / "demos"
    record(RecordConfig(task=level("L1", cameras=("overhead",), overhead_size=(32, 32)), episodes=EPISODES), out)
    source = open_source(str(out))
    episodes = {index: source.episode(index) for index in source.episode_indices}
    return MadeUpSource(
        episodes=episodes, features=source.features, seed=0, scenes=dict(enumerate(range(EPISODES)))
    ).settle()
