from pathlib import Path

import numpy as np
import pytest

from foreact.sim import meshes
from foreact.sim.backend import mujoco
from foreact.sim.meshes import FACES, read_stl, robot_directory, robot_meshes, simplify


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_reading_a_mesh_agrees_with_mujoco() -> None:
    path = robot_directory() / "assets" / "waveshare_mounting_plate_so101_v2.stl"
    spec = mujoco.MjSpec()
    spec.add_mesh(name="plate", file=str(path))
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname="plate")
    model = spec.compile()
    vertices, faces = read_stl(path)
    assert len(faces) == model.nmeshface
    # MuJoCo moves a mesh to its centre and main axes: lengths stay.
    np.testing.assert_allclose(np.ptp(vertices, axis=0).max(), np.ptp(model.mesh_vert, axis=0).max(), rtol=0.02)


def test_a_simplified_mesh_keeps_its_size_with_few_faces() -> None:
    for path in sorted((robot_directory() / "assets").glob("*.stl"))[:3]:
        original = read_stl(path)
        vertices, faces = simplify(original)
        assert 0.9 * FACES < len(faces) <= FACES
        assert faces.max() < len(vertices)
        # Thin corners go first: on parts of 5 to 10 cm, up to a centimetre of one.
        np.testing.assert_allclose(vertices.min(axis=0), original[0].min(axis=0), atol=0.01)
        np.testing.assert_allclose(vertices.max(axis=0), original[0].max(axis=0), atol=0.01)


def test_the_cache_gives_back_what_was_put_there_and_no_temporary_file_stays(cache: Path) -> None:
    made = robot_meshes()
    (file,) = (cache / "foreact").iterdir()
    assert file.suffix == ".npz"
    read = robot_meshes()
    assert set(made) == set(read)
    for name, (vertices, faces) in made.items():
        np.testing.assert_array_equal(read[name][0], vertices)
        np.testing.assert_array_equal(read[name][1], faces)


def test_a_damaged_cache_is_made_again(cache: Path) -> None:
    expected = robot_meshes()
    (file,) = (cache / "foreact").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert set(robot_meshes()) == set(expected)
    assert set(meshes._read(file)) == set(expected)


def test_a_cache_that_cannot_be_written_is_only_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot keep the simplified meshes"):
        assert len(robot_meshes()) == 13
