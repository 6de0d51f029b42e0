from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from foreact.config import PolicyConfig
from foreact.errors import ConfigError, MissingExtraError
from foreact.model.act import ACT
from foreact.model.backbone import make_backbone, make_backbones
from foreact.model.film import FiLM
from foreact.model.vit import ViTBackbone
from foreact.records import Batch, Camera, Features

timm = pytest.importorskip("timm")

MakeConfig = Callable[..., PolicyConfig]
MakeBatch = Callable[..., Batch]
WithoutGradient = Callable[[ACT, Batch], set[str]]
SMALL = "vit_small_patch14_dinov2"


@pytest.fixture
def config(make_config: MakeConfig) -> PolicyConfig:
    return make_config(vision_backbone="dinov2_small", backbone_norm="frozen")


def from_file(config: PolicyConfig, path: Path) -> PolicyConfig:
    return replace(config, pretrained_backbone_weights=str(path))


def random_dinov2() -> dict[str, Tensor]:
    """Weights with timm's names that differ from every default."""
    weights = timm.create_model(SMALL, num_classes=0).state_dict()
    return {name: value + 0.02 * torch.randn_like(value) for name, value in weights.items()}


@pytest.mark.parametrize(
    ("name", "pixels", "size"),
    [
        ("vit_base", (224, 224), (768, 14, 14)),
        ("dinov2_small", (28, 42), (384, 2, 3)),
        ("dinov2_small", (30, 43), (384, 3, 4)),  # no multiples of 14
    ],
)
def test_patch_tokens_are_a_feature_map_of_the_announced_size(
    make_config: MakeConfig, name: str, pixels: tuple[int, int], size: tuple[int, int, int]
) -> None:
    backbone = make_backbone(make_config(vision_backbone=name, backbone_norm="frozen"), 3).eval()
    with torch.inference_mode():
        features = backbone(torch.randn(1, 3, *pixels))
    assert features.shape == (1, *size)
    assert (backbone.out_channels, *backbone.feature_size(*pixels)) == size
    assert 0.2 < features.square().mean().sqrt() < 5


def test_a_patch_token_looks_at_its_patch(config: PolicyConfig) -> None:
    backbone = make_backbone(config, 3)
    assert isinstance(backbone, ViTBackbone)
    image = torch.rand(1, 3, 42, 70, requires_grad=True)
    backbone.vit.patch_embed(image)[0, 1, 3].sum().backward()
    assert image.grad is not None
    rows, columns = torch.nonzero(image.grad[0].abs().sum(0), as_tuple=True)
    middle = [(of.min() + of.max() + 1).item() / 2 for of in (columns, rows)]
    assert backbone.cell_middles(42, 70)[1 * 5 + 3].tolist() == middle == [49.0, 21.0]
    assert backbone.cell_middles(30, 43)[-1].tolist() == [49.0, 35.0], "in the zeros around a picture that is smaller"


def test_weights_with_timms_names_give_timms_patch_tokens(config: PolicyConfig, tmp_path: Path) -> None:
    weights = random_dinov2()
    save_file(weights, tmp_path / "w.safetensors")
    ours = make_backbone(from_file(config, tmp_path / "w.safetensors"), 3).eval()
    theirs = timm.create_model(SMALL, num_classes=0).eval()  # takes pictures of 518x518 only: 37x37 patches
    theirs.load_state_dict(weights)
    image = torch.randn(1, 3, 518, 518)
    with torch.inference_mode():
        expected = theirs.forward_intermediates(image, indices=1, norm=True, intermediates_only=True)[0]
        torch.testing.assert_close(ours(image), expected, rtol=1e-3, atol=1e-4)


def test_what_is_missing_to_a_whole_patch_is_zeros_at_the_right_and_below(config: PolicyConfig) -> None:
    backbone = make_backbone(config, 3).eval()
    image = torch.randn(1, 3, 30, 40)
    padded = torch.zeros(1, 3, 42, 42)
    padded[:, :, :30, :40] = image
    with torch.inference_mode():
        assert torch.equal(backbone(image), backbone(padded))


def test_dinov2s_own_file_is_understood_with_its_positions_for_another_grid(
    config: PolicyConfig, tmp_path: Path
) -> None:
    weights = random_dinov2()
    grid = weights["pos_embed"][:, 1:].reshape(1, 37, 37, 384)[:, :16, :16].reshape(1, 256, 384)
    own = {
        **weights,
        "pos_embed": torch.cat([weights["pos_embed"][:, :1], grid], dim=1),
        "mask_token": torch.zeros(1, 384),
    }
    torch.save(own, tmp_path / "w.pth")
    loaded = make_backbone(from_file(config, tmp_path / "w.pth"), 3).state_dict()
    assert torch.equal(loaded["vit.blocks.3.mlp.fc1.weight"], weights["blocks.3.mlp.fc1.weight"])
    assert loaded["vit.pos_embed"].shape == (1, 1 + 37 * 37, 384)
    torch.testing.assert_close(loaded["vit.pos_embed"][0, 0], weights["pos_embed"][0, 0])


def test_a_backbones_own_weights_load_again(config: PolicyConfig, tmp_path: Path) -> None:
    backbone = make_backbone(config, 5)
    save_file(backbone.state_dict(), tmp_path / "w.safetensors")
    loaded = make_backbone(from_file(config, tmp_path / "w.safetensors"), 5).state_dict()
    for name, value in backbone.state_dict().items():
        assert torch.equal(loaded[name], value), name


