"""The arm as a browser draws it: a mesh a body and colour, in STL, from the simulated model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreact.sim.backend import mujoco
from foreact.sim.env import PickPlaceEnv

_STL = np.dtype([("normal", "<f4", 3), ("vertices", "<f4", (3, 3)), ("attribute", "<u2")])


@dataclass(frozen=True, kw_only=True, eq=False)
class BodyMesh:
    """What is drawn of one body in one colour."""

    body: str
    color: str
    """`#rrggbb`."""
    triangles: np.ndarray
    """In the body's frame (n, 3, 3) [m]."""

    def stl(self) -> bytes:
        """Return it as a binary STL file."""
        corners = self.triangles
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        facets = np.zeros(len(corners), _STL)
        facets["normal"] = normals / np.maximum(lengths, 1e-12)
        facets["vertices"] = corners
        return bytes(80) + np.uint32(len(corners)).tobytes() + facets.tobytes()


def arm_meshes(model: mujoco.MjModel) -> list[BodyMesh]:
    """Return the visible meshes of a model, geoms of the same body and colour together."""
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for geom in range(model.ngeom):
        mesh = model.geom_dataid[geom]
        if model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_MESH or mesh < 0:
            continue
        first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        vertices = model.mesh_vert[first : first + count].astype(np.float64)
        first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
        placed = vertices @ turn.reshape(3, 3).T + model.geom_pos[geom]
        material = model.geom_matid[geom]
        rgba = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
        color = "#" + "".join(f"{round(255 * float(of)):02x}" for of in np.clip(rgba[:3], 0, 1))
        body = model.body(model.geom_bodyid[geom]).name
        found.setdefault((body, color), []).append(placed[model.mesh_face[first : first + count]])
    return [BodyMesh(body=body, color=color, triangles=np.concatenate(parts)) for (body, color), parts in found.items()]


def body_poses(env: PickPlaceEnv) -> dict[str, np.ndarray]:
    """Return where the arm's bodies and the bowl are, by name, each (12,) as `pose_of` has it."""
    model: mujoco.MjModel = env.model
    return {
        model.body(index).name: pose_of(env, index)
        for index in sorted({*model.geom_bodyid.tolist()})
        if index and not model.body(index).name.startswith("block")
    }


def pose_of(env: PickPlaceEnv, body: int) -> np.ndarray:
    """Return a body's position [m], then its orientation by rows (12,)."""
    return np.concatenate([env.data.xpos[body], env.data.xmat[body]])
