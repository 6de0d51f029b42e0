"""Between a LeRobot robot's dictionaries and a policy's vectors, by name; LeRobot itself is not needed.

A robot of LeRobot 0.6 says `{"shoulder_pan.pos": -3.2, ..., "overhead": picture}` and is told
`{"shoulder_pan.pos": -2.9, ...}`. Numbers keep the unit that they were recorded in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from foreact_runtime.errors import ActionError, ObservationError, unknown_name
from foreact_runtime.keys import ENVIRONMENT_STATE, STATE, depth_key, image_key
from foreact_runtime.records import Features


def observation_of(
    seen: Mapping[str, Any], features: Features, *, coordinates: Sequence[float] | None = None
) -> dict[str, np.ndarray]:
    """Return a robot's observation in the policy's keys.

    Args:
        seen: What `robot.get_observation()` returned: a number a joint, a uint8 (H, W, 3) picture a camera and, for
            RGB-D, `<camera>_depth`, uint16 in millimetres as LeRobot's cameras give it, or float in metres,
            (H, W) or (H, W, 1). What the policy does not use is left out.
        features: `policy.features`.
        coordinates: Where to act (E,), for a policy that is told; a robot does not say it itself.

    Raises:
        ObservationError: If the robot lacks a joint or a camera. Shapes and types are checked by `act`.
    """
    observation = {}
    if features.state_names:
        observation[STATE] = np.array([_get(seen, name, "joint") for name in features.state_names], np.float32)
    if coordinates is not None:
        observation[ENVIRONMENT_STATE] = np.array(coordinates, np.float32)
    for camera in features.cameras:
        observation[image_key(camera.name)] = np.asarray(_get(seen, camera.name, "camera"))
        if camera.depth_range is not None:
            observation[depth_key(camera.name)] = _metres(_get(seen, f"{camera.name}_depth", "depth camera"))
    return observation


def action_of(action: np.ndarray, features: Features, known: Iterable[str]) -> dict[str, float]:
    """Return an action (A,) as `robot.send_action` takes it.

    Args:
        action: What `act` returned.
        features: `policy.features`.
        known: `robot.action_features`. A name that is none of them would not move anything, and LeRobot's SO-101
            says nothing of it.

    Raises:
        ActionError: If the robot knows one of the names not.
    """
    choices = set(known)
    for name in features.action_names:
        if name not in choices:
            raise ActionError(
                f"the robot cannot be told what the policy decides: {unknown_name('joint', name, choices)}"
            )
    return dict(zip(features.action_names, action.tolist(), strict=True))


def _get(seen: Mapping[str, Any], name: str, kind: str) -> Any:
    if name not in seen:
        raise ObservationError(f"the robot lacks what the policy was trained on: {unknown_name(kind, name, seen)}")
    return seen[name]


def _metres(depth: Any) -> np.ndarray:
    depth = np.asarray(depth)
    depth = depth[..., 0] if depth.ndim == 3 else depth
    return depth / np.float32(1000) if depth.dtype.kind in "iu" else depth.astype(np.float32)
