"""A policy whose predictions are kept for people to see."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foreact.sim.delayed import OuterPolicy, PredictingPolicy
from foreact_runtime.keys import image_key
from foreact_runtime.observation import Observation


class NotedPolicy(OuterPolicy):
    """A policy that also tells what it predicted, and from what."""

    def __init__(self, policy: PredictingPolicy, note: Callable[[Observation, np.ndarray], None]) -> None:
        """Take the policy, and what is called with each observation and its chunk."""
        super().__init__(policy)
        self._note = note

    def predict_chunk(self, observation: Observation) -> np.ndarray:
        """Return the chunk (T, C) that begins with an observation."""
        seen = {key: np.array(observation[key]) for key in self._keys(observation)}
        chunk = self._policy.predict_chunk(seen)
        self._note(seen, chunk)
        return chunk

    def _keys(self, observation: Observation) -> list[str]:
        """Only pictures that the policy looks at are rendered."""
        cameras = {image_key(camera.name) for camera in self._policy.features.cameras}
        return [key for key in observation if key in cameras or not key.startswith(image_key(""))]
