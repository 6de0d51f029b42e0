"""An episode as a recording of Rerun: cameras, curves, the hand and every chunk in 3-D on one timeline."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import numpy as np

from foreact.data.files import write_atomically
from foreact.errors import MissingExtraError
from foreact.records import Calibration
from foreact.studio.view import View
from foreact.studio.view_figures import COLOURS, CUE
from foreact_runtime.kinematics import quaternion_matrix

try:
    import rerun as rr
    import rerun.blueprint as rrb
except ModuleNotFoundError as error:
    raise MissingExtraError("rerun", "rerun-sdk") from error

TICK, TIME = "tick", "time"
"""The timelines: control ticks, and seconds from the episode's beginning."""
WORLD = "world"
"""The base's frame [m]: x forward, y to the left, z up."""
_QUALITY = 90
"""Of the pictures, which are stored as JPEG."""
_FRUSTUM = 0.1
"""How far from a camera its picture floats in the 3-D view [m]."""
_FROM = np.array([0.7, -0.5, 0.5])
"""Where the 3-D view is seen from at first: before the arm, from its right and above; 1 long."""
_CLOSEST = 0.2
"""What is smaller is not looked at from nearer [m]."""


def write_recording(view: View, path: Path) -> None:
    """Write an episode as a `.rrd` file, which `rerun FILE` shows.

    Its identity is a new one each time: Rerun shows recordings of the same identity as one.

    Entities: `world/hand`, `world/path` (where the hand goes), `world/cue`, `world/chunk` (the latest prediction),
    `world/<camera>` for cameras of which it is known where they are, `cameras/<camera>` for the others,
    `curves/<dimension>/<kind>`, `curves/<dimension>/limited` (a cross where limits changed the action), and `limits`,
    the same in words. Of an episode in simulation also `world/scene/<body>`: the arm, the bowl and each block as
    solids that move.

    Args:
        view: The episode.
        path: The file, there in full or not at all.

    Raises:
        DataError: If pictures are damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as temporary:
        recording = rr.RecordingStream("foreact", recording_id=uuid4().hex)
        recording.save(temporary, default_blueprint=_blueprint(view))
        recording.send_recording_name(view.title)
        _log_space(recording, view)
        _log_scene(recording, view)
        _log_curves(recording, view)
        _log_cameras(recording, view)
        recording.flush()
        recording.disconnect()


def camera_entity(view: View, camera: str) -> str:
    """Return where a camera's pictures are."""
    return rr.new_entity_path([WORLD if camera in view.calibrations else "cameras", camera])


def curve_entity(name: str, kind: str) -> str:
    """Return where a dimension's curve is."""
    return rr.new_entity_path(["curves", name, kind])


def scene_entity(body: str) -> str:
    """Return where a simulated body is."""
    return rr.new_entity_path([WORLD, "scene", body])


