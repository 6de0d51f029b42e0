"""Frames decoded once, resized and kept on disk as plain arrays, so that training never waits for a decoder.

A cache is one file of frames a camera and setting, below a folder named by the source's fingerprint, and beside it a
file with one byte an episode, 1 where the episode is complete. So filling it can be interrupted at any time and goes
on where it was, and the training and validation splits share it.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from foreact.console import console, frame_progress
from foreact.data.bad_episodes import BadEpisodeError, OnBad
from foreact.data.chunks import downsampled_length
from foreact.data.files import cannot_write, free_bytes, refuse_inside, size_text
from foreact.data.images import resize_frames
from foreact.data.mixed import origin_of, parts_of
from foreact.data.source import EpisodeSource
from foreact.errors import DataError

CACHE_VARIABLE = "FOREACT_CACHE"
_RESERVE = 64 * 2**20
"""Bytes left free on the disk."""


def default_cache_dir() -> Path:
    """Return `$FOREACT_CACHE`, or `~/.cache/foreact/frames`."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".cache" / "foreact" / "frames"


@dataclass(frozen=True, kw_only=True)
class CachedFrames:
    """Frames on disk as an array; opened on first use, so that it travels to other processes as a path."""

    path: Path
    shape: tuple[int, ...]
    """(N, H, W, 3), or (N, H, W) for depth."""
    dtype: str
    """uint8, or uint16 millimetres for depth."""

    @cached_property
    def array(self) -> np.ndarray:
        """The frames, read-only and memory-mapped."""
        return np.memmap(self.path, self.dtype, mode="r", shape=self.shape)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "array"}


