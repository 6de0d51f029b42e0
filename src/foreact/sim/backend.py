"""The one place that imports MuJoCo, after choosing how it renders.

MuJoCo reads `MUJOCO_GL` once, when it is imported, and on a Linux machine without a display its default (GLFW)
fails at the first picture. So every module of ours takes MuJoCo from here.
"""

import ctypes
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foreact.errors import MissingExtraError, SimulationError

_INSTALL = "type: sudo apt-get install -y libegl1 libgl1 libgl1-mesa-dri"


def _has_egl() -> bool:
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    return True


_headless = sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
if _headless and not os.environ.get("MUJOCO_GL"):
    os.environ["MUJOCO_GL"] = "egl"
# With MUJOCO_GL=egl and no library, importing MuJoCo fails; without rendering, physics still works.
_egl_missing = os.environ.get("MUJOCO_GL") == "egl" and not _has_egl()
if _egl_missing:
    os.environ["MUJOCO_GL"] = "disable"
try:
    import mujoco
except ModuleNotFoundError as error:
    raise MissingExtraError("sim", error.name or "mujoco") from error
finally:
    if _egl_missing:
        os.environ["MUJOCO_GL"] = "egl"

__all__ = ["make_gl_context", "mujoco", "render_in_this_thread", "used_here"]


def render_in_this_thread() -> None:
    """Have a software driver start no threads, where processes already share out the cores; the pictures are the same.

    Call it before the first picture. Other drivers do not mind.
    """
    os.environ["LP_NUM_THREADS"] = "0"


def make_gl_context(width: int, height: int) -> Any:
    """Return an OpenGL context to render in.

    Raises:
        SimulationError: If this machine cannot render off screen, naming the package to install.
    """
    if _egl_missing:
        raise SimulationError(f"rendering without a display needs the library libEGL, which is missing; {_INSTALL}")
    if not hasattr(mujoco, "GLContext"):
        raise SimulationError(
            "rendering is off: MUJOCO_GL is 'disable'; unset it, or use an environment without cameras"
        )
    _load_triton()
    try:
        if os.environ.get("MUJOCO_GL") == "egl":  # even where MuJoCo was imported before this module, with GLFW
            from mujoco.egl import GLContext

            return GLContext(width, height)
        return mujoco.GLContext(width, height)
    except Exception as error:  # whatever the driver raises, the remedy is the same
        backend = os.environ.get("MUJOCO_GL") or "the default"
        raise SimulationError(f"no OpenGL context with MUJOCO_GL={backend} ({error}); {_INSTALL}") from error


@contextmanager
def used_here(context: Any) -> Iterator[None]:
    """Make an OpenGL context current in this thread for as long as the block lasts.

    With EGL it belongs to no thread afterwards: otherwise only the thread that drew last could draw with it or free
    it, and Python's collector frees in any.
    """
    context.make_current()
    try:
        yield
    finally:
        if os.environ.get("MUJOCO_GL") == "egl":
            from mujoco import egl
            from OpenGL import EGL

            EGL.eglMakeCurrent(egl.EGL_DISPLAY, EGL.EGL_NO_SURFACE, EGL.EGL_NO_SURFACE, EGL.EGL_NO_CONTEXT)


def _load_triton() -> None:
    """Load Triton's library, where PyTorch brought it, before the driver's.

    Both hold an LLVM. Where a software driver has rendered first, loading Triton later, as torchvision does when it is
    imported, ends the process with a segmentation fault.
    """
    found = importlib.util.find_spec("triton")
    if found is not None and found.origin is not None:
        for library in Path(found.origin).parent.glob("_C/libtriton*.so"):
            ctypes.CDLL(str(library))