def _log_space(recording: rr.RecordingStream, view: View) -> None:
    recording.log(WORLD, rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    if view.hand is not None:
        recording.log(
            f"{WORLD}/path", rr.LineStrips3D([view.hand], colors=COLOURS_RGB["state"], radii=0.001), static=True
        )
    for tick in range(view.length):
        _at(recording, view, tick)
        if view.hand is not None:
            recording.log(f"{WORLD}/hand", rr.Points3D(view.hand[tick : tick + 1], radii=0.006))
        if view.cue is not None and (tick == 0 or (view.cue[tick] != view.cue[tick - 1]).any()):
            recording.log(f"{WORLD}/cue", rr.Points3D(view.cue[tick : tick + 1], radii=0.008, colors=CUE_RGB))
    for of in view.predictions:
        if of.path is not None:
            _at(recording, view, of.tick)
            recording.log(f"{WORLD}/chunk", rr.LineStrips3D([of.path], colors=COLOURS_RGB["chunk"], radii=0.0015))


def _log_scene(recording: rr.RecordingStream, view: View) -> None:
    """The solids once, and for each body where it is in every tick."""
    if view.scene is None:
        return
    for number, mesh in enumerate(view.scene.meshes):
        solid = rr.Asset3D(contents=mesh.stl(), media_type=rr.MediaType.STL, albedo_factor=_rgb(mesh.color))
        recording.log(f"{scene_entity(mesh.body)}/mesh{number}", solid, static=True)
    for boxes in view.scene.boxes:
        solid = rr.Boxes3D(
            centers=boxes.centers,
            half_sizes=boxes.half_sizes,
            quaternions=boxes.quaternions[:, [1, 2, 3, 0]],  # xyzw
            colors=boxes.colors,
            fill_mode=rr.components.FillMode.Solid,
        )
        recording.log(f"{scene_entity(boxes.body)}/boxes", solid, static=True)
    for body, poses in view.scene.poses.items():
        places = rr.Transform3D.columns(translation=poses[:, :3], mat3x3=poses[:, 3:].reshape(-1, 3, 3))
        recording.send_columns(scene_entity(body), _times(view, np.arange(view.length)), places)


def _log_curves(recording: rr.RecordingStream, view: View) -> None:
    for name, kinds in view.columns.items():
        for kind, values in kinds.items():
            recording.log(curve_entity(name, kind), rr.SeriesLines(colors=COLOURS_RGB[kind], names=kind), static=True)
            _send(recording, view, curve_entity(name, kind), np.arange(view.length), values)
    if view.limited is None or view.sent is None:
        return
    marks = rr.SeriesPoints(colors=COLOURS_RGB["limited"], markers="cross", names="limited")
    for dim, name in enumerate(view.names):
        ticks = np.flatnonzero(view.limited[:, dim])
        if len(ticks):
            recording.log(curve_entity(name, "limited"), marks, static=True)
            _send(recording, view, curve_entity(name, "limited"), ticks, view.sent[ticks, dim])
    for tick in range(view.length):
        if limited := view.limited_at(tick):
            _at(recording, view, tick)
            recording.log("limits", rr.TextLog(f"limited: {', '.join(limited)}", level=rr.TextLogLevel.WARN))


def _log_cameras(recording: rr.RecordingStream, view: View) -> None:
    for camera in view.sizes:
        entity = camera_entity(view, camera)
        placed = view.calibrations.get(camera)
        if placed is not None:
            _log_lens(recording, entity, placed[0], view.sizes[camera])
        for tick, picture in enumerate(view.frames(camera)):
            _at(recording, view, tick)
            if placed is not None and (tick == 0 or placed[tick] != placed[tick - 1]):
                turn = quaternion_matrix(placed[tick].quaternion)
                recording.log(entity, rr.Transform3D(translation=placed[tick].position, mat3x3=turn))
            recording.log(entity, rr.Image(picture).compress(jpeg_quality=_QUALITY))


def _log_lens(recording: rr.RecordingStream, entity: str, of: Calibration, size: tuple[int, int]) -> None:
    """Lens distortion is left out, which Rerun does not know."""
    scale = np.array([size[1] / of.size[1], size[0] / of.size[0]])
    pinhole = rr.Pinhole(
        resolution=[size[1], size[0]],
        focal_length=of.focal * scale,
        principal_point=of.center * scale,
        camera_xyz=rr.ViewCoordinates.RDF,
        image_plane_distance=_FRUSTUM,
    )
    recording.log(entity, pinhole, static=True)


def _send(recording: rr.RecordingStream, view: View, entity: str, ticks: np.ndarray, values: np.ndarray) -> None:
    recording.send_columns(entity, _times(view, ticks), rr.Scalars.columns(scalars=np.asarray(values, np.float64)))


def _times(view: View, ticks: np.ndarray) -> list[rr.TimeColumn]:
    return [rr.TimeColumn(TICK, sequence=ticks), rr.TimeColumn(TIME, duration=ticks / view.fps)]


def _at(recording: rr.RecordingStream, view: View, tick: int) -> None:
    recording.set_time(TICK, sequence=tick)
    recording.set_time(TIME, duration=tick / view.fps)


def _blueprint(view: View) -> rrb.Blueprint:
    """Space and pictures on the left, a panel a dimension on the right."""
    pictures = [rrb.Spatial2DView(origin=camera_entity(view, camera), name=camera) for camera in view.sizes]
    panels = [rrb.TimeSeriesView(origin=rr.new_entity_path(["curves", name]), name=name) for name in view.columns]
    left: list[tuple[float, rrb.Container | rrb.View]] = [(2, rrb.Horizontal(*pictures))]
    if view.scene is not None or view.hand is not None or any(of.path is not None for of in view.predictions):
        left.insert(0, (3, rrb.Spatial3DView(origin=WORLD, name="space", eye_controls=first_look(view))))
    if view.limited is not None:
        left.append((1, rrb.TextLogView(origin="limits", name="limits")))
    shares, parts = zip(*left, strict=True)
    return rrb.Blueprint(
        rrb.Horizontal(rrb.Vertical(*parts, row_shares=shares), rrb.Grid(*panels)), collapse_panels=True
    )


def first_look(view: View) -> rrb.EyeControls3D:
    """Return the view one begins with: the arm's base and its paths; Rerun's own shows cameras far above too."""
    paths = [of.path for of in view.predictions if of.path is not None]
    points = np.concatenate([np.zeros((1, 3)), *paths, *([] if view.hand is None else [view.hand])])
    low, high = points.min(axis=0), points.max(axis=0)
    middle, reach = (low + high) / 2, max(float(np.linalg.norm(high - low)), _CLOSEST)
    return rrb.EyeControls3D(position=middle + 2 * reach * _FROM, look_target=middle)


def _rgb(colour: str) -> list[int]:
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]


COLOURS_RGB = {kind: _rgb(colour) for kind, colour in COLOURS.items()}
CUE_RGB = _rgb(CUE)
