"""What the studio says of a policy, for policies whose answer is known."""

import numpy as np
import pytest
import torch

from foreact.config import PolicyConfig
from foreact.errors import ConfigError, ObservationError
from foreact.policy.hand import Hand
from foreact.policy.policy import Policy
from foreact.sim.calibration import arm_of_model
from foreact.sim.kinematics import Kinematics
from foreact.sim.layout import WORKSPACE
from foreact.sim.scene import build_arm
from foreact.studio.attention import attention_seen
from foreact.studio.click_map import click_map, click_points
from foreact.studio.occlusion import occlusion
from foreact.studio.shelf import SharedPolicy
from foreact_runtime.keys import image_key
from foreact_runtime.observation import Observation
from made_policy import spread
from studio.sim_policy import FEATURES, STEPS, Written, ends_at, observation, stays, told


def hand_of(policy: Written) -> Hand:
    return Hand(policy.features, policy.executor_settings, arm_of_model(build_arm()))


def test_a_policy_that_goes_where_it_is_told_follows_the_whole_click() -> None:
    policy = Written(ends_at(told), hand_poses=True)
    found = click_map(SharedPolicy(policy), hand_of(policy), observation())
    assert found is not None
    assert found.ends[:, :2] == pytest.approx(found.points, abs=1e-6)
    assert found.follows == pytest.approx(1.0, abs=1e-5)


def test_a_policy_that_goes_to_one_place_follows_nothing() -> None:
    policy = Written(ends_at(lambda _: np.array([0.2, 0.0, 0.1])), hand_poses=True)
    found = click_map(SharedPolicy(policy), hand_of(policy), observation())
    assert found is not None
    assert found.follows == pytest.approx(0.0, abs=1e-6)
    assert found.spread == pytest.approx(0.0, abs=1e-6)


def test_clicks_cover_the_workspace_to_its_corners() -> None:
    points = click_points()
    assert points.min(axis=0) == pytest.approx(WORKSPACE[0])
    assert points.max(axis=0) == pytest.approx(WORKSPACE[1])


def test_covering_the_patch_that_a_policy_looks_at_moves_its_path_and_no_other_does() -> None:
    def bright(seen: Observation) -> np.ndarray:
        patch = np.asarray(seen[image_key("overhead")])[8:12, 20:24]
        return np.array([0.0, 0.0, float(patch.mean()) / 255])

    seen = observation()
    seen[image_key("overhead")][8:12, 20:24] = 255
    policy = Written(ends_at(bright), hand_poses=True)
    moved = occlusion(SharedPolicy(policy), hand_of(policy), seen, "overhead")
    assert moved is not None
    assert np.argwhere(moved > 1e-9).tolist() == [[2, 5]]
    mean = seen[image_key("overhead")].reshape(-1, 3).mean(axis=0).astype(np.uint8).mean()
    # Along a straight line to a place that comes nearer, the steps move by 0 to all of it: half on average.
    assert moved[2, 5] == pytest.approx((255 - mean) / 255 / 2, abs=1e-5)


def test_a_camera_that_the_policy_does_not_have_is_named() -> None:
    policy = Written(ends_at(told), hand_poses=True)
    with pytest.raises(ObservationError, match="'wrist'"):
        occlusion(SharedPolicy(policy), hand_of(policy), observation(), "wrist")


def test_the_path_of_joint_positions_is_the_simulations_forward_kinematics() -> None:
    policy = Written(stays)
    chunk = stays(observation(3))
    path = hand_of(policy).path(chunk)
    assert path is not None
    assert path.shape == (STEPS, 3)
    assert path[0] == pytest.approx(Kinematics().forward(chunk[0, :5]).position, abs=1e-6)


def small_policy() -> Policy:
    torch.manual_seed(0)
    config = PolicyConfig(
        chunk_size=STEPS, n_action_steps=2, vision_backbone="cnn", pretrained_backbone_weights=None,
        backbone_norm="group", dim_model=16, n_heads=2, dim_feedforward=32, n_encoder_layers=1, n_decoder_layers=1,
        n_vae_encoder_layers=1, latent_dim=4,
    )  # fmt: skip
    dims = {"action": 6, "observation.state": 6, "observation.environment_state": 2}
    return Policy(config=config, features=FEATURES, statistics={key: spread(n, 0.2, 0.3) for key, n in dims.items()})


def test_the_attention_is_shared_out_among_all_inputs_and_looking_changes_nothing() -> None:
    policy = small_policy()
    before = policy.predict_chunk(observation())
    seen = attention_seen(SharedPolicy(policy), observation())
    assert sum(seen.shares.values()) == pytest.approx(1.0, abs=1e-5)
    assert set(seen.shares) == {"latent", "state", "coordinate", "overhead"}
    (camera,) = seen.cameras
    assert camera.weights.sum() == pytest.approx(seen.shares["overhead"], abs=1e-6)
    assert camera.weights.shape == policy.predictor.network.feature_sizes["overhead"]
    assert policy.predict_chunk(observation()) == pytest.approx(before)


def test_into_a_policy_that_is_no_network_of_ours_one_cannot_look() -> None:
    with pytest.raises(ConfigError, match="give the studio the run"):
        attention_seen(SharedPolicy(Written(stays)), observation())
