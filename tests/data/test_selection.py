"""What a policy takes of the data's features."""

from dataclasses import replace

import pytest

from foreact.config import PolicyConfig
from foreact.data.selection import select_features
from foreact.errors import ConfigError
from foreact.records import Camera, Features, KeyGroup

FEATURES = Features(
    action_names=("a", "b", "c"),
    state_names=("a", "b"),
    environment_names=("x",),
    cameras=(
        Camera(name="head", height=48, width=64, depth_range=(0.1, 3.0)),
        Camera(name="wrist", height=32, width=32),
    ),
    fps=30.0,
)


def test_by_default_everything_is_taken_as_recorded() -> None:
    assert select_features(FEATURES, PolicyConfig()) == FEATURES


def test_cameras_come_in_the_order_of_the_configuration() -> None:
    selected = select_features(FEATURES, PolicyConfig(cameras=("wrist", "head")))
    assert [camera.name for camera in selected.cameras] == ["wrist", "head"]
    assert select_features(FEATURES, PolicyConfig(cameras=())).cameras == ()


def test_resized_cameras_remember_their_recorded_size() -> None:
    head, wrist = select_features(FEATURES, PolicyConfig(image_size=(32, 32))).cameras
    assert (head.height, head.width, head.recorded_size) == (32, 32, (48, 64))
    assert wrist == FEATURES.cameras[1]


def test_state_coordinates_and_depth_can_be_left_out() -> None:
    config = PolicyConfig(use_state=False, use_environment_state=False, use_depth=False)
    selected = select_features(FEATURES, config)
    assert (selected.state_dim, selected.environment_dim, selected.action_dim) == (0, 0, 3)
    assert [camera.channels for camera in selected.cameras] == [3, 3]


def test_downsampling_lowers_the_rate() -> None:
    assert select_features(FEATURES, PolicyConfig(downsample_factor=3)).fps == 10.0


def test_named_groups_lay_out_state_and_action() -> None:
    config = PolicyConfig(state_keys=("qpos/arm", "qpos/grip"), action_keys=("arm", "grip"), key_dims=(1, 1, 2, 1))
    selected = select_features(FEATURES, config)
    assert selected.state_groups == (KeyGroup(key="qpos/arm", dim=1), KeyGroup(key="qpos/grip", dim=1))
    assert selected.action_groups == (KeyGroup(key="arm", dim=2), KeyGroup(key="grip", dim=1))
    assert select_features(FEATURES, replace(config, use_state=False)).state_groups == ()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            PolicyConfig(cameras=("head", "wirst")),
            "unknown camera 'wirst'; did you mean 'wrist'.* choices: head, wrist",
        ),
        (PolicyConfig(cameras=("head", "head")), "names a camera twice: head, head"),
        (PolicyConfig(state_keys=("qpos/arm",), key_dims=(7,)), r"policy.state_keys add up to 7 .*state has 2"),
        (PolicyConfig(action_keys=("arm",), key_dims=(7,)), r"policy.action_keys add up to 7 .*action has 3"),
    ],
)
def test_what_the_data_do_not_have_is_refused(config: PolicyConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        select_features(FEATURES, config)
