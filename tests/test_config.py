"""Configurations and presets: checks, round trips, sizes of the reference robots."""

import json

import pytest

from foreact.config import PolicyConfig, TrainConfig, policy_config_from_dict, to_dict, train_config_from_dict
from foreact.errors import ConfigError
from foreact.presets import PRESETS, R1PRO_ACTION, R1PRO_STATE, preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_json(name: str) -> None:
    recipe = preset(name)
    assert policy_config_from_dict(json.loads(json.dumps(to_dict(recipe.policy)))) == recipe.policy
    assert train_config_from_dict(json.loads(json.dumps(to_dict(recipe.train)))) == recipe.train


def test_r1pro_has_37_state_and_23_action_dimensions_with_their_ranges() -> None:
    policy = preset("r1pro").policy
    assert sum(group.dim for group in R1PRO_STATE) == 37
    assert sum(group.dim for group in R1PRO_ACTION) == 23
    assert policy.state_ranges is not None
    assert policy.action_ranges is not None
    assert (len(policy.state_ranges), len(policy.action_ranges)) == (37, 23)
    assert all(low < high for low, high in (*policy.state_ranges, *policy.action_ranges))


def test_lists_from_yaml_become_tuples() -> None:
    config = PolicyConfig(image_size=[96, 128], cameras=["wrist"])  # type: ignore[arg-type]
    assert (config.image_size, config.cameras) == ((96, 128), ("wrist",))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_action_steps": 30, "chunk_size": 20}, "more than policy.chunk_size 20"),
        ({"temporal_ensemble_coeff": 0.01, "n_action_steps": 2}, "policy.n_action_steps 1"),
        ({"dim_model": 100, "n_heads": 8}, "policy.dim_model 100 cannot be divided"),
        ({"crop_size": (300, 10), "image_size": (240, 240)}, "larger than policy.image_size"),
        ({"chunk_size": 0, "n_action_steps": 0}, "policy.chunk_size is 0"),
    ],
)
def test_contradictions_are_refused_with_the_key_that_is_wrong(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PolicyConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"chunksize": 3}, "unknown PolicyConfig key 'chunksize'; did you mean 'chunk_size'"),
        ({"vision_backbone": "resnet81"}, "did you mean 'resnet18'"),
    ],
)
def test_a_misspelt_key_or_value_suggests_the_right_one(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        policy_config_from_dict(values)


def test_a_misspelt_preset_suggests_the_right_one() -> None:
    with pytest.raises(ConfigError, match="unknown preset 'so10'; did you mean 'so101'"):
        preset("so10")


def test_a_warm_up_longer_than_the_training_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train.warmup_steps 100 is not below train.steps 50"):
        TrainConfig(steps=50, warmup_steps=100)
