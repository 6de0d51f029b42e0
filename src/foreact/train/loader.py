"""Batches of the training samples as a function of the seed alone, and a loader that can continue in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Sampler

from foreact.config import TrainConfig
from foreact.data.dataset import ChunkDataset, collate
from foreact.errors import ConfigError
from foreact.records import Batch
from foreact.train.order import Order, order_of


class StepSampler(Sampler[list[int]]):
    """Batches of sample indices from one endless stream of rounds, cut among the devices.

    Position p of the stream is entry p mod N of round p // N, which the seed and the round's number decide; batch i
    of rank r of R takes the positions from (i R + r) B on. So the samples seen after i batches do not depend on
    interruptions, and R devices with batch B see what one device with batch R B sees (USERS.md 18).
    """

    def __init__(
        self, order: Order, *, batch_size: int, n_batches: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        """Describe the stream; `start` says at which batch the next iteration begins."""
        self.start = 0
        self._order = order
        self._batch_size = batch_size
        self._n_batches = n_batches
        self._seed = seed
        self._rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[list[int]]:
        length = len(self._order)
        number, samples = -1, np.empty(0, np.int64)
        for batch in range(self.start, self._n_batches):
            first = (batch * self.world_size + self._rank) * self._batch_size
            indices = []
            for position in range(first, first + self._batch_size):
                if position // length != number:
                    number = position // length
                    samples = self._order.draw(np.random.default_rng([self._seed, number]))
                indices.append(int(samples[position % length]))
            yield indices


class StepLoader(DataLoader[Batch]):
    """A loader over a `StepSampler` whose place Lightning saves and restores (`state_dict`, `load_state_dict`)."""

    def __init__(self, dataset: ChunkDataset, sampler: StepSampler, *, num_workers: int, pin_memory: bool) -> None:
        """Read batches in the order of the sampler."""
        self._stream = sampler
        self._batches_done = 0
        super().__init__(
            dataset,
            batch_sampler=sampler,
            num_workers=num_workers,
            collate_fn=collate,  # type: ignore[arg-type]  # with __getitems__ it gets a batch, not a list
            pin_memory=pin_memory,
            persistent_workers=False,
            multiprocessing_context="spawn" if num_workers else None,
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self._stream.start = self._batches_done
        for batch in super().__iter__():
            self._batches_done += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return how many batches were handed out, to each of how many devices."""
        return {"batches_done": self._batches_done, "world_size": self._stream.world_size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the batches that were handed out.

        Raises:
            ConfigError: If the number of devices has changed, so that the place means another sample.
        """
        if state["world_size"] != self._stream.world_size:
            raise ConfigError(
                f"the run to resume was trained on {state['world_size']} devices, not {self._stream.world_size}; "
                "use as many, or start a new run"
            )
        self._batches_done = state["batches_done"]


class Demonstrations(LightningDataModule):
    """Training and validation samples, handed to each device its own."""

    def __init__(
        self,
        training: ChunkDataset,
        validation: ChunkDataset | None,
        config: TrainConfig,
        scenes: Mapping[int, int] | None = None,
    ) -> None:
        """Take both splits.

        Args:
            training: The samples to train on.
            validation: None where nothing is held out.
            config: How the policy is trained.
            scenes: Scene by episode index, for `train.sampling` paired; None where each episode has its own.

        Raises:
            ConfigError: If `train.sampling` asks for what the data do not have.
        """
        super().__init__()
        self._training = training
        self._validation = validation
        self._config = config
        self._order = order_of(training, config, scenes)

    def train_dataloader(self) -> StepLoader:
        """Return the stream of this device; called in its process."""
        config = self._config
        assert self.trainer is not None
        sampler = StepSampler(
            self._order,
            batch_size=config.batch_size,
            n_batches=config.steps * config.accumulate,
            seed=config.seed,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        pin_memory = torch.cuda.is_available()
        return StepLoader(self._training, sampler, num_workers=config.num_workers, pin_memory=pin_memory)

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """Return all held-out samples in order, on every device; an empty list without a held-out split."""
        if self._validation is None:
            return []
        size = self._config.batch_size
        return [DataLoader(self._validation, batch_size=size, collate_fn=collate)]  # type: ignore[arg-type]