def gather(parts: Sequence[CachedFrames], part: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Return frames (B, ...) from the caches of several sources.

    Args:
        parts: One cache a source, of frames of one size.
        part: int (B,), which of them.
        row: int (B,), which of its frames.
    """
    if len(parts) == 1:
        return parts[0].array[row]
    frames = np.empty((len(row), *parts[0].shape[1:]), parts[0].dtype)
    for number in np.unique(part):
        of_part = part == number
        frames[of_part] = parts[number].array[row[of_part]]
    return frames


def frame_layout(size: tuple[int, int], depth: bool) -> tuple[tuple[int, ...], str]:
    """Return shape and type of a cached frame: uint8 (H, W, 3), or uint16 (H, W) millimetres for depth."""
    return (size, "uint16") if depth else ((*size, 3), "uint8")


def layout_bytes(size: tuple[int, int], depth: bool) -> int:
    """Return what a cached frame takes on the disk."""
    shape, dtype = frame_layout(size, depth)
    return prod(shape) * np.dtype(dtype).itemsize


def first_rows(source: EpisodeSource, downsample_factor: int) -> dict[int, int]:
    """Return the row of each episode's first frame in a cache: all episodes stand there, in order."""
    lengths = [downsampled_length(source.lengths[index], downsample_factor) for index in source.episode_indices]
    return dict(zip(source.episode_indices, itertools.accumulate(lengths, initial=0), strict=False))


def cache_frames(
    source: EpisodeSource,
    episodes: Sequence[int],
    *,
    camera: str,
    size: tuple[int, int],
    downsample_factor: int = 1,
    depth: bool = False,
    cache_dir: Path | None = None,
    on_bad: OnBad | None = None,
) -> CachedFrames:
    """Return a camera's frames from the cache, after decoding what is not there yet.

    Args:
        source: Where the frames come from.
        episodes: Which have to be there.
        camera: Its name.
        size: Height and width to resize to.
        downsample_factor: Keep frames 0, n, 2n, ... of each episode.
        depth: The camera's depth, in uint16 millimetres (up to 65.5 m), instead of its colour.
        cache_dir: Where caches are kept; None for `default_cache_dir()`.
        on_bad: Told of each episode whose frames are damaged, and why, instead of an error; these are not cached.

    Raises:
        BadEpisodeError: If frames are damaged.
        DataError: If the disk is full, or the caches would lie in the data set.
    """
    n_frames = sum(downsampled_length(length, downsample_factor) for length in source.lengths.values())
    caches = cache_dir or default_cache_dir()
    refuse_inside(caches, source.root, "data set", "--cache-dir")
    folder = caches / source.fingerprint()
    plain = re.sub(r"[^\w.-]", "_", camera)  # the name comes from a file that may have been downloaded
    name = f"{plain}-{size[0]}x{size[1]}-every{downsample_factor}.{'depth' if depth else 'colour'}"
    shape, dtype = frame_layout(size, depth)
    frames = CachedFrames(path=folder / name, shape=(n_frames, *shape), dtype=dtype)
    filling = _Filling(source, frames, camera, downsample_factor, depth, on_bad)
    if filling.missing(episodes):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot make the frame cache '{folder}': {error.strerror}; {_ELSEWHERE}") from error
        with _locked(folder / f"{name}.lock", frames.path):
            filling.fill(filling.missing(episodes))
    return frames


def cache_parts(
    source: EpisodeSource,
    episodes: Sequence[int],
    *,
    camera: str,
    size: tuple[int, int],
    downsample_factor: int = 1,
    depth: bool = False,
    cache_dir: Path | None = None,
    on_bad: OnBad | None = None,
) -> tuple[CachedFrames, ...]:
    """Return a camera's frames from the caches of a mix's sources, or from the one of any other source.

    Each source keeps its own, so that mixing it or adding another decodes nothing again. Like `cache_frames`.
    """
    parts = parts_of(source)
    chosen: list[dict[int, int]] = [{} for _ in parts]
    for index in episodes:
        number, own = origin_of(source, index)
        chosen[number][own] = index

    def of_part(part: EpisodeSource, indices: dict[int, int]) -> CachedFrames:
        def note(own: int, reason: str) -> None:
            assert on_bad is not None
            on_bad(indices[own], reason)

        return cache_frames(
            part,
            tuple(indices),
            camera=camera,
            size=size,
            downsample_factor=downsample_factor,
            depth=depth,
            cache_dir=cache_dir,
            on_bad=None if on_bad is None else note,
        )

    return tuple(of_part(part, indices) for part, indices in zip(parts, chosen, strict=True))


def check_frames(source: EpisodeSource, episodes: Sequence[int], *, camera: str, depth: bool, on_bad: OnBad) -> None:
    """Read all frames of a camera without keeping any, and tell of each episode whose frames are damaged."""
    with frame_progress() as progress:
        bar = progress.add_task(
            f"checking {'depth of ' if depth else ''}camera '{camera}'",
            total=sum(source.lengths[index] for index in episodes),
        )
        for index in episodes:
            try:
                for _ in (source.depth if depth else source.frames)(index, camera, source.lengths[index]):
                    pass  # the first one alone is converted; the source checks all of them
            except DataError as error:
                on_bad(index, str(error))
            progress.advance(bar, source.lengths[index])


_ELSEWHERE = f"choose another disk with --cache-dir or ${CACHE_VARIABLE}"


class _Filling:
    """How one cache file is filled."""

    def __init__(
        self,
        source: EpisodeSource,
        frames: CachedFrames,
        camera: str,
        downsample_factor: int,
        depth: bool,
        on_bad: OnBad | None,
    ) -> None:
        self._source = source
        self._frames = frames
        self._camera = camera
        self._factor = downsample_factor
        self._depth = depth
        self._on_bad = on_bad
        self._done_path = frames.path.with_name(f"{frames.path.name}.done")
        self._row_bytes = layout_bytes((frames.shape[1], frames.shape[2]), depth)
        self._first = first_rows(source, downsample_factor)
        self._position = {index: position for position, index in enumerate(source.episode_indices)}

    def missing(self, episodes: Sequence[int]) -> list[int]:
        """Which episodes have to be decoded; all where the files are not those of a cache of this size."""
        path, done_path = self._frames.path, self._done_path
        if not (path.is_file() and done_path.is_file()):
            return sorted(episodes)
        done = done_path.read_bytes()
        if len(done) != len(self._position) or path.stat().st_size != self._frames.shape[0] * self._row_bytes:
            return sorted(episodes)
        return [index for index in sorted(episodes) if done[self._position[index]] != 1]

    def fill(self, episodes: list[int]) -> None:
        """Decode episodes into the cache; the lock is held."""
        if not episodes:  # another process did it while this one waited
            return
        n_frames = sum(downsampled_length(self._source.lengths[index], self._factor) for index in episodes)
        needed = n_frames * self._row_bytes
        if needed + _RESERVE > (free := free_bytes(self._frames.path)):
            raise DataError(self._too_small(needed, free))
        try:
            if len(self.missing(self._source.episode_indices)) == len(self._position):
                self._create()
            self._decode(episodes, n_frames)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise DataError(f"{cannot_write(self._frames.path, error)}; {_ELSEWHERE}") from error
            self._frames.path.unlink(missing_ok=True)
            self._done_path.unlink(missing_ok=True)
            raise DataError(self._too_small(needed, free_bytes(self._frames.path))) from error

    def _create(self) -> None:
        """Make an empty cache. The file has its full size at once, but takes room on disk only where it is filled."""
        self._done_path.unlink(missing_ok=True)
        self._frames.path.unlink(missing_ok=True)
        with self._frames.path.open("wb") as file:
            file.truncate(self._frames.shape[0] * self._row_bytes)
        self._done_path.write_bytes(bytes(len(self._position)))

    def _decode(self, episodes: list[int], n_frames: int) -> None:
        with (
            self._frames.path.open("r+b", buffering=0) as file,
            self._done_path.open("r+b", buffering=0) as done,
            frame_progress() as progress,
        ):
            what = f"decoding {'depth of ' if self._depth else ''}camera '{self._camera}'"
            bar = progress.add_task(what, total=n_frames)
            for index in episodes:
                file.seek(self._first[index] * self._row_bytes)
                try:
                    for frame in resized_frames(
                        self._source,
                        index,
                        camera=self._camera,
                        size=(self._frames.shape[1], self._frames.shape[2]),
                        every=self._factor,
                        depth=self._depth,
                    ):
                        write_all(file.fileno(), frame)
                        progress.advance(bar)
                except DataError as error:  # only the source raises it here
                    reason = str(error)
                    if self._on_bad is None:
                        raise BadEpisodeError(reason) from error
                    self._on_bad(index, reason)
                    continue
                os.fsync(file.fileno())  # complete on disk before it is called so
                done.seek(self._position[index])
                done.write(b"\x01")

    def _too_small(self, needed: int, free: int) -> str:
        return (
            f"the frame cache of camera '{self._camera}' needs {size_text(needed)} in '{self._frames.path.parent}', "
            f"where {size_text(free)} are free; free some space, train with --stream, lower policy.image_size, "
            f"or {_ELSEWHERE}"
        )


def resized_frames(
    source: EpisodeSource, index: int, *, camera: str, size: tuple[int, int], every: int, depth: bool
) -> Iterator[np.ndarray]:
    """Yield an episode's frames as a cache holds them, one at a time: each stays in the processor's cache meanwhile.

    Args:
        source: Where the frames come from.
        index: Of the episode.
        camera: Its name.
        size: Height and width to resize to.
        every: Keep frames 0, n, 2n, ...
        depth: Give depth, uint16 (H, W) millimetres, instead of colour, uint8 (H, W, 3).

    Raises:
        DataError: If the frames are damaged.
    """
    for frame in (source.depth if depth else source.frames)(index, camera, every):
        picture = torch.from_numpy(frame)
        if depth:
            metres = resize_frames(picture[None, None], size)[0, 0].numpy()
            yield np.clip(np.rint(metres * 1000), 0, 65535).astype(np.uint16)
        else:
            resized = resize_frames(picture.permute(2, 0, 1)[None], size)
            yield np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def write_all(descriptor: int, array: np.ndarray) -> None:
    """Write an array's bytes where the file stands: a full disk is an error here, but a crash in a memory map."""
    view = array.reshape(-1).view(np.uint8).data
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def _locked(path: Path, what: Path) -> Iterator[None]:
    """Hold the lock of a cache; say so where another process has it."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        console.print(f"waiting for another process that fills the frame cache '{what}'", highlight=False)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
