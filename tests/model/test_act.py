from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import itemgetter
from typing import Any

import pytest
import torch
from torch import Tensor

from foreact.config import PolicyConfig
from foreact.errors import ConfigError
from foreact.model.act import ACT
from foreact.model.losses import act_loss
from foreact.presets import preset
from foreact.records import Batch, Camera, Features

MakeConfig = Callable[..., PolicyConfig]
MakeBatch = Callable[..., Batch]
WithoutGradient = Callable[[ACT, Batch], set[str]]


def encoder_input(model: ACT, batch: Batch) -> Tensor:
    """Return what the transformer's encoder is given, (B, L, D)."""
    seen: list[Tensor] = []
    hook = model.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(batch)
    hook.remove()
    return seen[0]


# --- Tokens -----------------------------------------------------------------------------------------------------------


def test_so101_has_603_tokens(make_batch: MakeBatch) -> None:
    config = replace(preset("so101").policy, pretrained_backbone_weights=None)
    features = Features(
        action_names=tuple("abcdef"),
        state_names=tuple("abcdef"),
        environment_names=("x", "y"),
        cameras=(Camera(name="wrist", height=480, width=640), Camera(name="overhead", height=480, width=640)),
    )
    model = ACT(config, features).eval()
    by_hand = 1 + 1 + 1 + (480 // 32) * (640 // 32) + (480 // 32) * (640 // 32)
    assert by_hand == 603
    assert model.n_tokens == by_hand
    batch = make_batch(config, features, size=1)
    assert encoder_input(model, batch).shape == (1, by_hand, 512)
    assert model(batch).action_hat.shape == (1, 100, 6)


def test_r1pro_has_149_tokens(make_batch: MakeBatch) -> None:
    config = replace(preset("r1pro").policy, pretrained_backbone_weights=None)
    names = ("left_realsense", "right_realsense", "zed")
    features = Features(
        action_names=tuple(f"a{i}" for i in range(23)),
        state_names=tuple(f"s{i}" for i in range(37)),
        cameras=tuple(Camera(name=name, height=240, width=240, depth_range=(0.0, 10.0)) for name in names),
    )
    model = ACT(config, features).eval()
    by_hand = 1 + 1 + 3 * (224 // 32) ** 2
    assert by_hand == 149
    assert model.n_tokens == by_hand
    batch = make_batch(config, features, size=1)
    assert batch.images["zed"].shape == (1, 4, 224, 224)
    assert encoder_input(model, batch).shape == (1, by_hand, 512)
    assert model(batch).action_hat.shape == (1, 20, 23)


def test_tokens_come_in_the_order_latent_state_coordinates_first_camera_second_camera(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(), features).eval()
    batch = make_batch(model.config, features)
    # 48x32 pixels at stride 16 give 3x2 cells, 32x32 give 2x2: tokens 3..8 and 9..12.
    expected = {"state": {1}, "environment_state": {2}, "overhead": set(range(3, 9)), "wrist": set(range(9, 13))}
    assert model.n_tokens == 13
    before = encoder_input(model, batch)
    for name, tokens in expected.items():
        if name in batch.images:
            changed = replace(batch, images={**batch.images, name: batch.images[name] + 1})
        else:
            changed = replace(batch, **{name: getattr(batch, name) + 1})
        difference = (encoder_input(model, changed) - before).abs().amax(dim=(0, 2))
        assert set(difference.nonzero().flatten().tolist()) == tokens, name


def test_image_tokens_are_the_feature_map_row_by_row(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(), features).eval()
    batch = make_batch(model.config, features)
    tokens = encoder_input(model, batch)
    with torch.no_grad():
        cells = model.image_proj(model.backbones[0](batch.images["overhead"]))  # type: ignore[misc]
    for row in range(3):
        for column in range(2):
            torch.testing.assert_close(tokens[:, 3 + 2 * row + column], cells[:, :, row, column])


@pytest.mark.parametrize(
    ("changes", "n_tokens"),
    [
        ({"state_names": ()}, 12),
        ({"environment_names": ()}, 12),
        ({"state_names": (), "environment_names": ()}, 11),
        ({"cameras": ()}, 3),
        ({"cameras": (), "environment_names": ()}, 2),
    ],
)
def test_state_coordinates_and_cameras_are_each_optional(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch, changes: dict[str, Any], n_tokens: int
) -> None:
    features = replace(features, **changes)
    model = ACT(make_config(), features)
    batch = make_batch(model.config, features)
    assert encoder_input(model, batch).shape[1] == model.n_tokens == n_tokens
    assert model(batch, z="posterior").action_hat.shape == (3, 5, 4)


def test_crops_decide_the_number_of_tokens(make_config: MakeConfig, features: Features, make_batch: MakeBatch) -> None:
    model = ACT(make_config(crop_size=(32, 16)), features)
    assert model.n_tokens == 3 + 2 * (2 * 1)
    assert model(make_batch(model.config, features)).action_hat.shape == (3, 5, 4)


# --- Cameras ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def twins(features: Features) -> Features:
    """Two cameras of one size."""
    return replace(features, cameras=tuple(Camera(name=name, height=32, width=48) for name in ("left", "right")))


def test_the_order_of_a_dict_of_images_does_not_matter_but_the_names_do(
    make_config: MakeConfig, twins: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(), twins).eval()
    batch = make_batch(model.config, twins)
    left, right = batch.images["left"], batch.images["right"]
    expected = model(batch).action_hat
    assert torch.equal(model(replace(batch, images={"right": right, "left": left})).action_hat, expected)
    swapped = model(replace(batch, images={"left": right, "right": left})).action_hat
    assert (swapped - expected).abs().max() > 1e-3


def test_only_the_camera_embedding_tells_cameras_apart(
    make_config: MakeConfig, twins: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(camera_embedding=False), twins).eval()
    batch = make_batch(model.config, twins)
    swapped = replace(batch, images={"left": batch.images["right"], "right": batch.images["left"]})
    torch.testing.assert_close(model(swapped).action_hat, model(batch).action_hat, rtol=1e-4, atol=1e-5)


def test_separate_backbones_belong_to_their_cameras(
    make_config: MakeConfig, twins: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(shared_backbone=False), twins).eval()
    batch = make_batch(model.config, twins)
    before = encoder_input(model, batch)
    for parameter in model.backbones[1].parameters():
        parameter.data.add_(0.1)
    difference = (encoder_input(model, batch) - before).abs().amax(dim=(0, 2))
    assert set(difference.nonzero().flatten().tolist()) == set(range(9, 15))  # after 3 + 2x3 tokens


@pytest.mark.parametrize("name", ["cnn", "resnet18"])
@pytest.mark.parametrize(("depth_range", "cue_map"), [((0.0, 2.0), False), (None, True), ((0.0, 2.0), True)])
def test_a_policy_with_depth_or_a_cue_map_starts_as_its_rgb_policy_bit_for_bit(
    make_config: MakeConfig,
    twins: Features,
    make_batch: MakeBatch,
    name: str,
    depth_range: tuple[float, float] | None,
    cue_map: bool,
) -> None:
    cameras = tuple(replace(camera, depth_range=depth_range, cue_map=cue_map) for camera in twins.cameras)
    config = make_config(vision_backbone=name)
    torch.manual_seed(5)
    colour = ACT(config, twins).eval()
    torch.manual_seed(5)
    wider = ACT(replace(config, conditioning=("token", "heatmap")), replace(twins, cameras=cameras)).eval()
    batch = make_batch(config, twins)
    further = cameras[0].channels - 3
    images = {name: torch.cat([image, torch.rand(3, further, 32, 48)], dim=1) for name, image in batch.images.items()}
    assert torch.equal(wider(replace(batch, images=images)).action_hat, colour(batch).action_hat)


# --- Latent -----------------------------------------------------------------------------------------------------------


def test_posterior_noise_comes_from_the_generator(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(), features)
    batch = make_batch(model.config, features)
    first, again, other = (
        model(batch, z="posterior", generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.action_hat, again.action_hat)
    assert not torch.equal(first.action_hat, other.action_hat)
    assert torch.equal(first.mu, other.mu)
    noise = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    z = first.mu + (first.log_var / 2).exp() * noise
    assert torch.equal(model(batch, z=z).action_hat, first.action_hat)


def test_zero_is_the_prior_mode_and_needs_no_actions(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(), features)
    batch = replace(make_batch(model.config, features), action=None, action_is_pad=None)
    output = model(batch)
    assert output.mu is None
    assert output.log_var is None
    assert torch.equal(output.action_hat, model(batch, z=torch.zeros(3, 6)).action_hat)
    assert not torch.equal(output.action_hat, model(batch, z=torch.ones(3, 6)).action_hat)


def test_the_prediction_with_zero_does_not_see_the_actions(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(), features)  # in training mode, where LeRobot's would use them
    batch = make_batch(model.config, features)
    other = replace(batch, action=torch.zeros(3, 5, 4))
    assert torch.equal(model(batch).action_hat, model(other).action_hat)


def test_without_its_cvae_encoder_the_policy_predicts_the_same(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(), features).eval()
    batch = make_batch(model.config, features)
    before = model(batch).action_hat
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert model.vae_encoder is not None
    n_vae = sum(parameter.numel() for parameter in model.vae_encoder.parameters())
    model.drop_vae_encoder()
    assert torch.equal(model(batch).action_hat, before)
    assert sum(parameter.numel() for parameter in model.parameters()) == n_parameters - n_vae
    assert not any(name.startswith("vae_encoder") for name in model.state_dict())
    with pytest.raises(RuntimeError, match="was dropped"):
        model(batch, z="posterior")

    exported = ACT(make_config(), features).eval()
    exported.drop_vae_encoder()
    exported.load_state_dict(model.state_dict())
    assert torch.equal(exported(batch).action_hat, before)


def test_without_use_vae_there_is_no_posterior(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(use_vae=False), features)
    batch = make_batch(model.config, features)
    assert model.vae_encoder is None
    assert act_loss(model(batch), batch, model.config).kl is None
    with pytest.raises(ValueError, match="use_vae is False"):
        model(batch, z="posterior")


# --- Gradients --------------------------------------------------------------------------------------------------------


FIRST_LAYER = "decoder.layers.0"
"""It attends among contents that are all alike (at first empty), so how they are mixed has no effect."""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pre_norm": True},
        {"n_decoder_layers": 7},
        {"shared_backbone": False, "feedforward_activation": "gelu"},
        {"vision_backbone": "resnet18", "backbone_norm": "frozen"},
    ],
)
def test_every_parameter_meant_to_train_gets_a_gradient(
    make_config: MakeConfig,
    features: Features,
    make_batch: MakeBatch,
    without_gradient: WithoutGradient,
    changes: dict[str, Any],
) -> None:
    model = ACT(make_config(**changes), features)
    dead = "norm1.weight" if model.config.pre_norm else "self_attention.in_proj_weight"
    assert without_gradient(model, make_batch(model.config, features)) == {f"{FIRST_LAYER}.{dead}"}


def test_without_use_vae_the_latents_matrix_has_nothing_to_learn(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch, without_gradient: WithoutGradient
) -> None:
    model = ACT(make_config(use_vae=False), features)
    dead = without_gradient(model, make_batch(model.config, features))
    assert dead == {"latent_proj.weight", f"{FIRST_LAYER}.self_attention.in_proj_weight"}


def test_the_actions_are_read_from_the_last_decoder_layer(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(n_decoder_layers=3), features).eval()
    outputs: list[Tensor] = []
    for layer in model.decoder.layers:
        layer.register_forward_hook(lambda _module, _args, output: outputs.append(output))
    action_hat = model(make_batch(model.config, features)).action_hat
    expected = [model.action_head(model.decoder.norm(output)) for output in outputs]
    assert torch.equal(action_hat, expected[2])
    assert not torch.allclose(action_hat, expected[0], atol=1e-3)


# --- Behaviour --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pre_norm", [False, True])
def test_one_batch_can_be_learnt_by_heart(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch, pre_norm: bool
) -> None:
    model = ACT(make_config(pre_norm=pre_norm, kl_weight=0.01), features)
    batch = make_batch(model.config, features, size=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for step in range(200):
        if step == 150:
            optimizer.param_groups[0]["lr"] = 3e-4
        loss = act_loss(model(batch, z="posterior", generator=generator), batch, model.config)
        optimizer.zero_grad()
        loss.loss.backward()
        optimizer.step()
        losses.append(loss.l1.item())
    # Guessing zero for actions from N(0, 1) has an error of 0.8.
    assert losses[0] > 0.6
    assert losses[-1] < 0.08
    model.eval()
    assert act_loss(model(batch), batch, model.config).l1.item() < 0.1


def test_samples_of_a_batch_do_not_see_each_other(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(), features)
    batch = make_batch(model.config, features)
    z = torch.randn(3, 6)
    together = model(batch, z=z).action_hat
    mu = model.posterior(batch)[0]
    for row in range(3):
        alone = batch.map(itemgetter(slice(row, row + 1)))
        torch.testing.assert_close(model(alone, z=z[row : row + 1]).action_hat[0], together[row], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.posterior(alone)[0][0], mu[row], rtol=1e-4, atol=1e-5)


def test_a_chunk_of_one_action_is_behaviour_cloning(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(chunk_size=1, n_action_steps=1), features)
    batch = make_batch(model.config, features)
    assert act_loss(model(batch, z="posterior"), batch, model.config).loss.isfinite()
    assert model(batch).action_hat.shape == (3, 1, 4)


def test_one_seed_makes_one_network(make_config: MakeConfig, features: Features, make_batch: MakeBatch) -> None:
    def build(seed: int) -> ACT:
        torch.manual_seed(seed)
        return ACT(make_config(), features).eval()

    batch = make_batch(make_config(), features)
    assert torch.equal(build(3)(batch).action_hat, build(3)(batch).action_hat)
    assert not torch.equal(build(3)(batch).action_hat, build(4)(batch).action_hat)


def test_mixed_precision_predicts_nearly_the_same(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(), features)
    batch = make_batch(model.config, features)
    exact = act_loss(model(batch, z="posterior", generator=torch.Generator().manual_seed(0)), batch, model.config)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(batch, z="posterior", generator=torch.Generator().manual_seed(0))
        rough = act_loss(output, batch, model.config)
    # bfloat16 has 8 bits: 0.4 % a rounding.
    assert rough.l1.item() == pytest.approx(exact.l1.item(), rel=0.05)
    assert rough.kl is not None
    assert exact.kl is not None
    assert rough.kl.item() == pytest.approx(exact.kl.item(), rel=0.1)


# --- Refusals ---------------------------------------------------------------------------------------------------------


def test_a_policy_without_any_input_is_refused(make_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match="no input"):
        ACT(make_config(), Features(action_names=("a",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_state": False}, "policy.use_state is False"),
        ({"use_environment_state": False}, "policy.use_environment_state is False"),
        ({"cameras": ("wrist", "overhead")}, "policy.cameras is"),
        ({"cameras": ()}, "policy.cameras is"),
    ],
)
def test_features_that_hold_what_the_configuration_leaves_out_are_refused(
    make_config: MakeConfig, features: Features, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ACT(make_config(**changes), features)


def test_depth_that_the_configuration_leaves_out_is_refused(make_config: MakeConfig, features: Features) -> None:
    cameras = (Camera(name="head", height=32, width=32, depth_range=(0.1, 2.0)),)
    with pytest.raises(ConfigError, match=r"policy\.use_depth is False"):
        ACT(make_config(use_depth=False), replace(features, cameras=cameras))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": None}, r"the batch lacks state, shape \(3, 3\)"),
        ({"environment_state": torch.zeros(3, 3)}, r"environment_state has shape \(3, 3\), expected \(3, 2\)"),
        ({"images": {"overhead": torch.zeros(3, 3, 48, 32)}}, r"the batch lacks images\['wrist'\]"),
        (
            {"images": {"overhead": torch.zeros(3, 3, 32, 48), "wrist": torch.zeros(3, 3, 32, 32)}},
            r"images\['overhead'\] has shape \(3, 3, 32, 48\), expected \(3, 3, 48, 32\)",
        ),
        (
            {"images": {"overhead": torch.zeros(3, 4, 48, 32), "wrist": torch.zeros(3, 3, 32, 32)}},
            r"images\['overhead'\] has shape \(3, 4, 48, 32\), expected \(3, 3, 48, 32\)",
        ),
        ({"action": torch.zeros(3, 6, 4)}, r"action has shape \(3, 6, 4\), expected \(3, 5, 4\)"),
        ({"action_is_pad": None}, r"the batch lacks action_is_pad, shape \(3, 5\)"),
    ],
)
def test_a_batch_of_another_shape_is_refused_by_name(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch, changes: dict[str, Any], message: str
) -> None:
    model = ACT(make_config(), features)
    batch = replace(make_batch(model.config, features), **changes)
    with pytest.raises(ValueError, match=message):
        model(batch, z="posterior")


def test_a_latent_of_another_shape_or_name_is_refused(
    make_config: MakeConfig, features: Features, make_batch: MakeBatch
) -> None:
    model = ACT(make_config(), features)
    batch = make_batch(model.config, features)
    with pytest.raises(ValueError, match=r"z has shape \(3, 7\), expected \(3, 6\)"):
        model(batch, z=torch.zeros(3, 7))
    with pytest.raises(ValueError, match="z is 'prior'; expected 'posterior', 'zero' or a tensor"):
        model(batch, z="prior")
