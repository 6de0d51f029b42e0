"""The gradient at every part of the network: cut where it is known to be cut, frozen where it is known to be frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Annotation

from diagnose.closed_form import CHUNK
from foreact.config import PolicyConfig, TrainConfig
from foreact.data.dataset import ChunkDataset
from foreact.data.source import open_source
from foreact.diagnose.gradient_flow import GradientFlow, PartFlow, gradient_flow, judge_gradient_flow
from foreact.diagnose.network_parts import Part, parts_of
from foreact.diagnose.pictures_of_network import DRAWINGS
from foreact.diagnose.probe import Probe
from foreact.finding import Finding
from foreact.model.act import ACT
from foreact.policy.inputs import Inputs
from made_policy import STATISTICS
from spots import FEATURES
from tiny import TINY

CONFIG = replace(TINY, chunk_size=CHUNK, dropout=0.0, n_encoder_layers=2)
TRAIN = TrainConfig(seed=3)


def drawn(seed: int, config: PolicyConfig = CONFIG) -> ACT:
    torch.manual_seed(seed)
    return ACT(config, FEATURES).eval()


def trained(config: PolicyConfig = CONFIG) -> ACT:
    """A network in which nothing is exactly 0 any more."""
    network = drawn(0, config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return network


@pytest.fixture
def probe(episodes: Path, cache_dir: Path) -> Probe:
    source = open_source(episodes)
    dataset = ChunkDataset(source, source.episode_indices, features=FEATURES, chunk_size=CHUNK, cache_dir=cache_dir)
    return Probe(drawn(0), Inputs(CONFIG, FEATURES, STATISTICS), FEATURES, dataset)


def part(measured: GradientFlow, name: str) -> PartFlow:
    return next(of for of in measured.parts if of.part.name == name)


def judged(measured: GradientFlow, train: TrainConfig | None = TRAIN, config: PolicyConfig = CONFIG) -> Finding:
    return judge_gradient_flow(measured, config, train)


@pytest.mark.parametrize("backbone", ["cnn", "resnet18"])
def test_every_parameter_belongs_to_one_part(backbone: str) -> None:
    changes = {"vision_backbone": backbone, "backbone_norm": "frozen" if backbone == "resnet18" else "group"}
    network = ACT(replace(CONFIG, **changes), FEATURES)  # type: ignore[arg-type]
    parts = parts_of(network)
    names = [name for of in parts.values() for name in of]
    assert sorted(names) == sorted(name for name, _ in network.named_parameters())
    boxes = [of.name for of in parts]
    assert {
        "backbone, stage 1",
        "backbone, stage 4",
        "encoder, layer 2",
        "decoder, layer 1",
        "CVAE encoder, inputs",
    } <= {*boxes}
    assert ("backbone, stem" in boxes) == (backbone == "resnet18")


def test_backbones_of_their_own_are_told_apart_by_camera() -> None:
    boxes = {of.box for of in parts_of(ACT(replace(CONFIG, shared_backbone=False), FEATURES))}
    assert {"backbone of overhead", "backbone of wrist"} <= boxes


def test_a_healthy_network_gets_a_gradient_everywhere_but_where_none_can_be(probe: Probe) -> None:
    measured = gradient_flow(probe, trained(), TRAIN)
    assert sum(of.share for of in measured.parts) == pytest.approx(1)
    assert measured.norm == pytest.approx(sum(of.gradient**2 for of in measured.parts) ** 0.5)
    finding = judged(measured)
    assert finding.severity == "fine"
    assert list(finding.evidence["explained"]) == ["decoder.layers.0.self_attention.in_proj_weight"]
    assert finding.evidence["without_gradient"] == []


def test_before_the_first_step_nobody_is_accused_of_contents_that_are_still_0(probe: Probe) -> None:
    finding = judged(gradient_flow(probe, drawn(0), TRAIN))
    assert finding.severity == "fine"
    assert "before the first step" in finding.verdict


def test_behind_weights_that_are_zero_no_gradient_arrives(probe: Probe) -> None:
    network = drawn(0)
    assert network.image_proj is not None
    torch.nn.init.zeros_(network.image_proj.weight)  # so nothing of the loss depends on the backbone
    measured = gradient_flow(probe, network, TRAIN)
    assert all(part(measured, f"backbone, stage {i}").is_dead for i in (1, 2, 3, 4))
    assert not part(measured, "picture projection").is_dead
    finding = judged(measured)
    assert finding.severity == "fault"
    assert finding.verdict.startswith("no gradient arrives at backbone, stage 1, backbone, stage 2")


def test_the_gradient_is_that_of_the_loss(probe: Probe) -> None:
    """Far above every target each entry pulls alike, so the gradient at the head's bias is known by hand."""
    network = drawn(0)
    torch.nn.init.zeros_(network.action_head.weight)
    with torch.no_grad():
        network.action_head.bias.fill_(1000.0)
        network.decoder.norm.weight.zero_()  # the head's weights then see the norm's bias alone, here 2
        network.decoder.norm.bias.fill_(2.0)
    measured = gradient_flow(probe, network, TRAIN)
    of_bias, of_weight = 2 * 0.5**2, 2 * 16 * (2 * 0.5) ** 2  # a half a dimension; 16 inputs of 2 each
    assert part(measured, "action head").gradient == pytest.approx((of_bias + of_weight) ** 0.5, rel=1e-5)
    assert part(measured, "encoder, layer 1").gradient == 0


