"""From a raw batch to what the network sees, the same for training, simulation, server and robot.

raw batch -> crops around the cue, maps of the cue -> hand's frame -> normalised batch
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foreact.config import PolicyConfig
from foreact.data.images import center_crop, random_crop, resize_frames
from foreact.data.statistics import statistics_of
from foreact.errors import ConfigError, unknown_name
from foreact.geometry.object_frame import HandPose, ObjectFrame, check_gripper, check_joints
from foreact.geometry.projection import Pose, plane_points, project
from foreact.geometry.recorded_pose import RecordedHandPose
from foreact.normalizer import Normalizer
from foreact.records import Batch, Camera, Features, Statistics
from foreact_runtime import keys

_log = logging.getLogger(__name__)

CUE_DIM = 2
"""The first coordinates are the cue's x and y [m]."""
IN_PICTURES = frozenset({"crop", "heatmap", "world"})
"""Ways of conditioning that need to know where a camera sees the cue."""

CellMiddles = Callable[[], Mapping[str, Tensor]]
"""Where in its picture each cell of a feature map looks, by the camera's name: `ACT.cell_middles`."""
_Hand = HandPose | RecordedHandPose


def view_name(camera: str) -> str:
    """Return the name of a camera's crop around the cue."""
    return f"{camera}@cue"


def network_features(config: PolicyConfig, features: Features) -> Features:
    """Return what the network takes and gives, of features selected from the data.

    Crops around the cue are cameras of their own; `frame` gives state, coordinates and actions other dimensions.

    Raises:
        ConfigError: If a way of conditioning needs what the features lack.
    """
    seen = _network_features(config, features)
    if (left_out := _left_out(config, features)) is not None:
        _log.warning("%s", left_out)
    return seen


def why_not(config: PolicyConfig, features: Features) -> str | None:
    """Return what the features lack for the policy's ways of conditioning, as an error says it; None where nothing."""
    try:
        _network_features(config, features)
    except ConfigError as error:
        return str(error)
    return None


def _network_features(config: PolicyConfig, features: Features) -> Features:
    _check(config, features)
    ways, cropped, full = _ways(config, features), _cropped(config, features), _beside_crops(config, features)
    cameras = []
    for camera in features.cameras:
        if camera.name not in cropped or camera.name in full:
            own = _beside(config, camera) if camera.name in cropped else (camera.height, camera.width)
            size = config.crop_size or own
            cameras.append(replace(camera, height=size[0], width=size[1], cue_map="heatmap" in ways))
    for camera in features.cameras:
        if camera.name in cropped:
            side = _side(config, camera)
            view = replace(camera, name=view_name(camera.name), view_of=camera.name, height=side, width=side)
            cameras.append(replace(view, cue_map="heatmap" in ways))
    seen = replace(features, cameras=tuple(cameras))
    return ObjectFrame.features(seen) if "frame" in ways else seen


