"""What happens around the steps: checkpoints, Ctrl-C, progress."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.progress import Progress

from foreact.console import console, progress_bar
from foreact.policy.checkpoint import checkpoints_in
from foreact.records import Batch


class SaveCheckpoints(Callback):
    """Keeps the last k checkpoints and the one with the lowest validation L1 (z = 0) under `<run>/checkpoints`.

    A checkpoint is written every `save_every` steps, before each validation, and when training stops.
    """

    def __init__(self, folder: Path, *, save_every: int, val_every: int, keep_last: int) -> None:
        """Take the folder, which may hold the checkpoints of an interrupted run."""
        self._folder = folder
        self._save_every = save_every
        self._val_every = val_every
        self._keep_last = keep_last
        self._pointer = folder / "best.json"
        self._saved_step = -1

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Save where the step is due or the run is asked to stop."""
        step = trainer.global_step
        due = step % self._save_every == 0 or step % self._val_every == 0 or step == trainer.max_steps
        if step != self._saved_step and step > 0 and (due or trainer.should_stop):
            trainer.save_checkpoint(self._folder / f"step-{step:06d}")
            self._saved_step = step
            if trainer.is_global_zero:
                self._remove_old()

    def on_validation_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Remember the best."""
        l1 = trainer.callback_metrics.get("val/l1")
        if l1 is None or not trainer.is_global_zero or self._saved_step != trainer.global_step:
            return
        best = json.loads(self._pointer.read_text()) if self._pointer.exists() else {"val/l1": float("inf")}
        if l1.item() < best["val/l1"]:
            temporary = self._pointer.with_suffix(".partial")
            temporary.write_text(json.dumps({"name": f"step-{trainer.global_step:06d}", "val/l1": l1.item()}))
            os.replace(temporary, self._pointer)
            self._remove_old()

    def _remove_old(self) -> None:
        best = json.loads(self._pointer.read_text())["name"] if self._pointer.exists() else None
        for old in checkpoints_in(self._folder)[: -self._keep_last]:
            if old.name != best:
                shutil.rmtree(old)


class StopOnInterrupt(Callback):
    """The first Ctrl-C lets the step finish, saves and stops; the second one stops at once."""

    def __init__(self) -> None:
        """Leave the signal alone until training starts."""
        self.interrupted = False
        self._before: Any = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take over SIGINT."""
        self._before = signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        console.print("[yellow]stopping after this step; press Ctrl-C again to stop at once[/]")

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Ask Lightning to stop after a whole optimiser step, on all devices at the same one."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            interrupted = self.interrupted
            if trainer.world_size > 1:
                interrupted = trainer.strategy.reduce_boolean_decision(interrupted, all=False)
            self.interrupted = interrupted
            trainer.should_stop = trainer.should_stop or interrupted

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Give SIGINT back."""
        signal.signal(signal.SIGINT, self._before)

    def on_exception(self, *args: Any) -> None:
        """Give SIGINT back where training ended otherwise."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)


class Throughput(Callback):
    """Measures samples/s and the share of time spent waiting for data, and shows progress with the time left.

    The wait is the time between the end of one step, all other callbacks' work included, and the start of the next:
    fetching the batch and moving it to the device. Validation is not counted.
    """

    def __init__(self, *, batch_size: int, show_every: int) -> None:
        """Take the samples of one batch on one device, and how often to print where nobody watches."""
        self._batch_size = batch_size
        self._samples_a_step = 0
        self._show_every = show_every
        self._progress: Progress | None = None
        self._ended = self._started = 0.0
        self.wait_s = 0.0
        self.busy_s = 0.0
        self.steps = 0

    @property
    def samples_per_s(self) -> float:
        """Since the start of this process, without validation."""
        return self.steps * self._samples_a_step / max(self.wait_s + self.busy_s, 1e-9)

    @property
    def wait_share(self) -> float:
        """Share of training time spent waiting for data."""
        return self.wait_s / max(self.wait_s + self.busy_s, 1e-9)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Open the bar."""
        self._samples_a_step = self._batch_size * trainer.accumulate_grad_batches * trainer.world_size
        self._step_before = trainer.global_step
        self._ended = 0.0
        if trainer.is_global_zero:
            self._progress = progress_bar("training", "{task.fields[text]}", disable=not console.is_terminal)
            self._progress.start()
            self._task = self._progress.add_task("", total=trainer.max_steps, completed=trainer.global_step, text="")

    def on_train_batch_start(self, trainer: lightning.Trainer, *args: Any) -> None:
        """End of the wait."""
        self._started = time.perf_counter()
        if self._ended:
            self.wait_s += self._started - self._ended

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count, show, and begin to measure the wait."""
        now = time.perf_counter()
        if self._ended:  # the first step of a process pays for warm-up and is left out
            self.busy_s += now - self._started
            self.steps += trainer.global_step - self._step_before
        self._step_before = trainer.global_step
        if self.steps:
            pl_module.log_dict({"train/samples_per_s": self.samples_per_s, "train/data_wait": self.wait_share})
        if self._progress is not None:
            metrics = trainer.callback_metrics
            terms = {name.removeprefix("train/"): value for name, value in metrics.items() if name.startswith("train/")}
            text = "  ".join(f"{name} {terms[name].item():.4f}" for name in ("loss", "l1", "kl") if name in terms)
            text += f"  {self.samples_per_s:.0f} samples/s  data wait {self.wait_share:.0%}"
            self._progress.update(self._task, completed=trainer.global_step, text=text)
            step = trainer.global_step
            whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
            if whole and not console.is_terminal and (step % self._show_every == 0 or step == trainer.max_steps):
                if self.steps:
                    seconds = (trainer.max_steps - step) * self._samples_a_step / self.samples_per_s
                    text += f"  {seconds / 60:.1f} min left"
                console.print(f"step {step}/{trainer.max_steps}  {text}", highlight=False)
        self._ended = time.perf_counter()

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Do not count validation as waiting."""
        self._ended = 0.0

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Print both losses and what their difference means."""
        metrics = trainer.callback_metrics
        if self._progress is not None and "val/l1" in metrics:
            text = f"step {trainer.global_step}: validation L1 {metrics['val/l1'].item():.4f} (z = 0)"
            if "val/l1_posterior" in metrics:
                text += f", {metrics['val/l1_posterior'].item():.4f} (posterior z, which has seen the answer)"
            self._progress.console.print(text, highlight=False)
        self._ended = 0.0

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Close the bar and say what limits the speed."""
        self._close()
        if trainer.is_global_zero and self.steps:
            limit = "loading data" if self.wait_share > 0.5 else "computing"
            console.print(
                f"{self.samples_per_s:.0f} samples/s, {self.wait_share:.1%} of the time waiting for data: "
                f"limited by {limit}",
                highlight=False,
            )

    def on_exception(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Close the bar so that the message is readable."""
        self._close()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
