from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import FrozenBatchNorm2d

from foreact.config import PolicyConfig
from foreact.errors import ConfigError
from foreact.model.backbone import IMAGENET_WEIGHTS, make_backbone, make_backbones
from foreact.model.backbone_base import widened
from foreact.records import Camera

MakeConfig = Callable[..., PolicyConfig]


@pytest.fixture
def resnet_config(make_config: MakeConfig) -> PolicyConfig:
    return make_config(vision_backbone="resnet18", backbone_norm="frozen")


def from_file(config: PolicyConfig, path: Path) -> PolicyConfig:
    return replace(config, pretrained_backbone_weights=str(path))


def random_resnet18() -> models.ResNet:
    """torchvision's network with weights and running statistics that differ from every default."""
    net = models.resnet18(weights=None)
    for name, value in net.state_dict().items():
        if name.endswith(("running_var", "bn1.weight", "bn2.weight", "downsample.1.weight")):
            nn.init.uniform_(value, 0.5, 1.5)
        elif name.endswith(("running_mean", "bias")):
            nn.init.normal_(value, std=0.2)
    return net.eval()


@pytest.mark.parametrize(
    ("name", "pixels", "size"),
    [
        ("resnet18", (480, 640), (512, 15, 20)),
        ("resnet18", (224, 224), (512, 7, 7)),
        ("resnet34", (64, 96), (512, 2, 3)),
        ("resnet50", (64, 96), (2048, 2, 3)),
        ("cnn", (96, 96), (128, 6, 6)),
        ("cnn", (128, 96), (128, 8, 6)),
    ],
)
def test_the_feature_map_has_the_announced_size(
    make_config: MakeConfig, name: str, pixels: tuple[int, int], size: tuple[int, int, int]
) -> None:
    backbone = make_backbone(make_config(vision_backbone=name), 3)
    with torch.inference_mode():
        assert backbone(torch.randn(1, 3, *pixels)).shape == (1, *size)
    assert (backbone.out_channels, *backbone.feature_size(*pixels)) == size


def test_a_dilated_resnet50_is_torchvisions(make_config: MakeConfig) -> None:
    net = models.resnet50(replace_stride_with_dilation=[False, False, True], norm_layer=FrozenBatchNorm2d).eval()
    backbone = make_backbone(make_config(vision_backbone="resnet50", backbone_norm="frozen", backbone_dilation=True), 3)
    backbone.load_state_dict({name: value for name, value in net.state_dict().items() if not name.startswith("fc.")})
    image = torch.randn(1, 3, 64, 90)
    with torch.inference_mode():
        expected = IntermediateLayerGetter(net, {"layer4": "map"})(image)["map"]
        torch.testing.assert_close(backbone(image), expected, rtol=1e-4, atol=1e-4)
    assert backbone.feature_size(64, 90) == expected.shape[-2:] == (4, 6)
    with pytest.raises(ConfigError, match="backbone_dilation is for resnet50"):
        make_config(vision_backbone="resnet18", backbone_dilation=True)


@pytest.mark.parametrize("name", ["resnet18", "cnn"])
def test_cells_that_are_not_full_count(make_config: MakeConfig, name: str) -> None:
    backbone = make_backbone(make_config(vision_backbone=name), 3)
    for pixels in ((33, 64), (31, 100), (65, 97), (240, 17)):
        with torch.inference_mode():
            assert backbone(torch.randn(1, 3, *pixels)).shape[2:] == backbone.feature_size(*pixels)


@pytest.mark.parametrize(
    ("name", "size", "cell"),
    [("cnn", (128, 96), (3, 2)), ("cnn", (120, 100), (3, 4)), ("resnet18", (480, 480), (7, 7))],
)
def test_a_cell_looks_where_its_gradient_comes_from(
    make_config: MakeConfig, name: str, size: tuple[int, int], cell: tuple[int, int]
) -> None:
    """Of all pixels, weighed by how much they move the cell; all weights positive, so that nothing is shut off.

    The cells are those whose whole receptive field is in the picture: ResNet-18's is 435 pixels wide.
    """
    backbone = make_backbone(make_config(vision_backbone=name, backbone_norm="frozen"), 3).double()
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.abs_()
    image = torch.rand(1, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    backbone(image)[0, :, cell[0], cell[1]].sum().backward()
    assert image.grad is not None
    weights = image.grad[0].abs().sum(0)
    weights = weights / weights.sum()
    row = (weights.sum(1) * (torch.arange(size[0]) + 0.5)).sum().item()
    column = (weights.sum(0) * (torch.arange(size[1]) + 0.5)).sum().item()
    columns = backbone.feature_size(*size)[1]
    looked_at = backbone.cell_middles(*size)[cell[0] * columns + cell[1]]
    assert looked_at.tolist() == pytest.approx([column, row], abs=backbone.stride / 10)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_from_a_file_give_torchvisions_features(
    resnet_config: PolicyConfig, tmp_path: Path, suffix: str
) -> None:
    theirs = random_resnet18()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(theirs.state_dict(), path)
    else:
        save_file(theirs.state_dict(), path)
    ours = make_backbone(from_file(resnet_config, path), 3)
    features = IntermediateLayerGetter(theirs, {"layer4": "map"})
    image = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), features(image)["map"], rtol=1e-4, atol=1e-4)


