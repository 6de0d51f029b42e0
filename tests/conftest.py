"""A small real data set and a small real recipe that several rooms' tests use."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

from foreact.config import RunConfig, TrainConfig
from pages import typed_in
from spots import write_dataset
from tiny import TINY

# Small tensors: threads would only wait for each other, above all beside the tests' other processes.
torch.set_num_threads(1)
# A shell's job in the background ignores Ctrl-C, and so would the processes in which tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Lightning puts every signal's handler back after a training, and takes pytest's fault handler, which Python's `signal`
# does not see, for none: a worker that crashed later would die without a word.
_FATAL = {signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT, signal.SIGBUS, signal.SIGILL}
_valid_signals = _SignalConnector._valid_signals
_SignalConnector._valid_signals = staticmethod(lambda: _valid_signals() - _FATAL)  # type: ignore[method-assign]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six episodes of 9 to 15 frames, two cameras of 32x32, 10 Hz."""
    return write_dataset(tmp_path_factory.mktemp("data") / "spots")


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests keep decoded frames."""
    return tmp_path_factory.mktemp("frames")


@pytest.fixture
def page_folder(tmp_path: Path) -> Iterator[Path]:
    """An empty one, where the commands of a page are typed."""
    with typed_in(tmp_path) as folder:
        yield folder


@pytest.fixture
def tiny_run() -> RunConfig:
    """A recipe that trains in a second: every part of ACT, all of it small, with dropout."""
    return RunConfig(
        policy=TINY,
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
