"""The one normalisation: laws and hand-made numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreact.config import PolicyConfig
from foreact.errors import ConfigError
from foreact.normalizer import Normalizer, binary_dimensions, statistics_from_dict, statistics_to_dict
from foreact.records import Batch, Camera, Features, KeyGroup, VectorStatistics


def statistics_of(values: np.ndarray) -> VectorStatistics:
    return VectorStatistics(
        mean=values.mean(0),
        std=values.std(0),
        min=values.min(0),
        max=values.max(0),
        q01=np.quantile(values, 0.01, axis=0),
        q99=np.quantile(values, 0.99, axis=0),
        count=len(values),
    )


VALUES = np.random.default_rng(0).normal([1.0, -20.0, 5.0], [0.5, 30.0, 0.0], size=(500, 3))
STATISTICS = {key: statistics_of(VALUES) for key in ("action", "observation.state")}
FEATURES = Features(action_names=("a", "b", "c"), state_names=("a", "b", "c"))


@given(
    raw=st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3),
    method=st.sampled_from(["mean_std", "min_max", "quantile", "identity"]),
)
@settings(max_examples=60, deadline=None)
def test_the_inverse_gives_the_robots_units_back_also_for_a_constant_dimension(raw: list[float], method: str) -> None:
    config = PolicyConfig(action_normalization=method)  # type: ignore[arg-type]
    normalizer = Normalizer(config, FEATURES, STATISTICS)
    action = torch.tensor([[raw]])
    normalised = normalizer.normalize(Batch(action=action)).action
    assert normalised is not None
    # float32 keeps 7 digits of values up to 100
    torch.testing.assert_close(normalizer.unnormalize_action(normalised), action, atol=5e-5, rtol=1e-5)


def test_mean_std_and_min_max_by_hand() -> None:
    for method, expected in (("mean_std", (VALUES - VALUES.mean(0)) / [*VALUES.std(0)[:2], 1.0]),):
        normalizer = Normalizer(PolicyConfig(state_normalization=method), FEATURES, STATISTICS)  # type: ignore[arg-type]
        scaled = normalizer.normalize(Batch(state=torch.from_numpy(VALUES).float())).state
        assert scaled is not None
        np.testing.assert_allclose(scaled, expected, atol=1e-5)
    normalizer = Normalizer(PolicyConfig(state_normalization="min_max"), FEATURES, STATISTICS)
    state = normalizer.normalize(Batch(state=torch.from_numpy(VALUES).float())).state
    assert state is not None
    np.testing.assert_allclose(state.amin(0), [-1, -1, 0], atol=1e-6)
    np.testing.assert_allclose(state.amax(0), [1, 1, 0], atol=1e-6)


def test_a_constant_dimension_that_moves_later_is_not_blown_up() -> None:
    normalizer = Normalizer(PolicyConfig(), FEATURES, STATISTICS)
    state = normalizer.normalize(Batch(state=torch.tensor([[1.0, -20.0, 5.01]]))).state
    assert state is not None
    assert abs(state[0, 2].item()) == pytest.approx(0.01, abs=1e-5)


def test_declared_ranges_replace_the_datas() -> None:
    config = PolicyConfig(action_normalization="min_max", action_ranges=((0, 2), (-1, 1), (10, 20)))
    normalizer = Normalizer(config, FEATURES, {"observation.state": STATISTICS["observation.state"]})
    action = normalizer.normalize(Batch(action=torch.tensor([[[2.0, 0.0, 10.0]]]))).action
    assert action is not None
    assert action.tolist() == [[[1.0, 0.0, -1.0]]]


def test_colour_becomes_imagenet_standardised_and_depth_only_scaled() -> None:
    camera = Camera(name="head", height=2, width=2, depth_range=(1.0, 3.0))
    features = Features(action_names=("a", "b", "c"), cameras=(camera,))
    normalizer = Normalizer(PolicyConfig(), features, STATISTICS)
    batch = Batch(
        images={"head": torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)},
        depth={"head": torch.tensor([[[[0.0, 1.0], [2.0, 9.0]]]])},
    )
    image = normalizer.normalize(batch).images["head"]
    assert image.shape == (1, 4, 2, 2)
    np.testing.assert_allclose(
        image[0, :3, 0, 0], (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225], rtol=1e-5
    )
    assert image[0, 3].tolist() == [[0.0, 0.0], [0.5, 1.0]]


def test_a_depth_camera_is_known_by_its_range_not_by_its_name() -> None:
    camera = Camera(name="depth_cam", height=2, width=2)
    normalizer = Normalizer(PolicyConfig(), Features(action_names=("a", "b", "c"), cameras=(camera,)), STATISTICS)
    image = normalizer.normalize(Batch(images={"depth_cam": torch.zeros(1, 3, 2, 2, dtype=torch.uint8)})).images
    assert image["depth_cam"].shape == (1, 3, 2, 2)


def test_binary_actions_are_named_by_dimension_or_group() -> None:
    groups = (KeyGroup(key="arm", dim=2), KeyGroup(key="gripper", dim=1))
    features = Features(action_names=("a", "b", "c"), action_groups=groups)
    for name in ("c", "gripper"):
        assert binary_dimensions(PolicyConfig(binary_actions=(name,)), features).tolist() == [False, False, True]
    assert binary_dimensions(PolicyConfig(binary_actions=("arm",)), features).tolist() == [True, True, False]
    with pytest.raises(ConfigError, match="binary_actions names 'claw'; the action has: a, b, c, arm, gripper"):
        binary_dimensions(PolicyConfig(binary_actions=("claw",)), features)


def test_missing_or_misshapen_statistics_name_the_key() -> None:
    with pytest.raises(ConfigError, match="no statistics for 'action'"):
        Normalizer(PolicyConfig(), FEATURES, {})
    features = Features(action_names=("a",))
    with pytest.raises(ConfigError, match=r"statistics of 'action' have shape \(3,\), expected \(1,\)"):
        Normalizer(PolicyConfig(), features, STATISTICS)


def test_statistics_survive_json_exactly() -> None:
    import json

    back = statistics_from_dict(json.loads(json.dumps(statistics_to_dict(STATISTICS))))
    for key, of in STATISTICS.items():
        for name in ("mean", "std", "min", "max", "q01", "q99"):
            np.testing.assert_array_equal(getattr(back[key], name), getattr(of, name))


def test_a_camera_with_statistics_of_its_own_is_standardised_by_them_and_the_others_by_imagenet() -> None:
    colours = VectorStatistics(
        mean=np.array([0.1, 0.2, 0.3]),
        std=np.array([0.5, 0.25, 0.125]),
        **dict.fromkeys(("min", "max", "q01", "q99"), np.zeros(3)),
        count=1,
    )
    cameras = (Camera(name="a.b", height=2, width=2), Camera(name="c", height=2, width=2))
    features = Features(action_names=("a", "b", "c"), cameras=cameras)
    normalizer = Normalizer(PolicyConfig(), features, {**STATISTICS, "observation.images.a.b": colours})
    white = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    seen = normalizer.normalize(Batch(images={"a.b": white, "c": white})).images
    torch.testing.assert_close(seen["a.b"][0, :, 0, 0], torch.tensor([1.8, 3.2, 5.6]))
    torch.testing.assert_close(seen["c"][0, 0, 0, 0], torch.tensor((1 - 0.485) / 0.229))


def test_narrowest_0_scales_a_dimension_however_little_it_varies() -> None:
    still = np.array([[1.0, 0.0, 0.0], [1.0, 1e-6, 2.0]])
    statistics = {"action": statistics_of(still + 0.0)}
    statistics["action"] = replace(statistics["action"], std=np.array([1e-8, 5e-7, 1.0]))
    features = Features(action_names=("a", "b", "c"))
    normalizer = Normalizer(PolicyConfig(narrowest=0.0), features, statistics)
    np.testing.assert_allclose(normalizer.unnormalize_action(torch.ones(3)), [1 + 1e-8, 1e-6, 2], rtol=1e-6)
    usual = Normalizer(PolicyConfig(), features, statistics)
    np.testing.assert_allclose(usual.unnormalize_action(torch.ones(3)), [2, 1, 2], rtol=1e-6)
