"""Training samples: an observation and the chunk of actions that begins with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from foreact.data.bad_episodes import BadEpisodeError, OnBad, read_episode
from foreact.data.chunks import chunk_frames, downsample, downsampled_length
from foreact.data.frame_cache import CachedFrames, cache_parts, check_frames, first_rows, gather
from foreact.data.mixed import origin_of, parts_of
from foreact.data.source import EpisodeSource
from foreact.data.statistics import vectors
from foreact.errors import DataError
from foreact.records import Batch, Camera, Episode, Features
from foreact_runtime import keys


class ChunkDataset(Dataset[Batch]):
    """One sample a frame of the chosen episodes, gathered a whole batch at a time from memory and the frame cache.

    It holds no open file and can be pickled, so loader processes may be spawned.
    """

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
            BadEpisodeError: If an episode is damaged or a number in it is not finite.
            DataError: If no episodes were chosen, or the disk is full.
        """
        if not episode_indices:
            raise DataError(f"no episodes of '{source.root}' were chosen")
        self.chunk_size = chunk_size
        self.indices = np.array(episode_indices, np.int64)
        """Of the chosen episodes, int (E,). Nothing is kept a frame but its vectors."""
        self._task = [source.tasks[index] for index in episode_indices]
        self._length = np.array([downsampled_length(source.lengths[of], downsample_factor) for of in episode_indices])
        self._first = np.cumsum(self._length) - self._length
        """Its first sample."""
        self._vectors = self._read(source, downsample_factor)
        dims = {keys.STATE: features.state_dim, keys.ENVIRONMENT_STATE: features.environment_dim}
        self._wanted = {key for key, dim in dims.items() if dim} | {keys.ACTION}
        origins = [origin_of(source, index) for index in episode_indices]
        first = [first_rows(part, downsample_factor) for part in parts_of(source)]
        self._source_number = np.array([number for number, _ in origins])
        self._cache_row = np.array([first[number][own] for number, own in origins])
        self._images: dict[str, tuple[CachedFrames, ...]] = {}
        self._depth: dict[str, tuple[CachedFrames, ...]] = {}
        for camera, depth in recordings(features):
            (self._depth if depth else self._images)[camera.name] = cache_parts(
                source,
                episode_indices,
                camera=camera.name,
                size=(camera.height, camera.width),
                downsample_factor=downsample_factor,
                depth=depth,
                cache_dir=cache_dir,
            )

    def _read(self, source: EpisodeSource, downsample_factor: int) -> dict[str, np.ndarray]:
        """All vectors of the chosen episodes, those among them that the features leave out, each (N, D)."""
        together: dict[str, np.ndarray] = {}
        for index, first, length in zip(self.indices.tolist(), self._first, self._length, strict=True):
            episode = downsample(read_episode(source, index), downsample_factor)
            for key, values in vectors(episode).items():
                if key not in together:
                    together[key] = np.empty((len(self), values.shape[1]), values.dtype)
                together[key][first : first + length] = values
        return together

    def __len__(self) -> int:
        return int(self._length.sum())

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """The chosen episodes after downsampling, without copies: what statistics are computed from."""
        every = zip(self.indices.tolist(), self._task, self._first, self._first + self._length, strict=True)
        return tuple(self._episode(*of) for of in every)

    def _episode(self, index: int, task: str, start: int, stop: int) -> Episode:
        of = {key: values[start:stop] for key, values in self._vectors.items()}
        return Episode(
            index=index,
            task=task,
            action=of[keys.ACTION],
            state=of.get(keys.STATE),
            environment_state=of.get(keys.ENVIRONMENT_STATE),
        )

    @property
    def source_number(self) -> np.ndarray:
        """Which source of a mix each sample comes from, counted from 0: int (N,)."""
        return np.repeat(self._source_number, self._length)

    def places(self, samples: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where samples are: which of `episodes`, counted from 0, and its frame, each int (B,)."""
        rows = np.asarray(samples)
        episode = np.searchsorted(self._first, rows, side="right") - 1
        return episode, rows - self._first[episode]

    def hold_frames(self) -> None:
        """Open the cached frames, which from then on can be read by this process though their files be removed."""
        for parts in (*self._images.values(), *self._depth.values()):
            for number in np.unique(self._source_number):
                _ = parts[number].array

    def __getitem__(self, index: int) -> Batch:
        """Return a raw batch of one sample; loaders ask for many at once."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a raw batch.

        `images` uint8 (B, 3, H, W), stored with the channels last; `depth` float32 (B, 1, H, W) in metres; vectors
        float32; `action` (B, T, A) with `action_is_pad` (B, T); `episode_index` (B,).
        """
        episode, frame = self.places(indices)
        places = self._source_number[episode], self._cache_row[episode] + frame
        return with_pictures(
            self.vectors(indices),
            {name: gather(of, *places) for name, of in self._images.items()},
            {name: gather(of, *places) for name, of in self._depth.items()},
        )

    def vectors(self, indices: Sequence[int]) -> Batch:
        """Return a raw batch without its pictures."""
        rows = np.asarray(indices)
        episode, frame = self.places(rows)
        frames, is_pad = chunk_frames(frame, self._length[episode], self.chunk_size)

        def vector(key: str) -> torch.Tensor | None:
            return torch.from_numpy(self._vectors[key][rows]) if key in self._wanted else None

        return Batch(
            state=vector(keys.STATE),
            environment_state=vector(keys.ENVIRONMENT_STATE),
            action=torch.from_numpy(self._vectors[keys.ACTION][self._first[episode][:, None] + frames]),
            action_is_pad=torch.from_numpy(is_pad),
            episode_index=torch.from_numpy(self.indices[episode]),
        )


def find_bad_episodes(
    source: EpisodeSource,
    *,
    features: Features,
    downsample_factor: int = 1,
    cache_dir: Path | None = None,
    keep_frames: bool = True,
    on_bad: OnBad,
) -> None:
    """Read all vectors and all frames that a policy takes, and tell of each episode that is damaged, once.

    Args:
        source: All of it.
        features: What the policy takes, from `select_features`.
        downsample_factor: Use every n-th frame.
        cache_dir: Where decoded frames are kept; None for the user's cache.
        keep_frames: Whether they are cached; if not, nothing is written.
        on_bad: Told of them.

    Raises:
        DataError: If the disk is full.
    """
    bad = set()

    def note(index: int, reason: str) -> None:
        bad.add(index)
        on_bad(index, reason)

    for index in source.episode_indices:
        try:
            read_episode(source, index)
        except BadEpisodeError as error:
            note(index, str(error))
    for camera, depth in recordings(features):
        good = [index for index in source.episode_indices if index not in bad]
        if not keep_frames:
            check_frames(source, good, camera=camera.name, depth=depth, on_bad=note)
            continue
        cache_parts(
            source,
            good,
            camera=camera.name,
            size=(camera.height, camera.width),
            downsample_factor=downsample_factor,
            depth=depth,
            cache_dir=cache_dir,
            on_bad=note,
        )


def recordings(features: Features) -> list[tuple[Camera, bool]]:
    """Each camera's colour, then each RGB-D camera's depth (True)."""
    colour = [(camera, False) for camera in features.cameras]
    return [*colour, *((camera, True) for camera in features.cameras if camera.depth_range)]


def with_pictures(batch: Batch, colour: Mapping[str, np.ndarray], depth: Mapping[str, np.ndarray]) -> Batch:
    """Return a batch with pictures as a cache holds them: uint8 (B, H, W, 3), and uint16 millimetres (B, H, W)."""
    metres = {name: torch.from_numpy(of / np.float32(1000)) for name, of in depth.items()}
    return replace(
        batch,
        images={name: torch.from_numpy(of).permute(0, 3, 1, 2) for name, of in colour.items()},
        depth={name: of[:, None] for name, of in metres.items()},
    )


def collate(batch: Batch) -> Batch:
    """Return the batch as it is: `ChunkDataset.__getitems__` has put the samples side by side."""
    return batch
