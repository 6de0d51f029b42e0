"""Between a LeRobot robot's dictionaries and a policy's vectors."""

from dataclasses import replace

import numpy as np
import pytest

from foreact_runtime.errors import ActionError, ObservationError
from foreact_runtime.lerobot_robot import action_of, observation_of
from foreact_runtime.observation import read_observation
from foreact_runtime.records import Camera, Features

FEATURES = Features(
    action_names=("pan.pos", "gripper.pos"),
    state_names=("gripper.pos", "pan.pos"),
    environment_names=("x", "y"),
    cameras=(Camera(name="top", height=4, width=6),),
)
PICTURE = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
SEEN = {"pan.pos": -3.5, "lift.pos": 9.0, "gripper.pos": 40.0, "top": PICTURE, "side": PICTURE}


def test_joints_go_by_name_and_what_the_policy_does_not_use_is_left_out() -> None:
    observation = observation_of(SEEN, FEATURES, coordinates=(0.21, -0.05))
    assert set(observation) == {
        "observation.state",
        "observation.environment_state",
        "observation.images.top",
    }
    np.testing.assert_array_equal(observation["observation.state"], np.array([40, -3.5], np.float32))
    np.testing.assert_array_equal(observation["observation.environment_state"], np.array([0.21, -0.05], np.float32))
    np.testing.assert_array_equal(observation["observation.images.top"], PICTURE)
    read_observation(observation, FEATURES)
    assert action_of(np.array([1.5, 20], np.float32), FEATURES, SEEN) == {"pan.pos": 1.5, "gripper.pos": 20.0}


@pytest.mark.parametrize("depth", [np.full((4, 6, 1), 1250, np.uint16), np.full((4, 6), 1.25, np.float64)])
def test_depth_comes_in_millimetres_or_metres(depth: np.ndarray) -> None:
    features = replace(FEATURES, cameras=(replace(FEATURES.cameras[0], depth_range=(0.1, 2.0)),))
    observation = observation_of({**SEEN, "top_depth": depth}, features, coordinates=(0, 0))
    np.testing.assert_array_equal(observation["observation.depth.top"], np.full((4, 6), 1.25, np.float32))
    read_observation(observation, features)
    with pytest.raises(ObservationError, match="unknown depth camera 'top_depth'"):
        observation_of(SEEN, features)


def test_a_joint_or_camera_that_the_robot_lacks_is_named() -> None:
    without = {key: value for key, value in SEEN.items() if key != "pan.pos"} | {"pan": 0.0}
    with pytest.raises(ObservationError, match=r"unknown joint 'pan.pos'; did you mean 'pan'\?"):
        observation_of(without, FEATURES)
    with pytest.raises(ObservationError, match="unknown camera 'top'"):
        observation_of({key: value for key, value in SEEN.items() if key != "top"}, FEATURES)
    with pytest.raises(ActionError, match=r"unknown joint 'gripper\.pos'"):
        action_of(np.zeros(2, np.float32), FEATURES, ["pan.pos"])


def test_coordinates_that_were_forgotten_are_asked_for() -> None:
    with pytest.raises(ObservationError, match=r"observation\.environment_state"):
        read_observation(observation_of(SEEN, FEATURES), FEATURES)
