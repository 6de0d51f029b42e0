"""The one place that imports MuJoCo, after choosing how it renders.

MuJoCo reads `MUJOCO_GL` once, when it is imported, and on a Linux machine without a display its default (GLFW)
fails at the first picture. So every module of ours takes MuJoCo from here.
"""

import ctypes
import os
import sys

from foreact.errors import MissingExtraError, SimulationError

EGL_MISSING = (
    "headless rendering needs the EGL library, which this machine does not have; "
    "type: apt-get install -y libegl1 libgl1-mesa-dri (as root), or set MUJOCO_GL=osmesa"
)


def _has_egl() -> bool:
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    return True


def _choose_gl() -> None:
    """Choose EGL where there is no display; without its library, physics still works and rendering is off."""
    headless = sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    backend = os.environ.get("MUJOCO_GL") or ("egl" if headless else None)
    if backend is not None:
        os.environ["MUJOCO_GL"] = "disable" if backend == "egl" and not _has_egl() else backend


_choose_gl()

try:
    import mujoco
except ModuleNotFoundError as error:
    raise MissingExtraError("sim", error.name or "mujoco") from error

__all__ = ["mujoco", "require_gl"]


def require_gl() -> None:
    """Check that pictures can be rendered.

    Raises:
        SimulationError: If MuJoCo was imported without a way to render, naming the package to install.
    """
    if not hasattr(mujoco, "GLContext"):
        raise SimulationError(EGL_MISSING)
