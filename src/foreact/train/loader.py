"""Batches of the training samples as a function of the seed alone, and a loader that can continue in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Sampler

from foreact.config import TrainConfig
from foreact.data.dataset import ChunkDataset, collate
from foreact.data.streamed import StreamedDataset
from foreact.errors import ConfigError
from foreact.processes import results_in_order
from foreact.records import Batch
from foreact.train.order import Order, order_of, round_generator
from foreact.train.windows import Windowed


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
                    samples = self._order.draw(round_generator(self._seed, number))
                indices.append(int(samples[position % length]))
            yield indices


class StepLoader(DataLoader[Batch]):
    """A loader over a `StepSampler` whose place Lightning saves and restores (`state_dict`, `load_state_dict`).

    Its workers are threads: a batch is copied from the frame cache, which leaves the interpreter to others and takes a
    tenth of the time that a process needs to hand the copy over.
    """

    def __init__(
        self, dataset: ChunkDataset | StreamedDataset, sampler: StepSampler, *, num_workers: int, pin_memory: bool
    ) -> None:
        """Read batches in the order of the sampler, a few ahead where there are workers."""
        self._stream = sampler
        self._n_threads = num_workers
        self._batches_done = 0
        super().__init__(
            dataset,
            batch_sampler=sampler,
            collate_fn=collate,  # type: ignore[arg-type]  # with __getitems__ it gets a batch, not a list
            pin_memory=pin_memory,
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self._stream.start = self._batches_done
        for batch in self._read_ahead() if self._n_threads else super().__iter__():
            self._batches_done += 1
            yield batch

    def _read_ahead(self) -> Iterator[Batch]:
        pool = ThreadPoolExecutor(self._n_threads, thread_name_prefix="loader")
        try:
            yield from results_in_order(pool, self._read, self._stream, 2 * self._n_threads)
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, indices: list[int]) -> Batch:
        batch: Batch = self.dataset.__getitems__(indices)  # type: ignore[attr-defined]
        return batch.pin_memory() if self.pin_memory else batch

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


class StreamLoader(StepLoader):
    """A `StepLoader` of one device that also tells the frames in which windows they will be asked for."""

    def __init__(self, dataset: StreamedDataset, order: Windowed, config: TrainConfig) -> None:
        """Read batches in the order's windows."""
        self._streamed = dataset
        self._windowed = order
        self._config = config
        super().__init__(dataset, _sampler(order, config), num_workers=0, pin_memory=torch.cuda.is_available())

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        config = self._config
        self._streamed.begin(self._windowed.windows_from(self._batches_done * config.batch_size, config.seed))
        yield from super().__iter__()


def _sampler(order: Order, config: TrainConfig, rank: int = 0, world_size: int = 1) -> StepSampler:
    return StepSampler(
        order,
        batch_size=config.batch_size,
        n_batches=config.steps * config.accumulate,
        seed=config.seed,
        rank=rank,
        world_size=world_size,
    )


class Demonstrations(LightningDataModule):
    """Training and validation samples, handed to each device its own."""

    def __init__(
        self,
        training: ChunkDataset | StreamedDataset,
        validation: ChunkDataset | None,
        config: TrainConfig,
        scenes: Mapping[int, int] | None = None,
    ) -> None:
        """Take both splits.

        Args:
            training: The samples to train on; streamed ones on one device only.
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
        samples = training.samples if isinstance(training, StreamedDataset) else training
        self._order = order_of(samples, config, scenes)
        if isinstance(training, StreamedDataset):
            together = scenes if config.sampling == "paired" else None
            self._windowed = Windowed(self._order, samples, capacity=training.capacity, scenes=together)

    def train_dataloader(self) -> StepLoader:
        """Return the stream of this device; called in its process."""
        if isinstance(self._training, StreamedDataset):
            return StreamLoader(self._training, self._windowed, self._config)
        assert self.trainer is not None
        sampler = _sampler(self._order, self._config, self.trainer.global_rank, self.trainer.world_size)
        pin_memory = torch.cuda.is_available()
        return StepLoader(self._training, sampler, num_workers=self._config.num_workers, pin_memory=pin_memory)

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """Return all held-out samples in order, on every device; an empty list without a held-out split."""
        if self._validation is None:
            return []
        size = self._config.batch_size
        return [DataLoader(self._validation, batch_size=size, collate_fn=collate)]  # type: ignore[arg-type]
