"""Light, colours and the overhead camera's pose: as built, or different in each episode."""

import numpy as np

from foreact.sim.backend import mujoco
from foreact.sim.scene import OVERHEAD_FOVY, OVERHEAD_POSITION, OVERHEAD_TARGET, OVERHEAD_UP, look_at

CAMERA_SHIFT = 0.015
"""The overhead camera and the point it looks at are each moved by up to this [m] along each axis."""
FIELD_OF_VIEW = (2.0, 5.0)
"""The overhead camera's field of view is wider by this much [degrees], so that all stays in the picture."""
LIGHT_SHIFT = 0.4
"""The lamp is moved by up to this [m] sideways."""
LIGHT_RANGE = (0.6, 1.3)
"""Factor on the lights' brightness."""
TINT = 0.12
"""Each colour channel of table, bowl and blocks is moved by up to this."""


class Looks:
    """The changeable looks of a model. Blocks stay identical to each other: they share a colour."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._colors = model.geom_rgba.copy()
        self._lamp = model.light_pos.copy(), model.light_diffuse.copy()
        self._ambient = model.vis.headlight.ambient.copy()
        self._camera = model.camera("overhead").pos.copy(), model.camera("overhead").quat.copy()
        self._groups = [self._geoms("world"), self._geoms("bowl"), self._geoms("block")]
        self._brightness = 1.0

    def restore(self) -> None:
        """Make everything look as built."""
        model = self._model
        model.geom_rgba[:] = self._colors
        model.light_pos[:], model.light_diffuse[:] = self._lamp
        model.vis.headlight.ambient[:] = self._ambient
        self._brightness = 1.0
        camera = model.camera("overhead")
        camera.pos[:], camera.quat[:] = self._camera
        camera.fovy[:] = OVERHEAD_FOVY

    def vary(self, rng: np.random.Generator) -> None:
        """Draw other looks around those as built."""
        self.restore()
        model = self._model
        for geoms in self._groups:
            color = self._colors[geoms[0], :3] + rng.uniform(-TINT, TINT, size=3)
            model.geom_rgba[geoms, :3] = np.clip(color, 0.0, 1.0)
        brightness = rng.uniform(*LIGHT_RANGE)
        model.light_diffuse[:] *= brightness
        model.vis.headlight.ambient[:] *= brightness
        model.light_pos[:, :2] += rng.uniform(-LIGHT_SHIFT, LIGHT_SHIFT, size=2)
        position = np.array(OVERHEAD_POSITION) + rng.uniform(-CAMERA_SHIFT, CAMERA_SHIFT, size=3)
        target = np.array(OVERHEAD_TARGET) + rng.uniform(-CAMERA_SHIFT, CAMERA_SHIFT, size=3) * (1, 1, 0)
        camera = model.camera("overhead")
        camera.pos[:], camera.quat[:] = position, look_at(position, target, up=OVERHEAD_UP)
        camera.fovy[:] = OVERHEAD_FOVY + rng.uniform(*FIELD_OF_VIEW)

    def brighten(self, brightness: float) -> None:
        """Make the lights so many times as bright as they were built or drawn, until looks are drawn again."""
        factor = brightness / self._brightness
        self._model.light_diffuse[:] *= factor
        self._model.vis.headlight.ambient[:] *= factor
        self._brightness = brightness

    def _geoms(self, body: str) -> np.ndarray:
        """Return the geoms of the bodies whose name starts so."""
        names = [self._model.body(index).name for index in self._model.geom_bodyid]
        return np.flatnonzero([name.startswith(body) for name in names])
