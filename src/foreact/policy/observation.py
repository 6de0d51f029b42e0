"""Raw observations of one or several robots to a raw batch of tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from foreact.data.images import resize_frames
from foreact.records import Batch, Features
from foreact_runtime import keys
from foreact_runtime.observation import Observation, Observed, read_observation


def read_observations(observations: Sequence[Observation], features: Features, *, resize_images: bool = False) -> Batch:
    """Return a raw batch of B observations, their pictures resized as in training.

    Args:
        observations: Each as `foreact_runtime.observation.read_observation` takes it.
        features: What the policy was trained on.
        resize_images: Accept pictures of another size than the recorded one and resize them too.

    Raises:
        ObservationError: If a key is missing or a value has the wrong shape, type, size or is not finite.
    """
    seen = [read_observation(item, features, any_size=resize_images) for item in observations]
    return joined([raw_batch(tensors_of(of), features) for of in seen])


def tensors_of(seen: Observed) -> dict[str, Tensor]:
    """Return what was observed as tensors by key: vectors (D,), pictures uint8 (H, W, 3), depth float32 (H, W)."""
    arrays = {keys.STATE: seen.state, keys.ENVIRONMENT_STATE: seen.environment_state}
    arrays |= {keys.image_key(name): image for name, image in seen.images.items()}
    arrays |= {keys.depth_key(name): depth for name, depth in seen.depth.items()}
    return {key: torch.from_numpy(array) for key, array in arrays.items() if array is not None}


def raw_batch(of: Mapping[str, Tensor], features: Features) -> Batch:
    """Return one observation's tensors (`tensors_of`) as a raw batch of size 1, its pictures resized as in training."""
    images, depth = {}, {}
    for camera in features.cameras:
        size = (camera.height, camera.width)
        images[camera.name] = resize_frames(of[keys.image_key(camera.name)].permute(2, 0, 1)[None], size)
        if camera.depth_range is not None:
            depth[camera.name] = resize_frames(of[keys.depth_key(camera.name)][None, None], size)
    vectors = {key: of[key][None] for key in (keys.STATE, keys.ENVIRONMENT_STATE) if key in of}
    return Batch(
        images=images,
        depth=depth,
        state=vectors.get(keys.STATE),
        environment_state=vectors.get(keys.ENVIRONMENT_STATE),
    )


def joined(batches: Sequence[Batch]) -> Batch:
    """Return raw batches of observations as one."""

    def together(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def vector(parts: Sequence[Tensor | None]) -> Tensor | None:
        known = [part for part in parts if part is not None]
        return torch.cat(known) if known else None

    return Batch(
        images=together([batch.images for batch in batches]),
        depth=together([batch.depth for batch in batches]),
        state=vector([batch.state for batch in batches]),
        environment_state=vector([batch.environment_state for batch in batches]),
    )