@pytest.mark.parametrize(
    ("train", "words", "severity"),
    [
        (replace(TRAIN, lr_backbone=0.0, seed=3), "the backbone is frozen at its random weights", "fault"),
        (replace(TRAIN, lr_backbone=0.0, seed=4), "the backbone is frozen: train.lr_backbone is 0", "warning"),
    ],
    ids=["weights that the seed draws", "weights from elsewhere"],
)
def test_a_learning_rate_of_0_is_a_frozen_part_and_no_dead_one(
    train: TrainConfig, words: str, severity: str, probe: Probe
) -> None:
    network = drawn(3)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.startswith("backbones"):
                parameter.add_(0.01 * torch.randn_like(parameter))
    finding = judged(gradient_flow(probe, network, train), train)
    assert words in finding.verdict
    assert finding.severity == severity
    assert "--train.lr-backbone" in finding.remedy
    assert "no gradient" not in finding.verdict


def test_decay_does_not_hide_that_weights_are_as_they_were_drawn(probe: Probe) -> None:
    network = drawn(3)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(0.97)
    measured = gradient_flow(probe, network, TRAIN)
    assert part(measured, "backbone, stage 2").is_as_drawn
    assert not part(gradient_flow(probe, drawn(5), TRAIN), "backbone, stage 2").is_as_drawn


def change_all_but(prefix: str) -> Callable[[ACT], ACT]:
    def change(network: ACT) -> ACT:
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if not name.startswith(prefix):
                    parameter.add_(1e-3)
        return network

    return change


def test_a_part_that_is_the_same_in_two_checkpoints_was_frozen_by_code(probe: Probe) -> None:
    before = {name: of.clone() for name, of in drawn(0).state_dict().items()}
    network = change_all_but("encoder.layers.1")(drawn(0))
    measured = gradient_flow(probe, network, TRAIN, earlier=before, earlier_step=20)
    assert [of.part for of in measured.frozen] == [Part("encoder", "layer 2")]
    finding = judged(measured)
    assert "the encoder, layer 2 is frozen: not one weight has changed since step 20" in finding.verdict
    assert "requires_grad" in finding.remedy
    assert finding.severity == "fault"


def test_where_no_weight_has_moved_the_rate_has_run_out_and_nobody_is_accused(probe: Probe) -> None:
    measured = gradient_flow(probe, trained(), TRAIN, earlier=trained().state_dict(), earlier_step=20)
    assert measured.frozen == ()
    assert judged(measured).severity == "fine"


