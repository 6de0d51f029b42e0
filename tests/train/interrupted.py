"""A streamed training that gets Ctrl-C, in a process of its own as a user's is."""

import signal
import threading
from pathlib import Path

from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from foreact.config import RunConfig
from foreact.train.run import train


class _Interrupt(Callback):
    """Ctrl-C in the middle of a step."""

    def on_train_batch_start(self, trainer: Trainer, *args: object) -> None:
        if trainer.global_step == 4:
            signal.raise_signal(signal.SIGINT)


def train_until_ctrl_c(run: RunConfig, data: Path, out: Path, cache_dir: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
    before = set(threading.enumerate())
    stopped = train(run, data=data, out=out, cache_dir=cache_dir, callbacks=[_Interrupt()])
    assert (stopped.step, stopped.interrupted) == (5, True)
    assert set(threading.enumerate()) <= before
