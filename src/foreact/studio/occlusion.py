"""Where the policy looks, by intervention: cover a patch of a picture, and see how far the predicted path moves."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from foreact.errors import ObservationError
from foreact.policy.hand import Hand
from foreact.studio.shelf import SharedPolicy
from foreact_runtime.keys import image_key

PATCHES = 8
"""Along each side of the picture."""


def occlusion(
    policy: SharedPolicy, hand: Hand, observation: Mapping[str, np.ndarray], camera: str, patches: int = PATCHES
) -> np.ndarray | None:
    """Return how far the path moves for each covered patch (patches, patches) [m], the mean over the chunk's steps.

    A patch is covered by the picture's mean colour, so that only what it shows is lost.

    Args:
        policy: What is asked.
        hand: Its arm's.
        observation: What it saw.
        camera: Whose picture is covered.
        patches: Along each side.

    Returns:
        None where the hand's path is not known.

    Raises:
        ObservationError: If the policy does not see that camera.
    """
    key = image_key(camera)
    if key not in observation:
        raise ObservationError(f"the policy does not look through camera '{camera}'")
    picture = np.asarray(observation[key])
    mean = picture.reshape(-1, 3).mean(axis=0).astype(np.uint8)
    rows, columns = (np.linspace(0, size, patches + 1).round().astype(int) for size in picture.shape[:2])
    seen = [dict(observation)]
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            covered = picture.copy()
            covered[top:bottom, left:right] = mean
            seen.append({**observation, key: covered})
    paths = hand.path(policy.predict_chunks(seen))
    if paths is None:
        return None
    moved = np.linalg.norm(paths[1:] - paths[0], axis=-1).mean(axis=1)
    return moved.reshape(patches, patches)