def test_weights_have_torchvisions_names(resnet_config: PolicyConfig) -> None:
    theirs = models.resnet18(weights=None, norm_layer=FrozenBatchNorm2d).state_dict()
    assert make_backbone(resnet_config, 3).state_dict().keys() == {n for n in theirs if not n.startswith("fc.")}


@pytest.mark.parametrize("name", ["resnet18", "cnn"])
@pytest.mark.parametrize("channels", [4, 5])
@pytest.mark.parametrize("pixels", [(64, 64), (48, 96), (33, 47)])
def test_a_backbone_with_depth_or_a_map_starts_as_its_rgb_backbone_bit_for_bit(
    make_config: MakeConfig, name: str, channels: int, pixels: tuple[int, int]
) -> None:
    config = make_config(vision_backbone=name, backbone_norm="frozen")
    torch.manual_seed(4)
    colour = make_backbone(config, 3)
    torch.manual_seed(4)
    wider = make_backbone(config, channels)
    image, further = torch.randn(2, 3, *pixels), torch.rand(2, channels - 3, *pixels)
    with torch.inference_mode():
        assert torch.equal(wider(torch.cat([image, further], dim=1)), colour(image))


def test_a_stem_for_more_channels_is_one_convolution_over_all_of_them() -> None:
    stem = widened(nn.Conv2d(3, 8, 5, stride=2, padding=2), 5)
    nn.init.normal_(stem.weight)
    image = torch.randn(2, 5, 17, 20)
    expected = nn.functional.conv2d(image, stem.weight, stem.bias, stride=2, padding=2)
    # 125 products a sum, in another order.
    torch.testing.assert_close(stem(image), expected, rtol=1e-4, atol=1e-4)


def test_more_channels_draw_no_random_numbers() -> None:
    conv = nn.Conv2d(3, 8, 5)
    before = torch.random.get_rng_state()
    widened(conv, 5)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", ["resnet18", "cnn"])
def test_the_planes_of_depth_and_map_learn(make_config: MakeConfig, name: str) -> None:
    backbone = make_backbone(make_config(vision_backbone=name), 5)
    backbone(torch.randn(2, 5, 64, 64)).square().mean().backward()
    gradient = dict(backbone.named_parameters())[backbone.stem_name].grad
    assert gradient is not None
    assert (gradient[:, 3:].abs().amax(dim=(0, 2, 3)) > 1e-6).all()


def test_a_file_for_colour_fits_an_rgbd_backbone(resnet_config: PolicyConfig, tmp_path: Path) -> None:
    theirs = random_resnet18()
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    config = from_file(resnet_config, tmp_path / "w.safetensors")
    stem = make_backbone(config, 4).state_dict()["conv1.weight"]
    assert torch.equal(stem[:, :3], theirs.conv1.weight)
    assert not stem[:, 3].any()


def test_an_rgbd_backbones_own_file_loads_with_its_depth_plane(resnet_config: PolicyConfig, tmp_path: Path) -> None:
    backbone = make_backbone(resnet_config, 4)
    nn.init.normal_(next(backbone.parameters()))
    save_file(backbone.state_dict(), tmp_path / "w.safetensors")
    loaded = make_backbone(from_file(resnet_config, tmp_path / "w.safetensors"), 4).state_dict()
    for name, value in backbone.state_dict().items():
        assert torch.equal(loaded[name], value), name


@pytest.mark.parametrize("norm", ["frozen", "batch", "group"])
def test_every_norm_takes_a_file_with_batch_norm(make_config: MakeConfig, tmp_path: Path, norm: str) -> None:
    theirs = random_resnet18()
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    config = make_config(vision_backbone="resnet18", backbone_norm=norm)
    loaded = make_backbone(from_file(config, tmp_path / "w.safetensors"), 3).state_dict()
    assert torch.equal(loaded["layer4.1.bn2.weight"], theirs.state_dict()["layer4.1.bn2.weight"])
    assert ("bn1.running_mean" in loaded) == (norm != "group")


def test_a_file_without_a_weight_is_refused_with_its_name(resnet_config: PolicyConfig, tmp_path: Path) -> None:
    weights = random_resnet18().state_dict()
    del weights["layer2.0.conv1.weight"]
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"w\.safetensors'.*'layer2\.0\.conv1\.weight' is missing"):
        make_backbone(from_file(resnet_config, tmp_path / "w.safetensors"), 3)


def test_a_file_of_another_network_is_refused_with_the_first_weight_that_differs(
    resnet_config: PolicyConfig, tmp_path: Path
) -> None:
    save_file(models.resnet34(weights=None).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"'layer1\.2\.[a-z0-9.]+' is not a weight of this backbone"):
        make_backbone(from_file(resnet_config, tmp_path / "w.safetensors"), 3)


