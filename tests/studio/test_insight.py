"""What the studio says of a policy, for policies whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from foreact.config import PolicyConfig
from foreact.errors import ConfigError, ObservationError
from foreact.policy.checkpoint import load_policy
from foreact.policy.hand import Hand
from foreact.policy.policy import Policy
from foreact.sim.calibration import arm_of_model
from foreact.sim.env import OPEN_ANGLE, REST_ARM, PickPlaceEnv
from foreact.sim.kinematics import Kinematics
from foreact.sim.layout import WORKSPACE
from foreact.sim.scene import BLOCK_SIZE, build_arm
from foreact.sim.task import level
from foreact.studio.attention import attention_seen
from foreact.studio.click_map import click_map, click_points
from foreact.studio.occlusion import occlusion
from foreact.studio.shelf import SharedPolicy
from foreact_runtime.keys import ENVIRONMENT_STATE, STATE, image_key
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
    left, top = camera.cells.corner  # a cell of stride 16 is drawn around pixel 0, where its gradient comes from
    assert (left, top, *camera.cells.size) == (-7.5, -7.5, 16, 16)
    assert policy.predict_chunk(observation()) == pytest.approx(before)


def test_into_a_policy_that_is_no_network_of_ours_one_cannot_look() -> None:
    with pytest.raises(ConfigError, match="give the studio the run"):
        attention_seen(SharedPolicy(Written(stays)), observation())


@pytest.fixture(scope="module")
def cured(cured_run: Path) -> tuple[Policy, Hand, dict[str, np.ndarray]]:
    """A policy with the conditioning token, crop and frame, its hand, and what it sees at the start of an episode."""
    policy = load_policy(cured_run)
    seen = {**observation(), image_key("wrist"): observation(1)[image_key("overhead")]}
    seen[STATE] = np.array([*REST_ARM, OPEN_ANGLE], np.float32)
    return policy, Hand(policy.features, policy.executor_settings, arm_of_model(build_arm())), seen


def test_the_path_of_hand_poses_is_where_the_joints_that_are_sent_bring_the_hand(
    cured: tuple[Policy, Hand, dict[str, np.ndarray]],
) -> None:
    policy, hand, seen = cured
    chunk = policy.predict_chunk(seen)
    path, actions = hand.path(chunk), hand.actions(chunk)
    assert path is not None
    assert len(actions) == policy.config.chunk_size
    reached = [Kinematics().forward(action[:5]).position for action in actions]
    assert np.linalg.norm(path - reached, axis=1).max() < 1e-3


def test_of_a_camera_that_is_cropped_only_what_is_around_the_coordinate_moves_the_path(
    cured: tuple[Policy, Hand, dict[str, np.ndarray]],
) -> None:
    policy, hand, seen = cured
    env = PickPlaceEnv(level("L1", cameras=()))
    env.reset(seed=0)
    pixel = env.project(np.array([*seen[ENVIRONMENT_STATE], BLOCK_SIZE / 2]), "overhead", (32, 32))
    env.close()
    assert pixel is not None
    # The crop is half as wide as the picture, 16 pixels, and a patch an eighth, 4.
    starts = np.arange(0, 32, 4)
    touched = [(starts + 4 > of - 8) & (starts < of + 8) for of in pixel[::-1]]
    covered = [(starts >= of - 7) & (starts + 4 <= of + 7) for of in pixel[::-1]]
    outside, inside = ~np.outer(*touched), np.outer(*covered)
    assert outside.sum() > 30
    assert inside.sum() >= 9
    moved = occlusion(SharedPolicy(policy), hand, seen, "overhead")
    assert moved is not None
    assert moved[outside].max() < 1e-7 < 1e-6 < moved[inside].min()
    by_wrist = occlusion(SharedPolicy(policy), hand, seen, "wrist")
    assert by_wrist is not None
    assert by_wrist.min() > 1e-6


def test_the_attention_to_a_crop_is_drawn_over_the_crop(cured: tuple[Policy, Hand, dict[str, np.ndarray]]) -> None:
    policy, _, seen = cured
    paid = attention_seen(SharedPolicy(policy), seen)
    assert set(paid.shares) == {"latent", "state", "coordinate", "wrist", "overhead@cue"}
    assert sum(paid.shares.values()) == pytest.approx(1.0, abs=1e-5)
    pictures = {of.camera: of.picture for of in paid.cameras}
    assert {camera: of.shape for camera, of in pictures.items()} == {"wrist": (32, 32, 3), "overhead@cue": (16, 16, 3)}
    assert pictures["wrist"] == pytest.approx(seen[image_key("wrist")])


def test_a_click_leads_to_where_the_last_hand_pose_of_its_own_chunk_is(
    cured: tuple[Policy, Hand, dict[str, np.ndarray]],
) -> None:
    policy, hand, seen = cured
    found = click_map(SharedPolicy(policy), hand, seen)
    assert found is not None
    for point, end in list(zip(found.points, found.ends, strict=True))[::9]:
        chunk = policy.predict_chunk({**seen, ENVIRONMENT_STATE: point.astype(np.float32)})
        assert end == pytest.approx(chunk[-1, :3], abs=1e-6)
