"""The one place where pictures are resized and cropped, so that training, cache and robot see the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from foreact.errors import ConfigError
from foreact.records import Batch
from foreact_runtime.resize import rounded_sums, weights, whole


def resize_frames(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Return pictures resized with antialiased bilinear interpolation, of the same dtype.

    Args:
        frames: (B, C, H, W), uint8 colour or float depth.
        size: Height and width wanted; the aspect ratio is not kept. Equal to (H, W) changes nothing.
    """
    if frames.shape[-2:] == size:
        return frames
    if torch.compiler.is_compiling():
        return _resized_by_products(frames, size)
    return resize(frames, list(size), interpolation=InterpolationMode.BILINEAR, antialias=True)


def _resized_by_products(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """The same with standard operators, for networks that are exported: products with the weights of each axis.

    Colours come out bit for bit as with torchvision where a side shrinks to no less than a quarter. Beyond that the
    sums do not fit in a float, and a few pixels in a hundred thousand differ by 1.
    """
    down, across = (weights(before, after) for before, after in zip(frames.shape[-2:], size, strict=True))
    if frames.dtype != torch.uint8:
        columns = frames @ torch.from_numpy(across).to(frames).mT
        return (columns.mT @ torch.from_numpy(down).to(frames).mT).mT
    columns = rounded_sums(frames.float() @ torch.from_numpy(whole(across)).mT, across)
    rows = columns.mT @ torch.from_numpy(whole(down)).mT  # NNCF takes no product whose first factor is a constant
    return rounded_sums(rows.mT, down).to(torch.uint8)


def random_crop(batch: Batch, size: tuple[int, int] | None, generator: torch.Generator) -> Batch:
    """Return the batch with each picture cropped at a random place.

    One place is drawn a sample, as a share of the room there is, and used for all its cameras, depth and maps.

    Args:
        batch: Raw.
        size: Height and width wanted; None crops nothing.
        generator: On the CPU; the same state gives the same crops.

    Raises:
        ConfigError: If a picture is smaller than the crop.
    """
    if size is None or not batch.images:
        return batch
    place = torch.rand((batch.size, 2), generator=generator)

    def crop(pictures: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {camera: _crop_at(picture, size, place, camera) for camera, picture in pictures.items()}

    return replace(batch, images=crop(batch.images), depth=crop(batch.depth), cue_maps=crop(batch.cue_maps))


def center_crop(batch: Batch, size: tuple[int, int] | None) -> Batch:
    """Return the batch with each picture cropped to its centre; see `random_crop`."""
    if size is None or not batch.images:
        return batch

    def crop(pictures: Mapping[str, Tensor]) -> dict[str, Tensor]:
        cropped = {}
        for camera, picture in pictures.items():
            top, left = (room // 2 for room in _room(picture, size, camera))
            cropped[camera] = picture[..., top : top + size[0], left : left + size[1]]
        return cropped

    return replace(batch, images=crop(batch.images), depth=crop(batch.depth), cue_maps=crop(batch.cue_maps))


def _room(picture: Tensor, size: tuple[int, int], camera: str) -> tuple[int, int]:
    height, width = picture.shape[-2:]
    if height < size[0] or width < size[1]:
        raise ConfigError(
            f"policy.crop_size {size[0]}x{size[1]} is larger than the pictures of camera '{camera}', {height}x{width}"
        )
    return height - size[0], width - size[1]


def _crop_at(picture: Tensor, size: tuple[int, int], place: Tensor, camera: str) -> Tensor:
    """Crop each of (B, C, H, W) at its own place, shares in [0, 1) of the room, (B, 2)."""
    room = torch.tensor(_room(picture, size, camera))
    offset = (place * (room + 1)).long().to(picture.device)
    rows = offset[:, :1] + torch.arange(size[0], device=picture.device)  # (B, h)
    columns = offset[:, 1:] + torch.arange(size[1], device=picture.device)  # (B, w)
    sample = torch.arange(len(picture), device=picture.device)[:, None, None]
    # Indices around a slice put their axes first: (B, h, w, C).
    return picture[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
