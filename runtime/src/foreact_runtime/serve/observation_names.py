"""What a client calls its observations, to what the policy calls them (FORMATS.md 5.4).

Known are the names of BEHAVIOR-1K's evaluators and those of openpi's clients, which write `/` where LeRobot writes `.`;
for all others there is a table of the user's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from foreact_runtime import keys
from foreact_runtime.errors import ConfigError, ObservationError, unknown_name
from foreact_runtime.r1pro import PLACES, STATE_DIM, state_of
from foreact_runtime.records import Features

_CAMERAS = {
    "zed_link": ("head", "zed", "zed_link_camera_0"),
    "left_realsense_link": ("left_wrist", "left_realsense", "left_realsense_link_camera_0"),
    "right_realsense_link": ("right_wrist", "right_realsense", "right_realsense_link_camera_0"),
}
"""The R1Pro's cameras: by the link that the evaluator names, what policies call them. The first are those of BEHAVIOR's
data of 2025 and of `foreact convert`, the last those of 2026."""
_PROPRIOCEPTION = "::proprio"
_CHANNELS = (3, 4)
"""Of a picture: RGB or RGBA."""


class ObservationNames:
    """Translates what one policy's clients send."""

    def __init__(self, features: Features, rename: Mapping[str, str] | None = None) -> None:
        """Take the policy's features and the user's table, from the client's key to the policy's.

        A nested key of the client's is written with `/` between its parts.

        Raises:
            ConfigError: If the table names a key that the policy does not read.
        """
        self._features = features
        self._rename = dict(rename or {})
        self._ours = dict(_wanted(features))
        for ours in self._rename.values():
            if ours not in self._ours:
                raise ConfigError(unknown_name("key of the policy in the table of names", ours, self._ours))
        self._aliases = {alias: ours for ours, aliases in self._ours.items() for alias in aliases}

    def translate(self, received: Mapping[str, Any]) -> dict[str, Any]:
        """Return an observation in the policy's keys; what it does not use stays as it was sent.

        A key that is the policy's own already goes before another that means the same, and the user's table before
        both. A picture whose channels come first, as openpi's ALOHA example sends them, is turned round; of one with
        four channels, RGBA, the fourth is left out.

        Raises:
            ObservationError: If the proprioception is of another robot or of two.
        """
        flat = dict(_flat(received))
        observation = dict(flat)
        for theirs, value in flat.items():
            ours = self._aliases.get(theirs)
            if ours is not None:
                observation.setdefault(ours, value)
        for ours, value in self._of_behavior(flat):
            observation.setdefault(ours, value)
        for theirs, ours in self._rename.items():
            if theirs in flat:
                observation[ours] = flat[theirs]
        for camera in self._features.cameras:
            key = keys.image_key(camera.name)
            if key in observation:
                observation[key] = _without_alpha(_channels_last(observation[key]))
        return observation

    def _of_behavior(self, flat: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """What the R1Pro's keys mean: its prefix is whatever stands before `::proprio`."""
        found = [key for key in flat if key.endswith(_PROPRIOCEPTION)]
        if not found:
            return
        if len(found) > 1:
            raise ObservationError(f"the observation has two robots, '{found[0]}' and '{found[1]}'; send one")
        if self._features.state_dim:
            yield keys.STATE, self._state(flat[found[0]], found[0])
        prefix = re.escape(found[0].removesuffix(_PROPRIOCEPTION))
        camera_key = re.compile(rf"{prefix}::(?:{prefix}:)?(\w+_link)[:_][Cc]amera[:_]0::(rgb|depth_linear)")
        names = {camera.name for camera in self._features.cameras}
        for key, value in flat.items():
            match = camera_key.fullmatch(key)
            if match is not None:
                ours = next((name for name in _CAMERAS.get(match[1], ()) if name in names), None)
                if ours is not None:
                    yield (keys.image_key(ours) if match[2] == "rgb" else keys.depth_key(ours)), value

    def _state(self, proprioception: Any, key: str) -> np.ndarray:
        """The whole proprioception where the policy was trained on it, else il_lib's 37 numbers of it."""
        value = np.asarray(proprioception)
        if value.shape == (self._features.state_dim,):
            return value
        lengths = " or ".join(str(length) for length in PLACES)
        if value.ndim != 1 or len(value) not in PLACES or value.dtype.kind not in "fiu":
            raise ObservationError(f"'{key}' has shape {value.shape}, dtype {value.dtype}; expected {lengths} floats")
        if self._features.state_dim != STATE_DIM:
            raise ObservationError(
                f"'{key}' is an R1Pro's proprioception, but the policy's state has {self._features.state_dim} numbers, "
                f"not {STATE_DIM}; is it another robot's policy?"
            )
        return state_of(value)


def _wanted(features: Features) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each key that the policy reads, with what else it may be called."""
    plain = [keys.STATE] if features.state_dim else []
    plain += [keys.ENVIRONMENT_STATE] if features.environment_dim else []
    for camera in features.cameras:
        plain.append(keys.image_key(camera.name))
        if camera.depth_range is not None:
            plain.append(keys.depth_key(camera.name))
    for key in plain:
        _, kind, *name = key.split(".", 2)
        short = "/".join([kind, *name])
        yield key, (f"observation/{short}", short)
    for group in features.state_groups:
        yield group.key, (f"observation/{group.key}",)


def _flat(received: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in received.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def _channels_last(value: Any) -> Any:
    """A picture (C, H, W) as (H, W, C); where either end may be the channels, they are the last."""
    is_picture = isinstance(value, np.ndarray) and value.ndim == 3 and value.dtype == np.uint8
    is_turned = is_picture and value.shape[2] not in _CHANNELS and value.shape[0] in _CHANNELS
    return value.transpose(1, 2, 0) if is_turned else value


def _without_alpha(value: Any) -> Any:
    is_rgba = isinstance(value, np.ndarray) and value.ndim == 3 and value.shape[2] == 4
    return value[..., :3] if is_rgba else value
