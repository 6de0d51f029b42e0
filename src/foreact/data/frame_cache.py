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
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from foreact.console import console
from foreact.data.chunks import downsampled_length
from foreact.data.files import cannot_write, free_bytes, size_text
from foreact.data.images import resize_frames
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

    Raises:
        DataError: If frames are damaged, or the disk is full.
    """
    n_frames = sum(downsampled_length(length, downsample_factor) for length in source.lengths.values())
    folder = (cache_dir or default_cache_dir()) / source.fingerprint()
    plain = re.sub(r"[^\w.-]", "_", camera)  # the name comes from a file that may have been downloaded
    name = f"{plain}-{size[0]}x{size[1]}-every{downsample_factor}.{'depth' if depth else 'colour'}"
    frames = CachedFrames(
        path=folder / name,
        shape=(n_frames, *size) if depth else (n_frames, *size, 3),
        dtype="uint16" if depth else "uint8",
    )
    filling = _Filling(source, frames, camera, downsample_factor, depth)
    if filling.missing(episodes):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot make the frame cache '{folder}': {error.strerror}; {_ELSEWHERE}") from error
        with _locked(folder / f"{name}.lock", frames.path):
            filling.fill(filling.missing(episodes))
    return frames


_ELSEWHERE = f"choose another disk with --cache-dir or ${CACHE_VARIABLE}"


class _Filling:
    """How one cache file is filled."""

    def __init__(
        self, source: EpisodeSource, frames: CachedFrames, camera: str, downsample_factor: int, depth: bool
    ) -> None:
        self._source = source
        self._frames = frames
        self._camera = camera
        self._factor = downsample_factor
        self._depth = depth
        self._done_path = frames.path.with_name(f"{frames.path.name}.done")
        self._row_bytes = int(np.prod(frames.shape[1:])) * np.dtype(frames.dtype).itemsize
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
        # Written with plain writes: a full disk is an error there, but a crash in a memory map.
        with (
            self._frames.path.open("r+b", buffering=0) as file,
            self._done_path.open("r+b", buffering=0) as done,
            _progress() as progress,
        ):
            what = f"decoding {'depth of ' if self._depth else ''}camera '{self._camera}'"
            bar = progress.add_task(what, total=n_frames)
            for index in episodes:
                file.seek(self._first[index] * self._row_bytes)
                for frame in self._resized(index):
                    _write_all(file.fileno(), frame)
                    progress.advance(bar)
                os.fsync(file.fileno())  # complete on disk before it is called so
                done.seek(self._position[index])
                done.write(b"\x01")

    def _resized(self, index: int) -> Iterator[np.ndarray]:
        """The kept frames of an episode, one at a time: each stays in the processor's cache until it is written."""
        size = (self._frames.shape[1], self._frames.shape[2])
        read = self._source.depth if self._depth else self._source.frames
        # Every frame is read, so that the source sees the end of the episode and checks its length.
        for number, frame in enumerate(read(index, self._camera)):
            if number % self._factor:
                continue
            picture = torch.from_numpy(frame)
            if self._depth:
                metres = resize_frames(picture[None, None], size)[0, 0].numpy()
                yield np.clip(np.rint(metres * 1000), 0, 65535).astype(np.uint16)
            else:
                resized = resize_frames(picture.permute(2, 0, 1)[None], size)
                yield np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())

    def _too_small(self, needed: int, free: int) -> str:
        return (
            f"the frame cache of camera '{self._camera}' needs {size_text(needed)} in '{self._frames.path.parent}', "
            f"where {size_text(free)} are free; free some space, lower policy.image_size, or {_ELSEWHERE}"
        )


def _write_all(descriptor: int, array: np.ndarray) -> None:
    view = array.reshape(-1).view(np.uint8).data
    while view:
        view = view[os.write(descriptor, view) :]


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f} frames/s" if task.speed else "")


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


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
