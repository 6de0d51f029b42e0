"""The scene in three dimensions: the arm's meshes, blocks, bowl, and the predicted chunk as a path."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from nicegui import ui

from foreact.sim.scene import BLOCK_SIZE, BOWL_HEIGHT, BOWL_RADIUS
from foreact.studio.arm_meshes import BodyMesh
from foreact.studio.live import MOST_CONFUSERS
from foreact.studio.setup import Snapshot

_PATH_COLORS = ((1.0, 0.83, 0.0), (0.2, 0.8, 1.0))
"""Of the first scene's path and the second's."""
_BETWEEN = 8
"""Points drawn between two steps of a chunk."""
_NOWHERE = (0.0, 0.0, -1.0)
_KEYS = """(event) => {
  const {camera, controls} = getElement(ELEMENT), turn = 0.12, zoom = 1.15;
  const from = camera.position.clone().sub(controls.target), up = camera.up.clone().normalize();
  const height = from.angleTo(up), sideways = from.clone().cross(up).normalize();
  const act = {
    ArrowLeft: () => from.applyAxisAngle(up, -turn),
    ArrowRight: () => from.applyAxisAngle(up, turn),
    ArrowUp: () => from.applyAxisAngle(sideways, Math.min(turn, Math.max(0, height - 0.1))),
    ArrowDown: () => from.applyAxisAngle(sideways, -Math.min(turn, Math.max(0, Math.PI - 0.1 - height))),
    '+': () => from.divideScalar(zoom),
    '-': () => from.multiplyScalar(zoom),
  }[event.key];
  if (!act) return;
  act();
  camera.position.copy(controls.target).add(from);
  event.preventDefault();
}"""
"""Arrows turn the view around what it looks at, + and - go nearer and away."""
_SCALE = 10.0
"""The view's near plane is made for metres; the arm is a few decimetres."""


class ArmView:
    """Follows one of the scenes; of all of them it shows the paths."""

    def __init__(self, meshes: Sequence[BodyMesh]) -> None:
        """Build it in the present slot; meshes are those that the server hands out."""
        self._drawn: dict[str, np.ndarray] = {}
        self._paths: list[np.ndarray | None] = [None, None]
        scene = ui.scene(grid=False, background_color="#d7d7d2", fps=15).classes("scene3d")
        scene.props('role=img aria-label="the arm, the blocks and the predicted path in three dimensions" tabindex=0')
        scene.on("keydown", js_handler=_KEYS.replace("ELEMENT", str(scene.id)))
        self.scene = scene
        with scene:
            scene.box(8, 8, 0.02).move(2, 0, -0.02).material("#cfc9bd")
            self._bodies = {}
            for body in dict.fromkeys(mesh.body for mesh in meshes):
                with scene.group() as group:
                    for number, mesh in enumerate(meshes):
                        if mesh.body == body:
                            scene.stl(f"/studio/mesh/{number}.stl").scale(_SCALE).material(mesh.color)
                self._bodies[body] = group
            edge = _SCALE * BLOCK_SIZE
            self._blocks = [
                scene.box(edge, edge, edge).material("#2747d8").move(*_NOWHERE) for _ in range(1 + MOST_CONFUSERS)
            ]
            self._bowl = scene.cylinder(_SCALE * BOWL_RADIUS, _SCALE * 0.038, _SCALE * BOWL_HEIGHT, 24)
            self._bowl.material("#bf4738", 0.6).rotate(np.pi / 2, 0, 0)
            self._cue = scene.cylinder(0.06, 0.06, 0.01, 24).material("#ff2e93").rotate(np.pi / 2, 0, 0).move(*_NOWHERE)
            self._lines = [scene.point_cloud([list(_NOWHERE)], [[1, 1, 1]], point_size=0.06) for _ in range(2)]
        scene.move_camera(x=4.4, y=1.6, z=2.4, look_at_x=1.2, look_at_y=-0.2, look_at_z=0.6, duration=0)

    def show(self, snapshots: Sequence[Snapshot | None], followed: int) -> None:
        """Move what has moved.

        Args:
            snapshots: Of the scenes, at most two.
            followed: The one whose arm and blocks are shown; nothing moves where it has no snapshot yet.
        """
        for number in range(len(self._lines)):
            self._show_path(number, snapshots[number] if number < len(snapshots) else None)
        of = snapshots[followed]
        if of is not None:
            self._show_table(of)

    def _show_table(self, of: Snapshot) -> None:
        for name, pose in of.poses.items():
            if self._is_new(name, pose):
                if name == "bowl":
                    x, y, z = _SCALE * pose[:3]
                    self._bowl.move(x, y, z + _SCALE * BOWL_HEIGHT / 2)
                elif name in self._bodies:
                    body = self._bodies[name]
                    body.move(*(_SCALE * pose[:3]).tolist())
                    body.rotate_R(pose[3:].reshape(3, 3).tolist())
        for number, box in enumerate(self._blocks):
            used = number < len(of.blocks)
            place = _SCALE * of.blocks[number].now if used else np.array(_NOWHERE)
            if self._is_new(f"block {number}", place):
                box.move(*place.tolist())
        cue = _SCALE * np.array([*of.cue, 0.002])
        if self._is_new("cue", cue):
            self._cue.move(*cue.tolist())

    def _show_path(self, number: int, snapshot: Snapshot | None) -> None:
        path = snapshot.predictions[-1].path if snapshot is not None and snapshot.predictions else None
        if path is self._paths[number]:
            return
        self._paths[number] = path
        points = np.array([_NOWHERE]) if path is None else _SCALE * _dense(path)
        self._lines[number].set_points(points.round(4).tolist(), [list(_PATH_COLORS[number])] * len(points))

    def _is_new(self, name: str, pose: np.ndarray) -> bool:
        before = self._drawn.get(name)
        if before is not None and np.abs(before - pose).max() < 1e-4:
            return False
        self._drawn[name] = pose
        return True


def _dense(path: np.ndarray) -> np.ndarray:
    """Return a path (T, 3) with points between its own, so that points look like a line."""
    steps = np.arange(len(path))
    fine = np.linspace(0, len(path) - 1, (len(path) - 1) * _BETWEEN + 1)
    return np.stack([np.interp(fine, steps, path[:, axis]) for axis in range(3)], axis=1)
