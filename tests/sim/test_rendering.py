import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from foreact.sim.backend import mujoco
from foreact.sim.env import PickPlaceEnv
from foreact.sim.expert import Expert
from foreact.sim.task import level

SIZE = (120, 160)


@pytest.fixture(scope="module")
def pictures() -> dict[str, np.ndarray]:
    """What both cameras show at the start of an episode, from an environment made and closed for it."""
    env = PickPlaceEnv(level("L1"))
    env.reset(seed=3)
    shown = {camera: env.picture(camera, (96, 96)) for camera in ("overhead", "wrist")}
    env.close()
    return shown


def same_pictures(env: PickPlaceEnv, pictures: dict[str, np.ndarray]) -> None:
    for camera, picture in pictures.items():
        np.testing.assert_array_equal(env.picture(camera, (96, 96)), picture)


def test_a_second_environment_made_while_the_first_is_collected_shows_the_right_pictures(
    pictures: dict[str, np.ndarray],
) -> None:
    for _ in range(3):
        env = PickPlaceEnv(level("L1"))
        env.reset(seed=3)
        same_pictures(env, pictures)
        del env  # not closed
        second = PickPlaceEnv(level("L1"))
        second.reset(seed=3)
        second.picture("overhead", (96, 96))
        gc.collect()
        same_pictures(second, pictures)
        second.close()


def test_what_one_thread_forgot_another_frees_and_may_use(pictures: dict[str, np.ndarray]) -> None:
    """An error while something is collected would fail the test: warnings are errors."""
    kept = PickPlaceEnv(level("L1"))

    def forget() -> None:
        env = PickPlaceEnv(level("L1"))
        env.reset(seed=3)
        same_pictures(env, pictures)
        same_pictures(kept, pictures)
        env.__dict__["itself"] = env  # so that only the collector finds it

    kept.reset(seed=3)
    for _ in range(2):
        forget()
        for task in (forget, gc.collect):  # this thread's is collected in another, and the other way
            thread = threading.Thread(target=task)
            thread.start()
            thread.join()
        gc.collect()
        same_pictures(kept, pictures)
    kept.close()


def test_environments_side_by_side_do_not_disturb_each_other(pictures: dict[str, np.ndarray]) -> None:
    first, second = PickPlaceEnv(level("L1")), PickPlaceEnv(level("L3"))
    first.reset(seed=3)
    second.reset(seed=4)
    same_pictures(first, pictures)
    second.picture("overhead", (240, 320))
    same_pictures(first, pictures)
    second.close()
    same_pictures(first, pictures)
    first.close()


def test_an_environment_can_be_closed_twice_and_used_again(pictures: dict[str, np.ndarray]) -> None:
    env = PickPlaceEnv(level("L1"))
    env.reset(seed=3)
    for _ in range(2):
        same_pictures(env, pictures)
        env.close()
        env.close()


def test_pictures_of_every_size_show_the_same(pictures: dict[str, np.ndarray]) -> None:
    env = PickPlaceEnv(level("L1"))
    env.reset(seed=3)
    large = env.picture("overhead", (384, 384))
    env.close()
    averaged = large.reshape(96, 4, 96, 4, 3).mean(axis=(1, 3))
    # Edges differ, since a small picture takes one sample a pixel; areas do not.
    assert np.median(np.abs(averaged - pictures["overhead"])) < 2


def test_varied_looks_differ_and_fixed_looks_come_back() -> None:
    env = PickPlaceEnv(level("L3"))
    shown = []
    for seed in (0, 1, 0):
        env.reset(seed=seed)
        shown.append(env.picture("overhead", (96, 96)))
    env.close()
    assert np.abs(shown[0].astype(int) - shown[1]).mean() > 5
    np.testing.assert_array_equal(shown[0], shown[2])


