"""BEHAVIOR-1K demonstrations of the R1Pro, 2025 and 2026, with the state and action of the preset `r1pro`.

The files are LeRobotDatasets (v2.1 with own paths in 2025, v3.0 in 2026), so LeRobot's readers read them. Three things
are said wrongly or not at all by their info.json, and are set right here: which numbers are the state, what the cameras
are called, and how depth was coded (FORMATS.md 4, 5.6, 5.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foreact.data.lerobot_info import (
    INFO,
    CameraFeature,
    DatasetInfo,
    DepthCode,
    check_specs,
    load_json,
    named_sizes,
    parse_info,
)
from foreact.data.lerobot_source import LeRobotSource
from foreact.data.lerobot_v2 import read_v2_episodes
from foreact.data.lerobot_v3 import read_v3_episodes
from foreact.data.r1pro import ACTION_NAMES, STATE_NAMES, check_proprioception, select_state
from foreact.errors import DataError
from foreact.presets import R1PRO_ACTION, R1PRO_STATE
from foreact.records import Camera, Episode
from foreact_runtime import keys

CAMERAS = ("left_wrist", "right_wrist", "head")
"""What the cameras are called here, in il_lib's order."""
DEPTH_RANGE = (0.0, 10.0)
"""Metres; one for both years, so that they can be mixed, although codes of 2026 begin at 0.01 m."""


@dataclass(frozen=True, kw_only=True)
class _Year:
    """What sets one challenge's files apart from the other's."""

    colour: Mapping[str, str]
    """Feature key by camera."""
    depth: Mapping[str, str]
    depth_code: DepthCode


_LINKS_2026 = {
    "left_wrist": "left_realsense_link_camera_0",
    "right_wrist": "right_realsense_link_camera_0",
    "head": "zed_link_camera_0",
}
_YEARS = (
    _Year(
        colour={camera: f"observation.images.rgb.{camera}" for camera in CAMERAS},
        depth={camera: f"observation.images.depth.{camera}" for camera in CAMERAS},
        # 14 bits that were written as 16, then stored in 10: about 220 steps of depth are left, 1.3 cm off on average.
        depth_code=DepthCode(near=0.0, max_code=16383, pixel_format="gray16le"),
    ),
    _Year(
        colour={camera: f"observation.rgb.{_LINKS_2026[camera]}" for camera in CAMERAS},
        depth={camera: f"observation.depth_linear.{_LINKS_2026[camera]}" for camera in CAMERAS},
        depth_code=DepthCode(),
    ),
)


def is_behavior(content: Mapping[str, Any]) -> bool:
    """Whether an info.json is BEHAVIOR-1K's: an R1Pro's 23 actions, and a camera of the names that only it has.

    A converted set has the 37 numbers of the state already and is like any other.
    """
    specs = content.get("features")
    if not isinstance(specs, Mapping):
        return False
    action, state = (_shape(specs.get(key)) for key in (keys.ACTION, keys.STATE))
    return (
        action == [len(ACTION_NAMES)]
        and len(state) == 1
        and state != [len(STATE_NAMES)]
        and any(key in specs for year in _YEARS for key in year.colour.values())
    )


def _shape(spec: Any) -> list[Any]:
    shape = spec.get("shape") if isinstance(spec, Mapping) else None
    return shape if isinstance(shape, list) else []


