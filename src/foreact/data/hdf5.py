"""What the HDF5 readers share: opening a file, checked reading, and errors that name file and episode.

A file is opened for each reading and closed after it, which costs a fifth of a millisecond. So none is open across
a fork or in a pickle, and no process holds more than the one that it is reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from math import prod
from pathlib import Path

import h5py
import numpy as np

from foreact.data.files import content_hash, refuse_lfs_pointer
from foreact.errors import DataError
from foreact.records import Camera

_BLOCK = 4 * 2**20
"""Bytes read at a time."""
_DAMAGED = (OSError, RuntimeError, KeyError, TypeError, ValueError, MemoryError)
"""What h5py raises for damaged bytes: of pointers, names, types and sizes."""
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@contextmanager
def open_hdf5(path: Path, where: str) -> Iterator[h5py.File]:
    """Open a file for reading; whatever goes wrong in it while it is open becomes a DataError.

    Args:
        path: The file.
        where: It and the episode, for messages.

    Raises:
        DataError: If it is missing, cut short, damaged, no HDF5, or just being written by another program.
    """
    with damage_named(path, where), h5py.File(path, "r", locking="best-effort") as file:
        yield file


@contextmanager
def damage_named(path: Path, where: str) -> Iterator[None]:
    """Turn what h5py raises for a damaged file, or a damaged part of an open one, into a DataError; see `open_hdf5`."""
    try:
        yield
    except BlockingIOError as error:
        raise DataError(f"{where} is being written by another program; wait until that has finished") from error
    except _DAMAGED as error:
        raise DataError(f"{where} {_problem(path, error)}") from error


def _problem(path: Path, error: Exception) -> str:
    if not path.is_file():
        return "is not there; copy or download it again"
    refuse_lfs_pointer(path)
    with path.open("rb") as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            return "is not an HDF5 file; copy or download it again"
    reason = " ".join(str(error.args[0] if error.args else error).split())
    return f"is damaged ({reason}); copy or record it again"


def numbered(names: Iterable[str], pattern: str, where: str) -> dict[int, str]:
    """Return the names that match a pattern by the number that its group finds, ascending.

    Raises:
        DataError: If two names have the same number.
    """
    found: dict[int, str] = {}
    for name in sorted(names):
        if (match := re.fullmatch(pattern, name)) is not None:
            number = int(match.group(1))
            if number in found:
                raise DataError(f"{where} has '{found[number]}' and '{name}', both number {number}; rename one of them")
            found[number] = name
    return dict(sorted(found.items()))


def get_dataset(group: h5py.Group, name: str, where: str) -> h5py.Dataset:
    """Return a dataset; raises DataError where there is none of that name."""
    found = group.get(name)
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{where} has no dataset '{name}'; copy or record it again")
    return found


def get_group(group: h5py.Group, name: str, where: str) -> h5py.Group:
    """Return a group; raises DataError where there is none of that name."""
    found = group.get(name)
    if not isinstance(found, h5py.Group):
        raise DataError(f"{where} has no group '{name}'; copy or record it again")
    return found


def vector_dim(group: h5py.Group, name: str, where: str) -> int:
    """Return the dimensions D of a dataset of numbers (T, D) without reading it; one of shape (T,) has one.

    Raises:
        DataError: If it is missing, empty, or has another shape or type.
    """
    dataset = get_dataset(group, name, where)
    if not is_vector(dataset):
        raise DataError(
            f"{where}: '{name}' has shape {dataset.shape} of {dataset.dtype}, expected numbers (frames, dimensions); "
            "leave the episode out or record it again"
        )
    if not len(dataset):
        raise DataError(f"{where} has no frames: '{name}' is empty; leave the episode out or record it again")
    return dataset.shape[1] if dataset.ndim == 2 else 1


def read_vectors(group: h5py.Group, name: str, where: str, dim: int) -> np.ndarray:
    """Return a dataset of numbers as float32 (T, D); one of shape (T,) has one dimension.

    Args:
        group: Where it is.
        name: Its path from there.
        where: File and episode, for messages.
        dim: D as most episodes have it.

    Raises:
        DataError: If it is missing, empty, or has another shape or type.
    """
    if (found := vector_dim(group, name, where)) != dim:
        raise DataError(
            f"{where}: '{name}' has {found} dimensions, in most episodes {dim}; leave the episode out: "
            "those of different robots do not belong into one data set"
        )
    dataset = group[name]
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
        values: np.ndarray = dataset[()].astype(np.float32).reshape(len(dataset), dim)
    return values


def is_vector(dataset: h5py.Dataset) -> bool:
    """Whether it is numbers of shape (T,) or (T, D)."""
    return dataset.ndim in (1, 2) and dataset.dtype.kind in "fiub"


def check_length(values: np.ndarray | h5py.Dataset, name: str, length: int, where: str) -> None:
    """Refuse a dataset that has not one row a frame; raises DataError."""
    n_rows = values.shape[0] if values.shape else 0
    if n_rows != length:
        raise DataError(
            f"{where}: '{name}' has {n_rows} rows for {length} actions; leave the episode out or record it again"
        )


def check_frame(frame: np.ndarray, number: int, camera: Camera, where: str) -> None:
    """Refuse a picture that is not uint8 (H, W, 3) of the camera's size; raises DataError."""
    if frame.shape != (camera.height, camera.width, 3) or frame.dtype != np.uint8:
        raise DataError(
            f"{where}, camera '{camera.name}': frame {number} has shape {frame.shape} of {frame.dtype}, "
            f"expected {(camera.height, camera.width, 3)} of uint8 as in most episodes; leave the episode out or "
            "record it again"
        )


def rows(dataset: h5py.Dataset) -> Iterator[np.ndarray]:
    """Yield the rows of a dataset (T, ...) in order, read some MiB and whole chunks at a time."""
    chunk = dataset.chunks[0] if dataset.chunks else 1
    n_bytes = max(1, prod(dataset.shape[1:]) * dataset.dtype.itemsize) * chunk
    step = max(1, _BLOCK // n_bytes) * chunk
    for start in range(0, len(dataset), step):
        yield from dataset[start : start + step]


def hdf5_fingerprint(files: Mapping[Path, Iterable[str]], root: Path, reading: str = "") -> str:
    """Return 16 hexadecimal digits that change with the content of files below `root`, whatever their dates.

    Numbers count in full. Pictures in files over 16 MiB count by the files' size, first and last MiB (`content_hash`):
    a picture changed in place in the middle of such a file goes unnoticed.

    Args:
        files: The datasets of numbers in each file; those that it has not are passed over.
        root: The folder that they are named from.
        reading: How the pictures are read, where the same file can give others.
    """
    digest = blake2b(f"{content_hash(files, root)} {reading}".encode(), digest_size=8)
    for path in sorted(files):
        try:
            with open_hdf5(path, f"'{path}'") as file:
                for name in files[path]:
                    if isinstance(values := file.get(name), h5py.Dataset):
                        digest.update(f"{name} {values.shape} {values.dtype}\n".encode())
                        digest.update(np.ascontiguousarray(values[()]).tobytes())
        except DataError:  # a damaged file counts as such; whoever reads its episodes is told why
            digest.update(f"{path.name} is damaged\n".encode())
    return digest.hexdigest()
