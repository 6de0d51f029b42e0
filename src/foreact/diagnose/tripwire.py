"""A tripwire for training: says at which step the coordinate began to be ignored, long before a rollout could."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback
from torch import nn

from foreact.config import SourceConfig
from foreact.console import console
from foreact.data.dataset import ChunkDataset
from foreact.data.mixed import open_sources
from foreact.data.streamed import StreamedDataset
from foreact.diagnose.collapse import collapse
from foreact.diagnose.other_cues import known_places, other_cues
from foreact.diagnose.probe import Probe
from foreact.diagnose.response import demonstrated_response
from foreact.diagnose.sensitivity import sensitivity
from foreact.diagnose.swap import IGNORED, swap_test
from foreact.errors import ConfigError
from foreact.train.loader import Demonstrations
from foreact.train.module import ACTModule

RECOVERED = 0.5
"""Share of obeyed swaps from which an ignored coordinate counts as used again; above `IGNORED`, so that a policy on
the edge is not reported at every check."""


class Tripwire(Callback):
    """Every N steps: swap test, sensitivity and collapse index on held-out first frames, logged as `diagnose/*`.

    Training goes on as without it: the network is put back into the mode it was in, no gradient is kept, and no
    random number is drawn.
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
        self.ignored_since: int | None = None
        """Optimiser step of the first check that found the coordinate ignored; None while it is used."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Find the episodes; say so where there is nothing to watch."""
        assert isinstance(pl_module, ACTModule)
        dataset = _samples(trainer)
        features = pl_module.inputs.features
        probe = Probe(pl_module.model, pl_module.inputs, features, dataset, episodes=self._episodes)
        why = None if probe.has_cue else "the policy gets no coordinates x and y"
        if why is None:
            self._response = demonstrated_response(probe)
            known = known_places(open_sources(self._data, self._source)) if self._data else {}
            self._trials = other_cues(probe.episodes, probe.cues(probe.samples(0.0)), known)
            if self._response is None or not len(self._trials.episode):
                why = f"the first chunks of {len(probe.episodes)} episodes do not tell how to answer to the coordinate"
        self._probe = probe if why is None else None
        if why is not None and trainer.is_global_zero:
            console.print(f"tripwire: nothing to watch: {why}", highlight=False)

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
        with _evaluating(pl_module):
            figures = self._figures(self._probe)
        if trainer.is_global_zero:
            for logger in trainer.loggers:  # under the number that this step's losses have
                logger.log_metrics({f"diagnose/{name}": value for name, value in figures.items()}, step=step - 1)
        message = self.judge(figures["swap"], step)
        if message is not None and trainer.is_global_zero:
            console.print(message, highlight=False)

    def _figures(self, probe: Probe) -> dict[str, float]:
        assert self._response is not None
        swapped = swap_test(probe, self._response, self._trials)
        figures = {"swap": swapped.rate, "swap_way": float(np.mean(swapped.way))}
        figures["collapse"] = collapse(probe, self._response).index
        gain = sensitivity(probe, self._response, shares=(0.0,)).gain
        if gain is not None:
            figures["sensitivity"] = gain / self._response.gain
        return figures

    def judge(self, obeyed: float, step: int) -> str | None:
        """Return what to say of a share of obeyed swaps: something only where it has crossed a threshold."""
        if self.ignored_since is None and obeyed < IGNORED:
            self.ignored_since = step
            return f"collapse: coordinate ignored since step {step} (swap test {100 * obeyed:.0f} %)"
        if self.ignored_since is not None and obeyed >= RECOVERED:
            self.ignored_since = None
            return f"recovered: coordinate used since step {step} (swap test {100 * obeyed:.0f} %)"
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return since when the coordinate is ignored, so that a resumed run does not report it anew."""
        return {"ignored_since": self.ignored_since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from there."""
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
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, and each part's own mode again."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training