def test_a_weight_of_another_shape_is_refused_with_both_shapes(resnet_config: PolicyConfig, tmp_path: Path) -> None:
    weights = random_resnet18().state_dict() | {"layer1.0.conv1.weight": torch.zeros(64, 64, 5, 5)}
    save_file(weights, tmp_path / "w.safetensors")
    message = r"'layer1\.0\.conv1\.weight' has shape \(64, 64, 5, 5\), expected \(64, 64, 3, 3\)"
    with pytest.raises(ConfigError, match=message):
        make_backbone(from_file(resnet_config, tmp_path / "w.safetensors"), 3)


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize(
    "name", ["nothing.pth", "nothing.safetensors", "text.pth", "text.safetensors", "empty.pth", "code.pth"]
)
def test_a_file_that_cannot_be_read_is_refused_and_never_executed(
    resnet_config: PolicyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("text.pth", "text.safetensors"):
        (tmp_path / text).write_text("not weights")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "code.pth").write_bytes(pickle.dumps(_Evil(), protocol=2))
    with pytest.raises(ConfigError, match=f"cannot read the backbone weights '.*{name}': ."):
        make_backbone(from_file(resnet_config, tmp_path / name), 3)
    assert not (tmp_path / "executed").exists()


def test_a_file_that_holds_no_state_dict_is_refused(resnet_config: PolicyConfig, tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {}}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="not a state dict"):
        make_backbone(from_file(resnet_config, tmp_path / "w.pth"), 3)


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


@pytest.mark.parametrize("name", ["resnet18", "cnn"])
def test_without_imagenet_weights_one_warning_is_logged_and_training_can_start(
    make_config: MakeConfig, offline: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    config = make_config(vision_backbone=name, pretrained_backbone_weights="imagenet", shared_backbone=False)
    cameras = (Camera(name="left", height=64, width=64), Camera(name="right", height=64, width=64))
    assert len(make_backbones(config, cameras)) == 2
    warnings = [record for record in caplog.records if record.name.startswith("foreact")]
    assert len(warnings) == 1
    assert f"ImageNet weights of '{name}' cannot be had" in warnings[0].getMessage()
    assert "random weights" in warnings[0].getMessage()


def test_imagenet_weights_in_the_cache_are_used(
    resnet_config: PolicyConfig, offline: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = random_resnet18().state_dict()
    offline.mkdir(parents=True)
    torch.save(weights, offline / Path(urlparse(IMAGENET_WEIGHTS["resnet18"].url).path).name)
    config = replace(resnet_config, pretrained_backbone_weights="imagenet")
    loaded = make_backbone(config, 3).state_dict()
    assert torch.equal(loaded["conv1.weight"], weights["conv1.weight"])
    assert not caplog.records


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "cnn"])
@pytest.mark.parametrize("norm", ["frozen", "batch", "group"])
def test_random_weights_keep_the_scale_of_the_picture(make_config: MakeConfig, name: str, norm: str) -> None:
    backbone = make_backbone(make_config(vision_backbone=name, backbone_norm=norm), 3)
    smooth = nn.functional.interpolate(torch.randn(4, 3, 4, 4), size=96, mode="bicubic")
    with torch.no_grad():
        features = backbone(smooth)
    assert 0.2 < features.square().mean().sqrt() < 5
    assert (features - features.mean(0)).std() > 0.05  # pictures can still be told apart


def test_frozen_batch_norm_stays_as_it_is(resnet_config: PolicyConfig) -> None:
    backbone = make_backbone(resnet_config, 3).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items() if "bn" in name}
    assert not any("bn" in name for name, _ in backbone.named_parameters())
    optimizer = torch.optim.SGD(backbone.parameters(), lr=1.0)
    backbone(torch.randn(2, 3, 64, 64)).sum().backward()
    optimizer.step()
    for name, value in before.items():
        assert torch.equal(backbone.state_dict()[name], value), name


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_other_norms_train(make_config: MakeConfig, norm: str) -> None:
    backbone = make_backbone(make_config(vision_backbone="resnet18", backbone_norm=norm), 3).train()
    backbone(torch.randn(2, 3, 64, 64)).square().sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_cameras_of_different_channels_cannot_share_a_backbone(make_config: MakeConfig) -> None:
    cameras = (
        Camera(name="head", height=64, width=64, depth_range=(0.1, 2.0)),
        Camera(name="left", height=64, width=64),
    )
    with pytest.raises(ConfigError, match="'head' has 4, 'left' has 3"):
        make_backbones(make_config(), cameras)
    stems = [next(backbone.parameters()) for backbone in make_backbones(make_config(shared_backbone=False), cameras)]
    assert [stem.shape[1] for stem in stems] == [4, 3]


def test_depth_follows_from_the_depth_range_and_not_from_the_name(make_config: MakeConfig) -> None:
    cameras = (
        Camera(name="depth", height=64, width=64),
        Camera(name="rgb", height=64, width=64, depth_range=(0.1, 2.0)),
    )
    stems = [next(backbone.parameters()) for backbone in make_backbones(make_config(shared_backbone=False), cameras)]
    assert [stem.shape[1] for stem in stems] == [3, 4]
