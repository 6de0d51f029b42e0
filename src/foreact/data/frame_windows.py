"""Frames of a few episodes at a time: one window of episodes is read while the next is decoded in the background."""

from __future__ import annotations

import mmap
import os
import queue
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.data.bad_episodes import BadEpisodeError
from foreact.data.chunks import downsampled_length
from foreact.data.dataset import recordings
from foreact.data.files import cannot_write, free_bytes, size_text
from foreact.data.frame_cache import default_cache_dir, frame_layout, layout_bytes, resized_frames, write_all
from foreact.data.source import EpisodeSource
from foreact.errors import DataError
from foreact.records import Features

N_WINDOWS = 2
"""On the disk at any time: the one that is read, and the one that is filled."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Some episodes, and how many samples of them are read before the next window is entered."""

    episodes: tuple[int, ...]
    """Indices of the data set."""
    n_samples: int


class FrameWindows:
    """Two windows of frames on disk, in files without names: whatever ends the process, their room is free again.

    A thread decodes windows in their order, each as soon as the last but one has been left. Decoding and resizing
    leave the interpreter to others, so it takes little from the training beside it.
    """

    def __init__(
        self,
        source: EpisodeSource,
        features: Features,
        *,
        capacity: int,
        downsample_factor: int = 1,
        cache_dir: Path | None = None,
    ) -> None:
        """Make the files.

        Args:
            source: Where the frames come from; nobody else may read it while windows are filled.
            features: Which cameras, at which size, from `select_features`.
            capacity: Frames that a window holds, after downsampling.
            downsample_factor: Keep frames 0, n, 2n, ... of each episode.
            cache_dir: Where the files are; None for the user's cache.

        Raises:
            DataError: If the disk is too small.
        """
        self.capacity = capacity
        self._source = source
        self._factor = downsample_factor
        folder = cache_dir or default_cache_dir()
        needed = N_WINDOWS * capacity * frame_bytes(features)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if needed > (free := free_bytes(folder)):
                raise DataError(
                    f"--stream needs {size_text(needed)} in '{folder}', where {size_text(free)} are free; give it "
                    "less, or choose another disk with --cache-dir"
                )
            self._files = [
                _FrameFile(folder, camera.name, (camera.height, camera.width), depth, N_WINDOWS * capacity)
                for camera, depth in recordings(features)
            ]
        except OSError as error:
            raise DataError(f"{cannot_write(folder, error)}; choose another disk with --cache-dir") from error
        self._filling: _Filling | None = None
        self._first: Mapping[int, int] = {}

    def start(self, windows: Iterator[Window]) -> None:
        """Begin to decode windows; `advance` enters the first."""
        self.stop()
        self._filling = filling = _Filling()
        filling.thread = threading.Thread(target=self._fill, args=(windows, filling), name="frame windows", daemon=True)
        filling.thread.start()

    def advance(self) -> Window:
        """Leave the present window, wait for the next, enter it and return it.

        Raises:
            BadEpisodeError: If one of its episodes is damaged.
            DataError: If the disk is full.
        """
        assert self._filling is not None
        if self._first:
            self._filling.free.release()
        filled = self._filling.filled.get()
        if isinstance(filled, BaseException):
            raise filled
        window, self._first = filled
        return window

    def take(self, episodes: np.ndarray, frames: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return colour uint8 (B, H, W, 3) and depth uint16 (B, H, W) in millimetres by camera.

        Args:
            episodes: Indices of the data set (B,), all in the present window.
            frames: Of each its frame (B,), after downsampling.
        """
        rows = np.array([self._first[index] for index in episodes.tolist()]) + frames
        colour = {file.camera: file.array[rows] for file in self._files if not file.depth}
        return colour, {file.camera: file.array[rows] for file in self._files if file.depth}

    def stop(self) -> None:
        """End the thread; windows may be started anew."""
        if self._filling is not None:
            self._filling.stopping.set()
            self._filling.free.release()
            self._filling.thread.join()
        self._filling = None
        self._first = {}

    def close(self) -> None:
        """End the thread and free the disk."""
        self.stop()
        for file in self._files:
            file.close()

    def _fill(self, windows: Iterator[Window], filling: _Filling) -> None:
        """Decode window after window; what goes wrong is handed to whoever waits for it."""
        try:
            for number, window in enumerate(windows):
                filling.free.acquire()
                if filling.stopping.is_set():
                    return
                rows = self._decode(window, number % N_WINDOWS * self.capacity, filling.stopping)
                filling.filled.put((window, rows))
        except BaseException as error:  # a bug, too: nobody may wait for ever
            filling.filled.put(error)

    def _decode(self, window: Window, row: int, stopping: threading.Event) -> dict[int, int]:
        """Decode a window from a row on, and return each episode's first row."""
        first: dict[int, int] = {}
        for index in sorted(window.episodes):  # in their order, in which they are read fastest
            first[index] = row
            for file in self._files:
                try:
                    file.seek(row)
                    for frame in resized_frames(
                        self._source, index, camera=file.camera, size=file.size, every=self._factor, depth=file.depth
                    ):
                        if stopping.is_set():
                            return first
                        file.write(frame)
                except DataError as error:
                    raise BadEpisodeError(str(error)) from error
                except OSError as error:
                    raise DataError(f"{cannot_write(file.folder, error)} (--stream)") from error
            row += downsampled_length(self._source.lengths[index], self._factor)
        return first


def frame_bytes(features: Features) -> int:
    """Return what one frame of all cameras takes on the disk."""
    return sum(layout_bytes((camera.height, camera.width), depth) for camera, depth in recordings(features))


class _Filling:
    """What the two threads tell each other."""

    def __init__(self) -> None:
        self.thread: threading.Thread
        self.free = threading.Semaphore(N_WINDOWS)
        self.filled: queue.Queue[tuple[Window, dict[int, int]] | BaseException] = queue.Queue()
        self.stopping = threading.Event()


class _FrameFile:
    """A file without a name that holds frames of a camera; written like a file, read like an array."""

    def __init__(self, folder: Path, camera: str, size: tuple[int, int], depth: bool, n_frames: int) -> None:
        self.folder, self.camera, self.size, self.depth = folder, camera, size, depth
        shape, dtype = frame_layout(size, depth)
        self._row_bytes = layout_bytes(size, depth)
        self._descriptor, path = tempfile.mkstemp(dir=folder)
        os.unlink(path)
        os.truncate(self._descriptor, n_frames * self._row_bytes)
        content = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        self.array: np.ndarray = np.frombuffer(content, dtype).reshape(n_frames, *shape)

    def seek(self, row: int) -> None:
        os.lseek(self._descriptor, row * self._row_bytes, os.SEEK_SET)

    def write(self, frame: np.ndarray) -> None:
        write_all(self._descriptor, frame)

    def close(self) -> None:
        del self.array  # its map holds the file, too
        os.close(self._descriptor)
