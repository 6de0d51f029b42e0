"""Files that are complete or absent: written under a temporary name beside their place, then renamed."""

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from foreact.errors import DataError

PARTIAL = ".partial"
"""End of every temporary name; no reader looks at such files."""
_WHOLE = 16 * 2**20
_ENDS = 2**20
_LFS_POINTER = b"version https://git-lfs"


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path; what was written there becomes `path` when the block ends without an error.

    Raises:
        DataError: If the file cannot be written, for example because the disk is full.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # where the folder could not be made; the first error is the one to tell
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise DataError(cannot_write(path, error)) from error
        raise


def write_json(path: Path, content: Any) -> None:
    """Write JSON with LeRobot's indentation; raises like `write_atomically`."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(content, indent=4) + "\n")


def move(source: Path, target: Path) -> None:
    """Rename a file, or copy it where the target is on another file system; raises like `write_atomically`."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise DataError(cannot_write(target, error)) from error
        with write_atomically(target) as temporary:
            shutil.copyfile(source, temporary)
        source.unlink()


def refuse_inside(out: Path, source: Path, what: str, option: str = "--out") -> None:
    """Raise a DataError if a folder to write is a data set or lies within it.

    Args:
        out: The folder to write.
        source: The data set's folder or file.
        what: What the latter is called in the message.
        option: How a person names the former.
    """
    if out.resolve().is_relative_to(source.resolve()):
        raise DataError(
            f"{option} '{out}' lies in the {what} '{source}', which is never changed; choose another folder"
        )


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is the note that git-lfs leaves in place of a content that has not been downloaded."""
    try:
        with path.open("rb") as file:
            return file.read(len(_LFS_POINTER)) == _LFS_POINTER
    except OSError:
        return False  # whoever reads the file says why it cannot be read


def refuse_lfs_pointer(path: Path) -> None:
    """Raise a DataError if the file is a git-lfs pointer: call it where a file cannot be read, before saying so."""
    if is_lfs_pointer(path):
        raise DataError(f"'{path}' is a git-lfs pointer; run git lfs pull in the data set's folder")


def cannot_write(path: Path, error: OSError) -> str:
    """Return a message for a failed write; a full disk is named as such, with what is free."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full while writing '{path}' ({size_text(free_bytes(path))} free); "
            "free some space or choose another disk"
        )
    return f"cannot write '{path}': {error.strerror or error}"


def free_bytes(path: Path) -> int:
    """Return what an ordinary user may still write on the path's disk; the path need not exist yet."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def missing_files(paths: Iterable[Path]) -> set[Path]:
    """Return those of the paths that are no files, listing each folder once instead of asking for every file."""
    by_folder: dict[Path, list[Path]] = {}
    for path in paths:
        by_folder.setdefault(path.parent, []).append(path)
    missing: set[Path] = set()
    for folder, wanted in by_folder.items():
        names = _files_in(folder)
        missing.update(path for path in wanted if path.name not in names)
    return missing


def _files_in(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def size_text(n_bytes: int) -> str:
    """Return a size for people: `3.2 GB`, `14 MB`."""
    if n_bytes >= 10**9:
        return f"{n_bytes / 10**9:.1f} GB"
    return f"{n_bytes / 10**6:.0f} MB" if n_bytes >= 10**7 else f"{n_bytes / 10**3:.0f} kB"


def content_hash(paths: Iterable[Path], root: Path, *, whole: int = _WHOLE, ends: int = _ENDS) -> str:
    """Return 16 hexadecimal digits that change with the content of files below `root`, whatever their dates.

    Large files count by size, beginning and end: the tables of an MP4 or parquet file stand at its end and change
    with nearly every change of the content, so that terabytes need not be read.

    Args:
        paths: Files below `root`.
        root: Of the data set.
        whole: Largest size [bytes] of a file that is read as a whole; at least `ends`.
        ends: What is read of both ends of a larger one [bytes].
    """
    digest = blake2b(digest_size=8)
    for path in sorted(paths):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(root).as_posix()} {size}\n".encode())
        with path.open("rb") as file:
            if size <= whole:
                digest.update(file.read())
            else:
                digest.update(file.read(ends))
                file.seek(-ends, os.SEEK_END)
                digest.update(file.read(ends))
    return digest.hexdigest()