def test_a_file_of_another_network_is_refused_in_one_line(config: PolicyConfig, tmp_path: Path) -> None:
    weights = random_dinov2()
    files = {
        "resnet": {"conv1.weight": torch.zeros(64, 3, 7, 7)},
        "part": {name: value for name, value in weights.items() if name != "norm.bias"},
        "grid": {**weights, "pos_embed": torch.zeros(1, 8, 384)},
        "wide": {**weights, "norm.bias": torch.zeros(768)},
    }
    messages = {
        "resnet": "'vit.cls_token' is missing",
        "part": "'vit.norm.bias' is missing",
        "grid": "not a vision transformer's",
        "wide": r"'vit.norm.bias' has shape \(768,\), expected \(384,\)",
    }
    for name, content in files.items():
        save_file(content, tmp_path / f"{name}.safetensors")
        with pytest.raises(ConfigError, match=messages[name]) as caught:
            make_backbone(from_file(config, tmp_path / f"{name}.safetensors"), 3)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channels", [4, 5])
def test_depth_and_map_planes_start_at_zero_and_learn(config: PolicyConfig, channels: int) -> None:
    torch.manual_seed(4)
    colour = make_backbone(config, 3).eval()
    torch.manual_seed(4)
    wider = make_backbone(config, channels).eval()
    image, further = torch.randn(2, 3, 28, 42), torch.rand(2, channels - 3, 28, 42)
    features = wider(torch.cat([image, further], dim=1))
    assert torch.equal(features, colour(image))
    features.square().mean().backward()
    gradient = dict(wider.named_parameters())[wider.stem_name].grad
    assert gradient is not None
    assert (gradient[:, 3:].abs().amax(dim=(0, 2, 3)) > 0).all()


def test_a_colour_file_fits_a_backbone_with_a_cue_map(config: PolicyConfig, tmp_path: Path) -> None:
    weights = random_dinov2()
    save_file(weights, tmp_path / "w.safetensors")
    stem = make_backbone(from_file(config, tmp_path / "w.safetensors"), 4).state_dict()["vit.patch_embed.proj.weight"]
    assert torch.equal(stem[:, :3], weights["patch_embed.proj.weight"])
    assert not stem[:, 3].any()


def test_film_starts_as_the_identity_and_then_acts_after_each_quarter_of_the_blocks(config: PolicyConfig) -> None:
    backbone = make_backbone(config, 3).eval()
    assert isinstance(backbone, ViTBackbone)
    film = FiLM(2, backbone.stage_channels)
    image, cue = torch.randn(2, 3, 28, 28), torch.randn(2, 2)
    with torch.inference_mode():
        assert torch.equal(backbone(image, film(cue)), backbone(image))
        for parameter in film.parameters():
            nn.init.normal_(parameter, std=0.1)
        x = backbone.vit._pos_embed(backbone.vit.patch_embed(image))
        for quarter, (gamma, beta) in enumerate(film(cue)):
            x = backbone.vit.blocks[3 * quarter : 3 * quarter + 3](x)
            x = torch.einsum("blc,bc->blc", x, gamma) + beta[:, None]
        expected = backbone.vit.norm(x)[:, 1:].transpose(1, 2).reshape(2, 384, 2, 2)
        torch.testing.assert_close(backbone(image, film(cue)), expected)


def test_a_policy_sees_through_patches_and_every_parameter_learns(
    config: PolicyConfig, features: Features, make_batch: MakeBatch, without_gradient: WithoutGradient
) -> None:
    model = ACT(replace(config, conditioning=("token", "film")), features)
    assert model.n_tokens == 3 + 4 * 3 + 3 * 3  # 48x32 and 32x32 pixels in patches of 14
    batch = make_batch(model.config, features)
    assert model(batch).action_hat.shape == (3, 5, 4)
    assert without_gradient(model, batch) == {"decoder.layers.0.self_attention.in_proj_weight"}


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_norms_for_convolutions_are_refused(config: PolicyConfig, norm: str) -> None:
    with pytest.raises(ConfigError, match=rf"policy\.backbone_norm '{norm}' is for convolutions"):
        make_backbone(replace(config, backbone_norm=norm), 3)  # type: ignore[arg-type]


def test_without_timm_the_extra_is_named(config: PolicyConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"foreact\[vit\]"):
        make_backbone(config, 3)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and a proxy at a port where nothing listens: a machine without network. Returns the cache."""
    for scheme in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")
    monkeypatch.setattr("urllib.request._opener", None)  # which remembers the proxy of its first use
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def test_without_pretrained_weights_one_warning_is_logged_and_training_can_start(
    config: PolicyConfig, offline: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cameras = (Camera(name="left", height=28, width=28), Camera(name="right", height=28, width=28))
    make_backbones(replace(config, pretrained_backbone_weights="imagenet", shared_backbone=False), cameras)
    warnings = [record for record in caplog.records if record.name.startswith("foreact")]
    assert len(warnings) == 1
    assert "weights of 'dinov2_small' cannot be had" in warnings[0].getMessage()


def test_pretrained_weights_in_the_cache_are_used(
    config: PolicyConfig, offline: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = random_dinov2()
    offline.mkdir(parents=True)
    url = timm.get_pretrained_cfg(f"{SMALL}.lvd142m").url
    torch.save({**weights, "mask_token": torch.zeros(1, 384)}, offline / Path(urlparse(url).path).name)
    loaded = make_backbone(replace(config, pretrained_backbone_weights="imagenet"), 3).state_dict()
    assert torch.equal(loaded["vit.blocks.0.attn.qkv.weight"], weights["blocks.0.attn.qkv.weight"])
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
