"""A tripwire for training: says from which step on the coordinate is ignored, long before a rollout could."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback, WeightAveraging

from foreact.config import SourceConfig
from foreact.console import console, warn
from foreact.data.dataset import ChunkDataset
from foreact.data.mixed import open_sources
from foreact.data.streamed import StreamedDataset
from foreact.diagnose.collapse import collapse
from foreact.diagnose.inputs_used import inputs_used
from foreact.diagnose.other_cues import APART, known_places, other_cues
from foreact.diagnose.probe import FEWER, Probe
from foreact.diagnose.response import ENOUGH, LEAST_EXPLAINED, demonstrated_response
from foreact.diagnose.sensitivity import sensitivity
from foreact.diagnose.swap import IGNORED, swap_test
from foreact.errors import ConfigError
from foreact.train.loader import Demonstrations
from foreact.train.module import ACTModule

OBEYED = 0.5
"""Share of obeyed swaps from which the coordinate counts as used; above `IGNORED`, so that a policy on the edge is not
reported at every check."""
LEARNING = 0.25
"""Share of the training's steps in which a coordinate that was never used is one that is not learned yet."""
_INPUTS = ("pictures exchanged", "pictures blanked", "state exchanged", "coordinate exchanged")


class Tripwire(Callback):
    """Every N steps: the figures of `foreact diagnose` on held-out episodes, logged as `diagnose/*`.

    Swap test, sensitivity and collapse index, and what exchanging and blanking the other inputs changes: about 740
    predictions with two cameras, as much work as 8 steps of 32 samples. The weights are those that are validated and
    saved: the average where there is one.

    Training goes on as without it: the network is put back into the mode and the weights it was in, no gradient is
    kept, and no random number is drawn.
    """

    def __init__(
        self,
        *,
        every: int,
        data: str | Path | Sequence[str | Path] = (),
        source: SourceConfig | None = None,
        episodes: int = 32,
    ) -> None:
        """Set the rhythm.

        Args:
            every: Optimiser steps between two checks.
            data: The data set's folder, or those that are mixed, for the places of the other blocks; without, or where
                the data do not tell, swaps with another episode's cue.
            source: How the data are read; None for the defaults.
            episodes: How many held-out episodes to look at; training episodes where none is held out.

        Raises:
            ConfigError: If a number is below 1.
        """
        super().__init__()
        for name, value in (("every", every), ("episodes", episodes)):
            if value < 1:
                raise ConfigError(f"tripwire: {name} is {value}; it must be at least 1")
        self._every = every
        self._data = (data,) if isinstance(data, str | Path) else tuple(data)
        self._source = source or SourceConfig()
        self._episodes = episodes
        self._probe: Probe | None = None
        self._checked_step = -1
        self._was_used: bool | None = None  # None before either is known
        self.ignored_since: int | None = None
        """Optimiser step of the first check from which the coordinate counts as ignored; None while it is used, or not
        learned yet."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Find the episodes; warn where there is nothing to watch."""
        assert isinstance(pl_module, ACTModule)
        dataset = _samples(trainer)
        features = pl_module.inputs.features
        probe = Probe(pl_module.model, pl_module.inputs, features, dataset, episodes=self._episodes)
        why_not = self._why_not(probe)
        self._probe = probe if why_not is None else None
        if why_not is not None and trainer.is_global_zero:
            warn(f"tripwire: nothing to watch: {why_not}")

    def _why_not(self, probe: Probe) -> str | None:
        """Return why there is nothing to watch; None where there is."""
        if not probe.has_cue:
            return "the policy gets no coordinates x and y"
        n = len(probe.episodes)
        if n < ENOUGH:
            return f"it needs {ENOUGH} episodes to look at and has {n}; raise train.val_fraction"
        self._response = demonstrated_response(probe)
        if self._response is None:
            return (
                f"the coordinates do not explain the demonstrations: they tell less than {100 * LEAST_EXPLAINED:.0f} % "
                f"of how the first chunks of {n} episodes differ, and a policy learns to ignore what tells nothing; "
                "check them: they must be the target's, in metres in the frame of the arm's base, and chunks so long "
                "that they show where the arm goes (policy.chunk_size)"
            )
        known = known_places(open_sources(self._data, self._source)) if self._data else {}
        self._trials = other_cues(probe.episodes, probe.cues(probe.samples(0.0)), known)
        if not len(self._trials.episode):
            return f"the coordinates of {n} episodes are all within {100 * APART:.0f} cm, and no other block is known"
        return None

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        *args: Any,
    ) -> None:
        """Check where a step is due; all devices do it alike, one of them reports."""
        step = trainer.global_step
        if self._probe is None or step == 0 or step % self._every or step == self._checked_step:
            return
        self._checked_step = step
        assert isinstance(pl_module, ACTModule)
        with _as_saved(trainer, pl_module):
            figures = self._figures(self._probe)
        if trainer.is_global_zero:
            for logger in trainer.loggers:  # under the number that this step's losses have
                logger.log_metrics({f"diagnose/{name}": value for name, value in figures.items()}, step=step - 1)
        message = self.judge(figures["swap"], step, trainer.max_steps)
        if message is not None and trainer.is_global_zero:
            console.print(message, highlight=False, soft_wrap=True)

    def _figures(self, probe: Probe) -> dict[str, float]:
        assert self._response is not None
        swapped = swap_test(probe, self._response, self._trials)
        figures = {"swap": swapped.rate, "swap_way": float(np.mean(swapped.way))}
        figures["collapse"] = collapse(probe, self._response).index
        measured = sensitivity(probe, self._response, shares=(0.0,), episodes=FEWER)
        if measured.gain is not None:
            figures["sensitivity"] = measured.gain / self._response.gain
        used = inputs_used(probe, episodes=FEWER)
        changes = {} if used is None else {of.intervention: of.change for of in used.changes}
        return figures | {name.replace(" ", "_"): changes[name] for name in _INPUTS if name in changes}

    def judge(self, obeyed: float, step: int, steps: int) -> str | None:
        """Return what to say of a share of obeyed swaps: something only where it has crossed a threshold.

        Args:
            obeyed: Share of obeyed swaps, 0 to 1.
            step: Optimiser steps done.
            steps: Of the whole training; a coordinate that was never used counts as ignored after `LEARNING` of them.
        """
        rate = f"swap test {100 * obeyed:.0f} %"
        if obeyed >= OBEYED:
            recovered = "recovered: " if self.ignored_since is not None else ""
            is_news = bool(recovered) or self._was_used is False
            self._was_used, self.ignored_since = True, None
            return f"{recovered}coordinate used since step {step} ({rate})" if is_news else None
        if obeyed >= IGNORED or self.ignored_since is not None:
            return None
        if not self._was_used and step < LEARNING * steps:
            is_news, self._was_used = self._was_used is None, False
            return f"coordinate not used yet at step {step} ({rate})" if is_news else None
        self.ignored_since = step
        before = "" if self._was_used else "; never used"
        return f"collapse: coordinate ignored since step {step} ({rate}{before})"

    def state_dict(self) -> dict[str, Any]:
        """Return what was found so far, so that a resumed run does not report it anew."""
        return {"was_used": self._was_used, "ignored_since": self.ignored_since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from there."""
        self._was_used = state_dict.get("was_used")  # older runs have none
        self.ignored_since = state_dict["ignored_since"]


def _samples(trainer: lightning.Trainer) -> ChunkDataset:
    """The held-out samples, or those trained on where none are; loaders are not iterated: that draws a seed."""
    demonstrations: Any = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(demonstrations, Demonstrations)
    loaders = demonstrations.val_dataloader() or [demonstrations.train_dataloader()]
    dataset = loaders[0].dataset
    if isinstance(dataset, StreamedDataset):
        raise ConfigError("--tripwire with --stream needs held-out episodes to look at: set train.val_fraction above 0")
    assert isinstance(dataset, ChunkDataset)
    return dataset


@contextmanager
def _as_saved(trainer: lightning.Trainer, module: lightning.LightningModule) -> Iterator[None]:
    """Evaluation mode and the averaged weights, as validation has them; each part's own mode and weights again."""
    averages = [callback for callback in trainer.callbacks if isinstance(callback, WeightAveraging)]  # type: ignore[attr-defined]
    modes = {part: part.training for part in module.modules()}
    module.eval()
    for average in averages:
        average.on_validation_epoch_start(trainer, module)
    try:
        yield
    finally:
        for average in averages:
            average.on_validation_epoch_end(trainer, module)
        for part, training in modes.items():
            part.training = training
