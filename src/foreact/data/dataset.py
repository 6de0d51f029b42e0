"""Training samples: an observation and the chunk of actions that begins with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from foreact import keys
from foreact.data.chunks import chunk_frames, downsample
from foreact.data.frame_cache import CachedFrames, cache_frames, first_rows
from foreact.data.source import EpisodeSource
from foreact.data.statistics import check_episode, vectors
from foreact.errors import DataError
from foreact.records import Batch, Camera, Episode, Features


class ChunkDataset(Dataset[Batch]):
    """One sample a frame of the chosen episodes, gathered a whole batch at a time from memory and the frame cache.

    It holds no open file and can be pickled, so loader processes may be spawned.
    """

    episodes: tuple[Episode, ...]
    """The chosen episodes after downsampling: what statistics are computed from."""

    def __init__(
        self,
        source: EpisodeSource,
        episode_indices: Sequence[int],
        *,
        features: Features,
        chunk_size: int,
        downsample_factor: int = 1,
        image_size: tuple[int, int] | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """Read the vectors, check them, and see to it that the frames are cached.

        Args:
            source: Where the episodes come from.
            episode_indices: Which to take.
            features: What a sample holds, from `select_features`.
            chunk_size: Actions a chunk (T).
            downsample_factor: Use every n-th frame.
            image_size: Height and width of all pictures; None takes each camera's of `features`.
            cache_dir: Where decoded frames are kept; None for the user's cache.

        Raises:
            DataError: If an episode is damaged, a number in it is not finite, or the disk is full.
        """
        if not episode_indices:
            raise DataError(f"no episodes of '{source.root}' were chosen")
        self.chunk_size = chunk_size
        raw = [source.episode(index) for index in episode_indices]
        for episode in raw:
            check_episode(episode)
        self.episodes = tuple(downsample(episode, downsample_factor) for episode in raw)
        lengths = np.array([episode.length for episode in self.episodes])
        self._episode_index = np.repeat(np.array(episode_indices, np.int64), lengths)
        self._length = np.repeat(lengths, lengths)
        self._start = np.repeat(np.cumsum(lengths) - lengths, lengths)
        """Row of the first frame of each sample's episode."""
        wanted = {
            keys.STATE: features.state_dim,
            keys.ENVIRONMENT_STATE: features.environment_dim,
            keys.ACTION: features.action_dim,
        }
        self._vectors = {
            key: np.concatenate([vectors(episode)[key] for episode in self.episodes])
            for key, dim in wanted.items()
            if dim
        }
        first = first_rows(source, downsample_factor)
        in_episode = np.arange(len(self._start)) - self._start
        self._cache_row = np.array([first[index] for index in self._episode_index.tolist()]) + in_episode

        def cached(camera: Camera, depth: bool) -> CachedFrames:
            return cache_frames(
                source,
                episode_indices,
                camera=camera.name,
                size=image_size or (camera.height, camera.width),
                downsample_factor=downsample_factor,
                depth=depth,
                cache_dir=cache_dir,
            )

        self._images = {camera.name: cached(camera, depth=False) for camera in features.cameras}
        self._depth = {camera.name: cached(camera, depth=True) for camera in features.cameras if camera.depth_range}

    def __len__(self) -> int:
        return len(self._episode_index)

    def __getitem__(self, index: int) -> Batch:
        """Return a raw batch of one sample; loaders ask for many at once."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a raw batch.

        `images` uint8 (B, 3, H, W), stored with the channels last; `depth` float32 (B, 1, H, W) in metres; vectors
        float32; `action` (B, T, A) with `action_is_pad` (B, T); `episode_index` (B,).
        """
        cache_rows = self._cache_row[np.asarray(indices)]
        images = {name: torch.from_numpy(of.array[cache_rows]) for name, of in self._images.items()}
        depth = {name: torch.from_numpy(of.array[cache_rows] / np.float32(1000)) for name, of in self._depth.items()}
        return replace(
            self.vectors(indices),
            images={name: frames.permute(0, 3, 1, 2) for name, frames in images.items()},
            depth={name: metres[:, None] for name, metres in depth.items()},
        )

    def vectors(self, indices: Sequence[int]) -> Batch:
        """Return a raw batch without its pictures."""
        rows = np.asarray(indices)
        start = self._start[rows]
        frames, is_pad = chunk_frames(rows - start, self._length[rows], self.chunk_size)

        def vector(key: str) -> torch.Tensor | None:
            return torch.from_numpy(self._vectors[key][rows]) if key in self._vectors else None

        return Batch(
            state=vector(keys.STATE),
            environment_state=vector(keys.ENVIRONMENT_STATE),
            action=torch.from_numpy(self._vectors[keys.ACTION][start[:, None] + frames]),
            action_is_pad=torch.from_numpy(is_pad),
            episode_index=torch.from_numpy(self._episode_index[rows]),
        )


def collate(batch: Batch) -> Batch:
    """Return the batch as it is: `ChunkDataset.__getitems__` has put the samples side by side."""
    return batch
