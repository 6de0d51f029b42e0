"""Training samples whose frames are on the disk only while they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Dataset

from foreact.data.dataset import ChunkDataset, with_pictures
from foreact.data.frame_windows import FrameWindows, Window
from foreact.records import Batch


class StreamedDataset(Dataset[Batch]):
    """The samples of a `ChunkDataset`, in one order only: window after window, as begun.

    It holds open files and a thread, so it is read in this process, one batch after the other.
    """

    def __init__(self, samples: ChunkDataset, frames: FrameWindows) -> None:
        """Take the samples, made without cameras, and where their frames come from."""
        self.samples = samples
        self.capacity = frames.capacity
        """Frames that a window holds."""
        self._frames = frames
        self._left = 0
        """Samples that are still to be read in the present window."""

    def __len__(self) -> int:
        return len(self.samples)

    def begin(self, windows: Iterator[Window]) -> None:
        """Say in which windows the samples come that are asked for from now on."""
        self._left = 0
        self._frames.start(windows)

    def close(self) -> None:
        """Free the disk."""
        self._frames.close()

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a raw batch like `ChunkDataset.__getitems__`, after waiting for its frames.

        Raises:
            BadEpisodeError: If an episode is damaged.
            DataError: If the disk is full.
        """
        parts = [self._frames_of(part) for part in self._by_window(np.asarray(indices))]
        colour, depth = (
            {camera: np.concatenate([part[kind][camera] for part in parts]) for camera in parts[0][kind]}
            for kind in (0, 1)
        )
        return with_pictures(self.samples.vectors(indices), colour, depth)

    def _by_window(self, samples: np.ndarray) -> Iterator[np.ndarray]:
        """Cut samples where a window ends, and enter the next one there."""
        while len(samples):
            if not self._left:
                self._left = self._frames.advance().n_samples
            part, samples = samples[: self._left], samples[self._left :]
            self._left -= len(part)
            yield part

    def _frames_of(self, samples: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        episode, frame = self.samples.places(samples)
        return self._frames.take(self.samples.indices[episode], frame)
