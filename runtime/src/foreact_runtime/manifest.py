"""A directory that is whole or refused: its manifest, written last, holds the SHA-256 of every file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from foreact_runtime.errors import CheckpointError

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


def check_directory(path: Path) -> frozenset[str]:
    """Compare every file of a checkpoint or a bundle with the manifest, and return the names of those that are in it.

    Raises:
        CheckpointError: If the manifest or a file is missing, or a file was altered; the message names it.
    """
    manifest = path / MANIFEST
    if not manifest.exists():
        raise CheckpointError(f"'{path}' has no {MANIFEST}: it was not completely written")
    content = read_json(manifest)
    if content.get("schema_version") != SCHEMA_VERSION:
        raise CheckpointError(
            f"'{path}' has schema version {content.get('schema_version')}, this foreact reads {SCHEMA_VERSION}"
        )
    digests = content.get("sha256")
    if not isinstance(digests, dict):
        raise CheckpointError(f"'{manifest}' does not say the files' SHA-256; copy the whole directory again")
    for name, digest in digests.items():
        if not (path / name).is_file():
            raise CheckpointError(f"'{path}' lacks '{name}'; copy the whole directory again")
        if sha256(path / name) != digest:
            raise CheckpointError(f"file '{path / name}' was altered or damaged (its SHA-256 is not the manifest's)")
    return frozenset(digests)


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read '{path}': {error.strerror}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return a file's JSON object.

    Raises:
        CheckpointError: If it cannot be read or is none.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read '{path}': {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"cannot read '{path}': it holds no JSON object")
    return content