def segmented_centre(env: PickPlaceEnv, camera: str, geom: str) -> tuple[np.ndarray, int]:
    """Return the middle (column, row) of a geom's pixels and their number, by MuJoCo's own renderer."""
    env.model.vis.global_.offheight, env.model.vis.global_.offwidth = SIZE
    with mujoco.Renderer(env.model, *SIZE) as renderer:
        renderer.enable_segmentation_rendering()
        renderer.update_scene(env.data, camera)
        ids = renderer.render()
    rows, columns = np.nonzero(
        (ids[..., 0] == env.model.geom(geom).id) & (ids[..., 1] == mujoco.mjtObj.mjOBJ_GEOM.value)
    )
    return np.array([columns.mean(), rows.mean()]) + 0.5, len(rows)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_a_block_is_projected_to_the_middle_of_its_pixels(seed: int) -> None:
    env = PickPlaceEnv(level("L2", cameras=()))
    env.reset(seed=seed)
    expert = Expert(env)
    while np.linalg.norm(env.grip_position()[:2] - env.block_positions()[0, :2]) > 0.03:
        env.step(expert.act())  # until both cameras see it
    for camera in ("wrist", "overhead"):
        index = 0 if camera == "wrist" else 1  # overhead, the arm may hide part of the target
        centre, n_pixels = segmented_centre(env, camera, f"block{index}")
        projected = env.project(env.block_positions()[index], camera, SIZE)
        assert n_pixels > 20
        assert projected is not None
        # The middle of a cube's silhouette is not the middle of the cube, but near it.
        assert np.linalg.norm(np.array(projected) - centre) < 0.15 * np.sqrt(n_pixels) + 0.5


def test_a_point_behind_a_camera_has_no_pixel() -> None:
    env = PickPlaceEnv(level("L1", cameras=()))
    env.reset(seed=0)
    assert env.project(np.array([0.5, 0.0, 1.0]), "overhead", SIZE) is None


def test_the_overhead_camera_sees_the_whole_workspace_and_the_bowl() -> None:
    env = PickPlaceEnv(level("L0", cameras=()))
    env.reset(seed=0)
    corners = [(x, y, 0.0) for x in (0.1425, 0.2575) for y in (-0.0825, 0.1725)]  # of blocks at the workspace's edge
    rim = [(0.135 + dx, -0.172 + dy, 0.035) for dx, dy in ((0.055, 0), (-0.055, 0), (0, 0.055), (0, -0.055))]
    for point in corners + rim:
        projected = env.project(np.array(point), "overhead", (96, 96))
        assert projected is not None
        assert min(projected) >= 0
        assert max(projected) < 96


def test_render_shows_both_cameras_side_by_side() -> None:
    env = PickPlaceEnv(level("L1"), render_mode="rgb_array", render_size=(64, 80))
    env.reset(seed=0)
    frame = env.render()
    assert frame is not None
    np.testing.assert_array_equal(frame[:, :80], env.picture("overhead", (64, 80)))
    np.testing.assert_array_equal(frame[:, 80:], env.picture("wrist", (64, 80)))
    env.close()


CODE = """
from foreact.sim.backend import mujoco
from foreact.sim.env import PickPlaceEnv
from foreact.sim.task import level
env = PickPlaceEnv(level("L1", cameras=()))
print(env.reset(seed=0)[1]["outcome"], flush=True)
try:
    env.picture("overhead", (8, 8))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="EGL is Linux's")
def test_without_the_egl_library_physics_works_and_rendering_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "libEGL.so.1").write_bytes(b"not a library")
    hidden = {"MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"}
    variables = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**variables, "LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    physics, rendering = done.stdout.splitlines()
    assert physics == "None"
    assert rendering.startswith("SimulationError rendering without a display needs the library libEGL")
    assert "apt-get install" in rendering


def test_an_environment_that_is_never_closed_leaves_quietly() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_pytorch_can_be_imported_after_a_picture_was_rendered() -> None:
    """Software drivers and Triton both bring an LLVM; loaded in this order they used to crash the process."""
    code = (
        "from foreact.sim.env import PickPlaceEnv\n"
        "from foreact.sim.task import level\n"
        "env = PickPlaceEnv(level('L1', cameras=('overhead',)))\n"
        "env.reset(seed=0)\n"
        "from foreact import load_policy\n"
        "import torchvision\n"
        "print('alive')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "alive", done.stderr[-500:]
