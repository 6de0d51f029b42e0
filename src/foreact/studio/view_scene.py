"""What the simulation draws in 3-D: the arm, the blocks and the bowl as solids, and where each is in every tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.sim.backend import mujoco
from foreact.sim.env import PickPlaceEnv
from foreact.sim.scene import block_name
from foreact.studio.arm_meshes import BodyMesh, arm_meshes, body_poses, pose_of

_BOX, _CYLINDER = int(mujoco.mjtGeom.mjGEOM_BOX), int(mujoco.mjtGeom.mjGEOM_CYLINDER)
_DRAWN = 3
"""Groups of geoms from here on are not drawn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxes:
    """The boxes of one body, in its frame."""

    body: str
    centers: np.ndarray
    """(n, 3) [m]."""
    half_sizes: np.ndarray
    """(n, 3) [m]."""
    quaternions: np.ndarray
    """Orientations wxyz (n, 4)."""
    colors: np.ndarray
    """uint8 (n, 3)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """The solids of an episode of L ticks, and how they move."""

    meshes: Sequence[BodyMesh]
    boxes: Sequence[Boxes]
    poses: Mapping[str, np.ndarray]
    """By body, position and then orientation by rows (L, 12): the arm's, `bowl`, and the blocks on the table."""


def scene_of(env: PickPlaceEnv, poses: Sequence[Mapping[str, np.ndarray]]) -> Scene:
    """Return the solids of a simulation with their poses (12,) in each tick, from `scene_poses`."""
    together = {body: np.stack([of[body] for of in poses]) for body in poses[0]}
    return Scene(
        meshes=arm_meshes(env.model),
        boxes=[boxes for boxes in _boxes(env.model) if boxes.body in together],
        poses=together,
    )


def scene_poses(env: PickPlaceEnv) -> dict[str, np.ndarray]:
    """Return where everything that is drawn is now, (12,) by body; blocks that the episode does not use are not."""
    blocks = [block_name(index) for index in range(1 + len(env.layout.confusers))]
    return {**body_poses(env), **{name: pose_of(env, env.model.body(name).id) for name in blocks}}


def _boxes(model: mujoco.MjModel) -> list[Boxes]:
    """Return what is drawn of boxes; of a cylinder, the bowl's flat floor, the box within it."""
    found: dict[str, list[int]] = {}
    for geom in range(model.ngeom):
        if model.geom_type[geom] in (_BOX, _CYLINDER) and model.geom_group[geom] < _DRAWN:
            found.setdefault(model.body(model.geom_bodyid[geom]).name, []).append(geom)
    return [
        Boxes(
            body=body,
            centers=model.geom_pos[geoms],
            half_sizes=np.stack([_half_size(model, geom) for geom in geoms]),
            quaternions=model.geom_quat[geoms],
            colors=(255 * model.geom_rgba[geoms, :3]).round().astype(np.uint8),
        )
        for body, geoms in found.items()
    ]


def _half_size(model: mujoco.MjModel, geom: int) -> np.ndarray:
    if model.geom_type[geom] == _BOX:
        return np.asarray(model.geom_size[geom])
    radius, half_height, _ = model.geom_size[geom]
    return np.array([radius / np.sqrt(2), radius / np.sqrt(2), half_height])
