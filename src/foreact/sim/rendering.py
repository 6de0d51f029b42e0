"""Pictures of a scene, of any size, from one OpenGL context; and where a point of the world lies in them."""

import atexit
import math
import weakref
from typing import Any

import numpy as np

from foreact.sim.backend import make_gl_context, mujoco, used_here

# Every feature that costs time in software rendering and tells a policy nothing.
_OFF = (
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_SKYBOX,
    mujoco.mjtRndFlag.mjRND_HAZE,
)


class SceneRenderer:
    """Renders the cameras of a model, or of several with the same meshes, off screen.

    MuJoCo's own `Renderer` fixes one size, and frees its textures in whatever context is current when it is
    collected: a second renderer made meanwhile shows wrong pictures and says nothing. Here one context serves all
    sizes, is current during each use and in no thread between, and is freed by `close()`, itself being current.
    """

    def __init__(self, model: mujoco.MjModel, *, height: int, width: int) -> None:
        """Make a context.

        Args:
            model: The scene; its off-screen buffer is set to the size given.
            height: Largest height [pixels] that will be asked for.
            width: Largest width [pixels] that will be asked for.

        Raises:
            SimulationError: If this machine lacks the library for headless rendering.
        """
        model.vis.global_.offheight, model.vis.global_.offwidth = height, width
        self._size = (height, width)
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._option = mujoco.MjvOption()
        self._gl: Any = make_gl_context(width, height)
        _close_at_exit(self)
        with used_here(self._gl):
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)

    def fits(self, size: tuple[int, int]) -> bool:
        """Return whether the context is large enough for a picture of this height and width [pixels]."""
        return size[0] <= self._size[0] and size[1] <= self._size[1]

    def render(self, model: mujoco.MjModel, data: mujoco.MjData, camera: str, size: tuple[int, int]) -> np.ndarray:
        """Return a camera's picture, uint8 (H, W, 3).

        Args:
            model: The scene as it looks now: that of the context, or one with the same meshes.
            data: Where everything is.
            camera: Name of a camera of the model.
            size: Height and width [pixels], at most those of the context.
        """
        view = mujoco.MjvCamera()
        view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        view.fixedcamid = model.camera(camera).id
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(model, data, self._option, None, view, everything, self._scene)
        for flag in _OFF:
            self._scene.flags[flag] = 0
        height, width = size
        picture = np.empty((height, width, 3), dtype=np.uint8)
        area = mujoco.MjrRect(0, 0, width, height)
        with used_here(self._gl):
            mujoco.mjr_render(area, self._scene, self._context)
            mujoco.mjr_readPixels(picture, None, area, self._context)
        return np.ascontiguousarray(picture[::-1])  # OpenGL counts rows from the bottom

    def close(self) -> None:
        """Free the context; more than once is fine."""
        if self._gl is not None:
            with used_here(self._gl):
                self._context.free()
            self._gl.free()
            self._gl = None

    def __del__(self) -> None:
        if hasattr(self, "_context"):
            self.close()


_open: weakref.WeakSet[SceneRenderer] = weakref.WeakSet()


def _close_at_exit(renderer: SceneRenderer) -> None:
    """See that a forgotten renderer is closed before MuJoCo ends OpenGL: what is registered last runs first."""
    _open.add(renderer)
    atexit.unregister(_close_all)
    atexit.register(_close_all)


def _close_all() -> None:
    for renderer in list(_open):
        renderer.close()


def project(
    model: mujoco.MjModel, data: mujoco.MjData, camera: str, point: np.ndarray, size: tuple[int, int]
) -> tuple[float, float] | None:
    """Return the pixel (column, row) where a camera sees a point, from its present pose and its field of view.

    Pixel (0, 0) covers [0, 1) x [0, 1) at the top left. The pixel may lie outside the picture.

    Args:
        model: The scene.
        data: Where everything is.
        camera: Name of a camera of the model.
        point: In the world (3,) [m].
        size: Height and width [pixels] of the picture.

    Returns:
        Column and row, or None if the point is behind the camera.
    """
    index = model.camera(camera).id
    x, y, z = data.cam_xmat[index].reshape(3, 3).T @ (np.asarray(point) - data.cam_xpos[index])
    if z >= 0:  # a camera looks along its -z
        return None
    height, width = size
    focal = height / 2 / math.tan(math.radians(model.cam_fovy[index]) / 2)
    return width / 2 - focal * x / z, height / 2 + focal * y / z