class Inputs(nn.Module):
    """Prepares raw batches for the network and reads its predictions."""

    def __init__(self, config: PolicyConfig, features: Features, statistics: Statistics) -> None:
        """Put the parts together.

        Args:
            config: The policy's.
            features: As selected from the data.
            statistics: Of what the network sees (`network_statistics`).

        Raises:
            ConfigError: If configuration, features and statistics do not fit each other.
        """
        super().__init__()
        self._config = config
        self.features = features
        self._ways = _ways(config, features)
        self.network_features = network_features(config, features)
        self.normalizer = Normalizer(config, self.network_features, statistics)
        self.frame = ObjectFrame(features) if "frame" in self._ways else None
        self._hand = hand_pose(features)
        self._cropped = _cropped(config, features)
        self._beside_crops = _beside_crops(config, features)

    def prepare(self, batch: Batch, *, crop_seed: int | None = None, cells: CellMiddles | None = None) -> Batch:
        """Return a raw batch as the network takes it.

        Args:
            batch: Raw, on the device of this module.
            crop_seed: Of the places of random crops (training); None crops the middle.
            cells: Asked with `world` alone.
        """
        with torch.autocast(self.normalizer.get_buffer("image_mean").device.type, enabled=False):
            return self._prepare(batch, crop_seed, cells)

    def _prepare(self, batch: Batch, crop_seed: int | None, cells: CellMiddles | None) -> Batch:
        """In full precision: in bf16 a hand would be millimetres off."""
        pixels, hand = self._cue_pixels(batch)
        batch = self._with_maps(batch, pixels)
        views = self._views(batch, pixels)
        batch = self._beside_views(batch)
        size = self._config.crop_size
        if crop_seed is None:
            batch = center_crop(batch, size)
        else:
            batch = random_crop(batch, size, torch.Generator().manual_seed(crop_seed))
        batch = _merge(batch, views, {camera.name for camera in self.network_features.cameras})
        points = {}
        if "world" in self._ways:
            assert cells is not None
            points = self._cell_points(batch, pixels, hand, cells())
        state, maps = batch.state, batch.cue_maps
        if self.frame is not None:
            batch = self.frame.encode(batch)
        batch = self.normalizer.normalize(replace(batch, cue_maps={}))
        images = {
            name: torch.cat([image, maps[name]], 1) if name in maps else image for name, image in batch.images.items()
        }
        return replace(batch, images=self._hidden(images, state), cell_points=points)

    def read_chunk(self, action_hat: Tensor, batch: Batch) -> Tensor:
        """Return predictions (B, T, A') as the executor takes them: actions, or with `frame` hand poses (B, T, C).

        Args:
            action_hat: The network's, normalised.
            batch: The raw batch that it was made from.
        """
        chunk = self.normalizer.unnormalize_action(action_hat)
        if self.frame is None:
            return chunk
        assert batch.state is not None
        return self.frame.decode(chunk, batch.state)

    def chunk_scale(self) -> Tensor:
        """Return what one normalised unit of the network's predictions is in each column of `read_chunk`, (C,)."""
        scale = self.normalizer.get_buffer("action_scale")
        return scale if self.frame is None else self.frame.chunk_scale(scale)

    def _cue_pixels(self, batch: Batch) -> tuple[dict[str, Tensor], Pose | None]:
        """Where each calibrated camera sees the cue (B, 2), far outside where it is behind it; and the hand's pose."""
        if not IN_PICTURES & self._ways:
            return {}, None
        assert batch.environment_state is not None
        hand = None
        if self._hand is not None:
            assert batch.state is not None
            hand = self._hand(batch.state)
        height = batch.environment_state.new_full((batch.size, 1), self.features.environment_height)
        cue = torch.cat([batch.environment_state[:, :CUE_DIM], height], dim=1)
        pixels = {}
        for camera in self.features.cameras:
            if is_placed(camera, self._hand):
                assert camera.calibration is not None
                at, in_front = project(camera.calibration, cue, (camera.height, camera.width), hand)
                pixels[camera.name] = torch.where(in_front[:, None], at, -10.0 * camera.width)
        return pixels, hand

    def _with_maps(self, batch: Batch, pixels: dict[str, Tensor]) -> Batch:
        if "heatmap" not in self._ways:
            return batch
        maps = {}
        for camera in self.features.cameras:
            shape = (batch.size, 1, camera.height, camera.width)
            if camera.name not in pixels:
                maps[camera.name] = torch.zeros(shape, device=self.normalizer.get_buffer("image_mean").device)
                continue
            column, row = pixels[camera.name].unbind(1)
            sigma = self._config.cue_map_sigma * camera.height
            columns = torch.arange(camera.width, device=column.device) + 0.5 - column[:, None]
            rows = torch.arange(camera.height, device=row.device) + 0.5 - row[:, None]
            square = rows[:, :, None] ** 2 + columns[:, None, :] ** 2
            maps[camera.name] = torch.exp(-square / (2 * sigma**2))[:, None]
        return replace(batch, cue_maps=maps)

    def _views(self, batch: Batch, pixels: dict[str, Tensor]) -> Batch:
        """The crops: pictures, depth and maps by the name of the view."""
        images, depth, maps = {}, {}, {}
        for camera in self.features.cameras:
            if camera.name not in self._cropped:
                continue
            grid = self._grid(camera, pixels[camera.name])
            view = view_name(camera.name)
            # Outside of the picture colours are the mean grey, so that they are 0 once normalised.
            grey = self.normalizer.get_buffer("image_mean") * 255
            images[view] = _sample(batch.images[camera.name].to(grey) - grey, grid) + grey
            if camera.name in batch.depth:
                depth[view] = _sample(batch.depth[camera.name], grid)
            if camera.name in batch.cue_maps:
                maps[view] = _sample(batch.cue_maps[camera.name], grid)
        return Batch(images=images, depth=depth, cue_maps=maps)

    def _beside_views(self, batch: Batch) -> Batch:
        """Full pictures beside a crop, made smaller."""
        images, depth, maps = dict(batch.images), dict(batch.depth), dict(batch.cue_maps)
        for camera in self.features.cameras:
            if camera.name not in self._beside_crops:
                continue
            size = _beside(self._config, camera)
            for of in (images, depth, maps):
                if camera.name in of:
                    of[camera.name] = resize_frames(of[camera.name], size)
        return replace(batch, images=images, depth=depth, cue_maps=maps)

    def _hidden(self, images: dict[str, Tensor], state: Tensor | None) -> dict[str, Tensor]:
        """Normalised pictures, full ones beside a crop 0 while the jaws are open where that is asked for.

        Exactly 0: a norm over a picture without contrast would make something of rounding errors.
        """
        if self.frame is None or self._config.cue_crop_full_when != "closed":
            return images
        assert state is not None
        shown = self.frame.closed(state)[:, None, None, None]
        beside = self._beside_crops
        return {name: torch.where(shown, of, 0.0) if name in beside else of for name, of in images.items()}

    def _grid(self, camera: Camera, pixel: Tensor) -> Tensor:
        """Where a crop's pixels are in the picture, in the units of `grid_sample` (B, side, side, 2)."""
        side = _side(self._config, camera)
        offset = torch.arange(side, device=pixel.device) + 0.5 - side / 2
        columns = pixel[:, None, None, 0] + offset[None, None, :]
        rows = pixel[:, None, None, 1] + offset[None, :, None]
        columns, rows = torch.broadcast_tensors(columns, rows)
        return torch.stack([2 * columns / camera.width - 1, 2 * rows / camera.height - 1], dim=-1)

    def _cell_points(
        self, batch: Batch, pixels: dict[str, Tensor], hand: Pose | None, cells: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The point of the coordinates' plane that each cell's middle looks at (B, h w, 2)."""
        points = {}
        origin = None
        if self.frame is not None:
            assert batch.state is not None
            origin = self.frame.hand(batch.state)[0][:, None, :2]
        for camera in self.network_features.cameras:
            source = next(of for of in self.features.cameras if of.name == (camera.view_of or camera.name))
            if source.name not in pixels or source.calibration is None:
                continue
            size = (source.height, source.width)
            middle = cells[camera.name].to(pixels[source.name])
            if camera.view_of is None:  # perhaps made smaller
                scale = middle.new_tensor([source.width / camera.width, source.height / camera.height])
                at = (middle * scale).expand(batch.size, -1, -1)
            else:
                at = pixels[source.name][:, None] + middle - camera.width / 2
            found = plane_points(source.calibration, at, size, self.features.environment_height, hand)
            points[camera.name] = found if origin is None else found - origin
        return points


def network_statistics(features: Features, vectors: Iterable[Batch]) -> Statistics:
    """Return statistics of what the network sees with the conditioning `frame`, in float64.

    Args:
        features: As selected from the data.
        vectors: Raw batches of all training samples without pictures.
    """
    frame = ObjectFrame(features)
    states: list[np.ndarray] = []
    parts: dict[str, list[Tensor]] = {}
    for batch in vectors:
        encoded = frame.encode(batch)
        assert batch.state is not None
        states.append(batch.state.numpy())
        assert encoded.action is not None
        assert encoded.action_is_pad is not None
        of = {keys.STATE: encoded.state, keys.ENVIRONMENT_STATE: encoded.environment_state}
        of[keys.ACTION] = encoded.action[~encoded.action_is_pad]
        for key, value in of.items():
            if value is not None:
                parts.setdefault(key, []).append(value)
    recorded = np.concatenate(states)
    check_joints(features, recorded)
    check_gripper(features, recorded)
    return {key: statistics_of([part.numpy() for part in of]) for key, of in parts.items()}


def cue_noise(batch: Batch, sigma: float, generator: torch.Generator) -> Batch:
    """Return the batch with Gaussian noise [m] added to the cue of each sample."""
    if sigma == 0 or batch.environment_state is None:
        return batch
    if batch.environment_state.shape[1] < CUE_DIM:
        raise ConfigError("train.cue_noise is for coordinates x and y [m], and the data have only one dimension")
    noise = sigma * torch.randn((batch.size, CUE_DIM), generator=generator)
    return with_cue(batch, batch.environment_state[:, :CUE_DIM] + noise.to(batch.environment_state))


def with_cue(batch: Batch, cue: Tensor) -> Batch:
    """Return a raw batch whose cue is another one (B, 2) [m]."""
    assert batch.environment_state is not None
    return replace(batch, environment_state=torch.cat([cue, batch.environment_state[:, CUE_DIM:]], dim=1))


def _merge(batch: Batch, views: Batch, wanted: set[str]) -> Batch:
    """Add the views and leave out the pictures that the network does not take."""

    def of(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in {**first, **second}.items() if name in wanted}

    return replace(
        batch,
        images=of(batch.images, views.images),
        depth=of(batch.depth, views.depth),
        cue_maps=of(batch.cue_maps, views.cue_maps),
    )


def _sample(pictures: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _beside(config: PolicyConfig, camera: Camera) -> tuple[int, int]:
    """Height and width of a camera's full picture beside its crop."""
    scale = config.cue_crop_full_scale
    return max(1, round(scale * camera.height)), max(1, round(scale * camera.width))


def _side(config: PolicyConfig, camera: Camera) -> int:
    return max(1, round(config.cue_crop * camera.height))


def is_placed(camera: Camera, hand: _Hand | None) -> bool:
    """Return whether it is known where a camera is, given what says where the hand is."""
    return camera.calibration is not None and (camera.calibration.mounted_on == "base" or hand is not None)


def _on_hand(features: Features) -> set[str]:
    return {c.name for c in features.cameras if c.calibration is not None and c.calibration.mounted_on == "hand"}


def hand_pose(features: Features) -> _Hand | None:
    """Return what says where the hand is, if a camera is on it: recorded where the state has that, else the joints."""
    if not _on_hand(features) or not features.state_names:
        return None
    if features.recorded_pose is not None:
        return RecordedHandPose(features.recorded_pose, features.state_names)
    if features.arm is None or not set(features.arm.joints) <= set(features.state_names):
        return None
    return HandPose(features.arm, features.state_names)


def _cropped(config: PolicyConfig, features: Features) -> tuple[str, ...]:
    """Cameras that are cropped around the cue."""
    if "crop" not in _ways(config, features):
        return ()
    hand = hand_pose(features)
    usable = [camera.name for camera in features.cameras if is_placed(camera, hand)]
    if config.cue_crop_cameras is None:
        on_hand = _on_hand(features)
        return tuple(name for name in usable if name not in on_hand or _stays_beside(config, name))
    names = [camera.name for camera in features.cameras]
    for name in config.cue_crop_cameras:
        if name not in names:
            raise ConfigError(f"policy.cue_crop_cameras: {unknown_name('camera', name, names)}")
    return tuple(name for name in config.cue_crop_cameras if name in usable)


def _beside_crops(config: PolicyConfig, features: Features) -> frozenset[str]:
    """Cameras whose full picture stays beside the crop."""
    return frozenset(name for name in _cropped(config, features) if _stays_beside(config, name))


def _stays_beside(config: PolicyConfig, camera: str) -> bool:
    return config.cue_crop_full is None or camera in config.cue_crop_full


def _ways(config: PolicyConfig, features: Features) -> frozenset[str]:
    """The ways of conditioning that are left in the controls: uncued none but `frame`, blind none in pictures."""
    ways = frozenset(config.conditioning)
    if not config.use_environment_state:
        ways &= {"frame"}
    return ways if features.cameras else ways - IN_PICTURES


def _check(config: PolicyConfig, features: Features) -> None:
    """Refuse what cannot be had."""
    ways = _ways(config, features)
    named = ", ".join(sorted(ways & IN_PICTURES))
    if ways - {"token", "frame"} and features.environment_dim == 0:
        raise ConfigError(
            f"policy.conditioning {', '.join(sorted(ways))} needs coordinates ({keys.ENVIRONMENT_STATE}), and the data "
            "have none"
        )
    if not named:
        return
    if features.environment_dim < CUE_DIM:
        raise ConfigError(f"conditioning {named} needs coordinates x and y, and the data have only one")
    if "world" in ways and config.crop_size is not None:
        raise ConfigError("conditioning 'world' knows no random crops: leave policy.crop_size out")
    unusable = _unusable(features)
    if len(unusable) == len(features.cameras):
        raise ConfigError(
            f"conditioning {named} needs a calibrated camera whose place is known, and there is none "
            f"({'; '.join(unusable)}); calibrate one (foreact calibrate --help) and give the file with --calibration"
        )
    if "crop" in ways:
        names = [camera.name for camera in features.cameras]
        for name in config.cue_crop_full or ():
            if name not in names:
                raise ConfigError(f"policy.cue_crop_full: {unknown_name('camera', name, names)}")
        if not _cropped(config, features):
            raise ConfigError(
                "conditioning crop has no camera to crop: those on the hand are only cropped beside their full picture "
                "(policy.cue_crop_full) or by name (policy.cue_crop_cameras), and what is named must be calibrated"
            )


def _left_out(config: PolicyConfig, features: Features) -> str | None:
    """Say which cameras a way of conditioning leaves out; None where there are none."""
    named = ", ".join(sorted(_ways(config, features) & IN_PICTURES))
    unusable = _unusable(features)
    return f"conditioning {named} leaves out {'; '.join(unusable)}" if named and unusable else None


def _unusable(features: Features) -> list[str]:
    """Name each camera whose place is not known, and what is missing."""
    hand = hand_pose(features)
    return [_what_is_missing(camera) for camera in features.cameras if not is_placed(camera, hand)]


def _what_is_missing(camera: Camera) -> str:
    if camera.calibration is None:
        return f"camera {camera.name}: not calibrated"
    return f"camera {camera.name}: on the hand, and neither joints nor a recorded pose in the state say where that is"
