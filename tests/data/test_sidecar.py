"""What stands beside LeRobot's files: written, read, attached to the features; damage is named."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from data.recordings import FEATURES, record
from foreact.data.sidecar import SIDECAR, Sidecar, apply_calibration, read_sidecar, scenes_of, write_sidecar
from foreact.data.source import open_source
from foreact.errors import DataError
from foreact.records import Arm, Calibration, Features, RecordedPose, features_from_dict

OVERHEAD = Calibration(
    size=(48, 64),
    focal=(70.5, 71.0),
    center=(32.0, 24.0),
    position=(0.46, -0.02, 0.5),
    quaternion=(0.5, -0.5, 0.5, -0.5),
)
WRIST = replace(OVERHEAD, size=(32, 32), distortion=(-0.1, 0.02, 0.0, 0.001, 0.0), mounted_on="hand")
ARM = Arm(
    joints=("shoulder",),
    positions=((0.0, 0.0, 0.1),),
    quaternions=((1.0, 0.0, 0.0, 0.0),),
    axes=((0.0, 0.0, 1.0),),
    limits=((-1.5, 1.5),),
    hand_position=(0.2, 0.0, 0.0),
    hand_quaternion=(0.6, 0.8, 0.0, 0.0),
    unit="deg",
    gripper="gripper",
    gripper_closed=12.0,
)
POSE = RecordedPose(position=("x", "y", "z"), quaternion=("qw", "qx", "qy", "qz"))
FULL = Sidecar(cameras={"overhead": OVERHEAD, "wrist": WRIST}, arm=ARM, environment_height=0.0125, scenes=(0, 0, 7, 7))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "data")


@pytest.fixture
def root(recorded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded, tmp_path / "data")


@pytest.mark.parametrize("sidecar", [FULL, Sidecar(), Sidecar(environment_height=0.0), Sidecar(recorded_pose=POSE)])
def test_what_is_written_is_read(sidecar: Sidecar, tmp_path: Path) -> None:
    write_sidecar(tmp_path, sidecar)
    assert read_sidecar(tmp_path) == sidecar


def test_the_file_holds_plain_json_by_name(tmp_path: Path) -> None:
    write_sidecar(tmp_path, FULL)
    content = json.loads((tmp_path / "meta/foreact.json").read_text())
    assert list(content) == ["cameras", "arm", "recorded_pose", "environment_height", "scenes"]
    assert content["cameras"]["overhead"]["position"] == [0.46, -0.02, 0.5]
    assert content["scenes"] == [0, 0, 7, 7]
    assert [path.name for path in (tmp_path / "meta").iterdir()] == ["foreact.json"], "no temporary file stays"


def test_a_data_set_without_one_is_not_calibrated_and_each_episode_is_its_own_scene(root: Path) -> None:
    source = open_source(root)
    assert all(camera.calibration is None for camera in source.features.cameras)
    assert source.features.arm is None
    assert source.features.environment_height == 0.0
    assert source.scenes == {0: 0, 1: 1, 2: 2, 3: 3}


def test_the_source_attaches_it(root: Path) -> None:
    write_sidecar(root, FULL)
    source = open_source(root)
    assert {camera.name: camera.calibration for camera in source.features.cameras} == FULL.cameras
    assert source.features.arm == ARM
    assert source.features.environment_height == 0.0125
    assert source.scenes == {0: 0, 1: 0, 2: 7, 3: 7}


def test_it_is_part_of_the_fingerprint(root: Path) -> None:
    prints = [open_source(root).fingerprint()]
    for height in (0.0, 0.01):
        write_sidecar(root, replace(FULL, environment_height=height))
        prints.append(open_source(root).fingerprint())
    assert len(set(prints)) == 3
    (root / SIDECAR).unlink()
    assert open_source(root).fingerprint() == prints[0]


def test_episodes_that_the_list_does_not_reach_have_scenes_of_their_own() -> None:
    assert scenes_of((3, 5, 8, 9), Sidecar(scenes=(4, 4))) == {3: 4, 5: 4, 8: 5, 9: 6}
    assert scenes_of((3, 5), Sidecar(scenes=(1, 1, 2, 2))) == {3: 1, 5: 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda of: of.update(camera={}),
            r"foreact.json': unknown key 'camera'; did you mean 'cameras'\? choices: arm,",
        ),
        (lambda of: of.update(cameras=[]), r"foreact.json': 'cameras' holds a list, expected calibrations by"),
        (lambda of: of["cameras"].update(overhead=3), r"camera 'overhead' holds 3, expected keys with values: size,"),
        (lambda of: of["cameras"]["wrist"].pop("focal"), r"foreact.json', camera 'wrist': 'focal' is missing"),
        (lambda of: of["cameras"]["wrist"].update(position=[0, 1]), r"'position' is \[0, 1\], expected 3 numbers"),
        (lambda of: of["cameras"]["wrist"].update(size=[32.5, 3]), r"'size' is .*, expected 2 positive whole numbers"),
        (lambda of: of["cameras"]["wrist"].update(focal=[0, 3]), r"'focal' is \[0, 3\], expected positive numbers"),
        (lambda of: of["cameras"]["wrist"].update(quaternion=[1, 1, 0, 0]), r"whose squares add up to 1"),
        (lambda of: of["cameras"]["wrist"].update(distortion=[0.1]), r"'distortion' is \[0.1\], expected 5 numbers"),
        (lambda of: of["cameras"]["wrist"].update(mounted_on="head"), r"is 'head', expected base or hand"),
        (lambda of: of["cameras"]["wrist"].update(center=[float("nan"), 3]), r"'center' is \[nan, 3\], expected 2"),
        (lambda of: of["arm"].update(axes=[[0, 0, 1], [0, 0, 1]]), r"arm: 'axes' is .*, expected 1 lists of 3"),
        (lambda of: of["arm"].update(limits=[[1, -1]]), r"'limits' of joint 'shoulder' are 1 and -1, expected lower"),
        (lambda of: of["arm"].update(joints=["a", "a"]), r"'joints' is \['a', 'a'\], expected names that differ"),
        (lambda of: of["arm"].update(unit="turns"), r"'unit' is 'turns', expected rad or deg"),
        (lambda of: of["arm"].update(joints=["hip"]), r"unknown joint of the action 'hip'; choices: gripper, shoulder"),
        (lambda of: of["arm"].update(gripper="hand"), r"foreact.json': unknown joint of the action 'hand'"),
        (lambda of: of["cameras"].update(side=of["cameras"]["wrist"]), r"unknown camera 'side'; .*overhead, wrist"),
        (lambda of: of.update(scenes=[0, 1.5]), r"'scenes' is not a list of whole numbers"),
        (lambda of: of.update(environment_height="low"), r"'environment_height' is 'low', expected a number"),
    ],
)
def test_damage_is_named_in_one_line(root: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    write_sidecar(root, FULL)
    content = json.loads((root / SIDECAR).read_text())
    change(content)
    (root / SIDECAR).write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as error:
        open_source(root)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("content", "message"), [("{", "cannot be read as JSON"), ("[]", "holds a list, expected a")])
def test_a_file_that_is_not_an_object_is_refused(root: Path, content: str, message: str) -> None:
    (root / SIDECAR).write_text(content)
    with pytest.raises(DataError, match=rf"foreact.json' {message}"):
        open_source(root)


def test_what_a_calibration_does_not_say_stays() -> None:
    before = apply_calibration(FEATURES, FULL)
    side = replace(OVERHEAD, position=(1.0, 0.0, 0.5))
    after = apply_calibration(before, Sidecar(cameras={"overhead": side}))
    assert after.cameras[0].calibration == side
    assert after.cameras[1].calibration == WRIST
    assert (after.arm, after.environment_height) == (ARM, 0.0125)
    assert apply_calibration(before, Sidecar()) == before


def test_a_recorded_pose_belongs_to_the_state_and_survives_json() -> None:
    known = replace(FEATURES, state_names=(*POSE.position, *POSE.quaternion))
    features = apply_calibration(known, Sidecar(recorded_pose=POSE))
    assert features.recorded_pose == POSE
    assert apply_calibration(features, Sidecar()).recorded_pose == POSE
    assert features_from_dict(json.loads(json.dumps(asdict(features)))) == features
    older = asdict(features)
    del older["recorded_pose"]
    assert features_from_dict(older) == known, "checkpoints of before it existed"
    with pytest.raises(DataError, match=r"^rig.yaml: unknown dimension of the state 'x'; .*choices: elbow, gripper"):
        apply_calibration(FEATURES, Sidecar(recorded_pose=POSE), "rig.yaml")


def test_a_size_on_its_side_is_refused_and_another_scale_is_not() -> None:
    twice = Sidecar(cameras={"overhead": replace(OVERHEAD, size=(96, 128))})
    assert apply_calibration(FEATURES, twice).cameras[0].calibration == twice.cameras["overhead"]
    with pytest.raises(DataError, match=r"^rig.yaml: camera 'overhead' has size 640, 480, .* 48 high and 64 wide"):
        apply_calibration(FEATURES, Sidecar(cameras={"overhead": replace(OVERHEAD, size=(640, 480))}), "rig.yaml")


def test_features_without_a_state_take_an_arm() -> None:
    blind = Features(action_names=("shoulder", "gripper"))
    assert apply_calibration(blind, Sidecar(arm=ARM)).arm == ARM


def test_pictures_of_another_shape_than_the_calibrated_are_refused() -> None:
    """A webcam's wide mode shows another part of the sensor."""
    of = FULL.cameras["overhead"]
    wide = Sidecar(cameras={"overhead": replace(of, size=(of.size[0], 2 * of.size[1]))})
    with pytest.raises(DataError, match=r"camera 'overhead' was calibrated at .* another shape is another part"):
        apply_calibration(FEATURES, wide)
