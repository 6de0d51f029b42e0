"""Raw observations of one or several robots to a raw batch of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from foreact.data.images import resize_frames
from foreact.records import Batch, Features
from foreact_runtime.observation import Observation, read_observation


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
    images, depth = {}, {}
    for camera in features.cameras:
        size = (camera.height, camera.width)
        pictures = [torch.from_numpy(of.images[camera.name]).permute(2, 0, 1) for of in seen]
        images[camera.name] = torch.cat([resize_frames(picture[None], size) for picture in pictures])
        if camera.depth_range is not None:
            maps = [torch.from_numpy(of.depth[camera.name])[None, None] for of in seen]
            depth[camera.name] = torch.cat([resize_frames(of, size) for of in maps])
    return Batch(
        images=images,
        depth=depth,
        state=_stack([of.state for of in seen]),
        environment_state=_stack([of.environment_state for of in seen]),
    )


def _stack(vectors: list[np.ndarray | None]) -> torch.Tensor | None:
    known = [vector for vector in vectors if vector is not None]
    return torch.from_numpy(np.stack(known)) if known else None