class BehaviorSource(LeRobotSource):
    """An `EpisodeSource` over a folder of `2025-challenge-demos` or `2026-challenge-demos`, or a part of it.

    State (37) and action (23) are those of the preset `r1pro`, the cameras `left_wrist`, `right_wrist` and `head`, with
    depth in metres. Pictures of instance ids are left out, and so is the task's own vector of 2025, which tells where
    things are. The cameras move with arms and torso, so they are not calibrated.

    Key frames are 250 frames apart in 2025, 8 in 2026: read the pictures of an episode in order, which decodes each of
    them once. For the rest see `LeRobotSource`.
    """

    def __init__(self, root: str | Path) -> None:
        """Read the metadata.

        Raises:
            DataError: Like `LeRobotV2Source` and `LeRobotV3Source`, or if the proprioception is of neither challenge.
        """
        root = Path(root)
        info = _read_info(root)
        read_episodes = read_v3_episodes if info.version.startswith("v3.") else read_v2_episodes
        super().__init__(root, info, read_episodes(root, info))
        self.features = replace(
            self.features,
            state_names=STATE_NAMES,
            action_names=ACTION_NAMES,
            state_groups=R1PRO_STATE,
            action_groups=R1PRO_ACTION,
        )

    def episode(self, index: int) -> Episode:
        """Return an episode with state (L, 37) and action (L, 23); raises DataError where it is damaged."""
        recorded = super().episode(index)
        assert recorded.state is not None
        return replace(recorded, state=select_state(recorded.state))


def _read_info(root: Path) -> DatasetInfo:
    """What info.json says, set right: cameras by our names, their axes and depth's code."""
    path = root / INFO
    content = load_json(path)
    if not is_behavior(content):
        raise DataError(f"'{path}' is not that of a BEHAVIOR-1K set of an R1Pro; open it with open_source")
    specs: Mapping[str, Any] = content["features"]
    check_specs(specs, path)
    check_proprioception(specs[keys.STATE]["shape"][0], f"'{keys.STATE}' of '{path}'")
    year = next(year for year in _YEARS if any(key in specs for key in year.colour.values()))
    colour = {camera: key for camera, key in year.colour.items() if key in specs}
    depth = {camera: key for camera, key in year.depth.items() if key in specs and camera in colour}
    pictures = {key: _picture(specs[key], key, path) for key in colour.values()}
    depths = {key: _depth(specs[key], key, path, year.depth_code) for key in depth.values()}
    others = {key: spec for key, spec in specs.items() if _is_number(spec)}
    info = parse_info({**content, "features": {**others, **pictures, **depths}}, path)
    by_key = {feature.key: feature for feature in (*info.cameras.values(), *info.depth.values())}
    cameras = {camera: by_key[key] for camera, key in colour.items()}
    seen = tuple(
        Camera(
            name=camera,
            height=feature.height,
            width=feature.width,
            depth_range=DEPTH_RANGE if camera in depth else None,
        )
        for camera, feature in cameras.items()
    )
    return replace(
        info,
        cameras=cameras,
        depth={camera: _coded(by_key[key], year.depth_code) for camera, key in depth.items()},
        features=replace(info.features, cameras=seen),
    )


def _is_number(spec: Mapping[str, Any]) -> bool:
    return spec.get("dtype") not in ("video", "image")


def _picture(spec: Mapping[str, Any], key: str, path: Path, channels: int = 3) -> dict[str, Any]:
    """A camera's description as LeRobot's; 2025 calls the last axis `rgb` or `depth` and gives both 3 channels."""
    sizes = named_sizes(spec)
    if not {"height", "width"} <= sizes.keys():
        raise DataError(
            f"feature '{key}' of '{path}' has shape {spec.get('shape')} with names {spec.get('names')}; "
            "expected height and width among them; correct it there"
        )
    shape = [sizes["height"], sizes["width"], channels]
    return {**spec, "shape": shape, "names": ["height", "width", "channels"]}


def _depth(spec: Mapping[str, Any], key: str, path: Path, code: DepthCode) -> dict[str, Any]:
    declared = {"video.depth_min": code.near, **(spec.get("info") or {}), "is_depth_map": True}
    return {**_picture(spec, key, path, channels=1), "info": declared}


def _coded(feature: CameraFeature, year: DepthCode) -> CameraFeature:
    """With the map that was declared, and with what is never declared."""
    code = replace(feature.depth_code or year, max_code=year.max_code, pixel_format=year.pixel_format)
    return replace(feature, depth_code=code)