def test_without_a_cvae_the_latents_matrix_is_excused(episodes: Path, cache_dir: Path, probe: Probe) -> None:
    config = replace(CONFIG, use_vae=False)
    measured = gradient_flow(probe, trained(config), TRAIN)
    assert part(measured, "latent projection").excused == {
        "latent_proj.weight": "without a CVAE the latent is always 0"
    }
    assert judged(measured, config=config).severity == "fine"


def test_a_network_whose_cvae_encoder_was_dropped_is_looked_at_with_z_0(probe: Probe) -> None:
    network = drawn(0)
    network.drop_vae_encoder()
    measured = gradient_flow(probe, network, None)
    assert not [of for of in measured.parts if of.part.box == "CVAE encoder"]
    assert part(measured, "encoder, layer 1").gradient > 0


def test_the_kl_term_reaches_the_cvae_encoder_alone_and_both_terms_add_up_to_the_loss(probe: Probe) -> None:
    network = trained()
    measured = gradient_flow(probe, network, TRAIN)
    assert list(measured.terms) == ["L1", "KL"]
    boxes = {of.part.box for of in measured.parts if of.of_terms["KL"] > 0}
    assert boxes == {"CVAE encoder"}
    for term in measured.terms:
        assert sum(of.of_terms[term] for of in measured.parts) == pytest.approx(1)
    # Where only one term arrives, its share is that of the whole gradient.
    outside = part(measured, "action head")
    assert outside.gradient == pytest.approx(measured.terms["L1"] * outside.of_terms["L1"] ** 0.5)


def test_without_the_kl_weight_no_gradient_of_it_is_left(probe: Probe) -> None:
    config = replace(CONFIG, kl_weight=0.0)
    measured = gradient_flow(probe, trained(config), TRAIN)
    assert measured.terms["KL"] == 0
    assert measured.norm == pytest.approx(measured.terms["L1"])


def drawn_parts(measured: GradientFlow, config: PolicyConfig = CONFIG) -> Axes:
    figure = Figure()
    DRAWINGS["parts"](figure, judged(measured, config=config).evidence)
    return figure.axes[0]


def box_of(axes: Axes, words: str) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of the box whose letters begin so."""
    (letters,) = [of for of in axes.texts if of.get_text().startswith(words)]
    x, y = letters.get_position()
    boxes = [of.get_bbox() for of in axes.patches if isinstance(of, FancyBboxPatch)]
    (box,) = [of for of in boxes if of.x0 < x < of.x1 and of.y0 < y < of.y1]
    return box.x0, box.y0, box.x1, box.y1


def test_the_loss_is_drawn_as_two_boxes_and_the_kl_arrow_ends_at_the_latent_head(probe: Probe) -> None:
    measured = gradient_flow(probe, trained(), TRAIN)
    axes = drawn_parts(measured)
    kl, l1, head = (box_of(axes, words) for words in ("KL, weighted", "L1", "CVAE: latent head"))
    assert kl[2] < l1[0], "side by side"
    arrows = [of for of in axes.texts if isinstance(of, Annotation)]
    (into_head,) = [of for of in arrows if of.xy[0] == head[0] and head[1] < of.xy[1] < head[3]]
    (line,) = axes.lines  # from the KL term's box to that arrow's tail
    x, y = (np.asarray(of, np.float64) for of in line.get_data())
    assert (x[1], y[1]) == into_head.xyann
    assert kl[0] < x[0] < kl[2]
    assert y[0] == kl[1]
    says = {of.get_text() for of in axes.texts}
    of_head = part(measured, "CVAE encoder, latent head").of_terms
    assert any(f"KL {100 * of_head['KL']:.2g} %" in of for of in says if of.startswith("CVAE: latent head"))
    assert not any("KL" in of for of in says if of.startswith(("encoder", "decoder", "backbone", "action head")))
    assert f"L1\ngradient {measured.terms['L1']:.3g}" in says


def test_without_a_cvae_the_loss_is_one(probe: Probe) -> None:
    config = replace(CONFIG, use_vae=False)
    axes = drawn_parts(gradient_flow(probe, trained(config), TRAIN), config)
    assert not [of for of in axes.texts if "KL" in of.get_text()]
    assert len(axes.lines) == 0
