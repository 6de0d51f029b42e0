"""ALOHA's HDF5 episodes as ACT's and ACT++'s recorders leave them, every number and picture of them known."""

from pathlib import Path

import cv2
import h5py
import numpy as np

LENGTHS = {0: 9, 2: 12, 10: 7}
"""Gaps, and an order by number that differs from that of the names."""
CAMERAS = ("cam_high", "cam_left_wrist")
SIZE = (32, 48)


def pictures_of(number: int, camera: int, length: int) -> np.ndarray:
    """Smooth, so that a JPEG keeps them, red on the left and blue on the right; brighter from frame to frame."""
    frames = np.zeros((length, *SIZE, 3), np.uint8)
    across = np.linspace(0, 150, SIZE[1]).astype(np.uint8)
    frames[..., 0] = across[::-1]
    frames[..., 1] = 20 * camera + 5 * (number % 4)
    frames[..., 2] = across
    return frames + np.arange(length, dtype=np.uint8)[:, None, None, None] * 5


def compressed(pictures: np.ndarray, order: str) -> tuple[np.ndarray, np.ndarray]:
    """As ACT++ records them: OpenCV is handed the array; or with its channels turned, as OpenCV means it."""
    handed = pictures if order == "as it is" else pictures[..., ::-1]
    rows = [cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])[1].ravel() for picture in handed]
    lengths = np.array([len(row) for row in rows])
    padded = np.zeros((len(rows), lengths.max()), np.uint8)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded, lengths


def vectors_of(number: int, length: int, dim: int = 14) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    return {name: rng.normal(size=(length, size)) for name, size in (("qpos", dim), ("action", dim), ("base", 2))}


def write_episode(
    path: Path,
    number: int = 0,
    length: int = 8,
    *,
    sim: bool | None = True,
    order: str | None = None,
    base: bool = False,
    depth: np.ndarray | None = None,
    dim: int = 14,
) -> None:
    """As ACT's `record_sim_episodes.py` and ALOHA's `record_episodes.py` write it."""
    vectors = vectors_of(number, length, dim)
    with h5py.File(path, "w") as file:
        if sim is not None:
            file.attrs["sim"] = sim
        file.attrs["compress"] = order is not None
        observations = file.create_group("observations")
        images = observations.create_group("images")
        sizes = []
        for camera, name in enumerate(CAMERAS):
            pictures = pictures_of(number, camera, length)
            if order is not None:
                pictures, row_sizes = compressed(pictures, order)
                sizes.append(row_sizes)
            images.create_dataset(name, data=pictures, chunks=(1, *pictures.shape[1:]))
        if sizes:
            file.create_dataset("compress_len", data=np.array(sizes))
        if depth is not None:
            observations.create_dataset(f"images_depth/{CAMERAS[0]}", data=depth)
        observations.create_dataset("qpos", data=vectors["qpos"].astype("f4"))
        observations.create_dataset("qvel", data=np.zeros((length, dim), "f4"))
        file.create_dataset("action", data=vectors["action"].astype("f4"))
        if base:
            file.create_dataset("base_action", data=vectors["base"].astype("f4"))


def write(root: Path, **options: object) -> Path:
    root.mkdir()
    for number, length in LENGTHS.items():
        write_episode(root / f"episode_{number}.hdf5", number, length, **options)  # type: ignore[arg-type]
    return root
