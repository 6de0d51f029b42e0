"""Whether the latent is used: networks whose latent is known to do nothing, or everything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from diagnose.closed_form import CHUNK
from foreact.config import PolicyConfig
from foreact.data.dataset import ChunkDataset
from foreact.data.source import open_source
from foreact.diagnose.latent_used import LatentUsed, in_two_groups, judge_latent_used, latent_used
from foreact.diagnose.probe import Probe
from foreact.model.act import ACT
from foreact.policy.inputs import Inputs
from made_policy import STATISTICS
from spots import FEATURES
from tiny import TINY

CONFIG = replace(TINY, chunk_size=CHUNK, dropout=0.0)


def made(data: Path, cache_dir: Path, weight: float) -> tuple[Probe, ACT]:
    """An untrained network whose latent projection is so many times what it was drawn as."""
    source = open_source(data)
    dataset = ChunkDataset(source, source.episode_indices, features=FEATURES, chunk_size=CHUNK, cache_dir=cache_dir)
    inputs = Inputs(CONFIG, FEATURES, STATISTICS)
    torch.manual_seed(0)
    network = ACT(CONFIG, inputs.network_features).eval()
    with torch.no_grad():
        network.latent_proj.weight *= weight
    return Probe(network, inputs, FEATURES, dataset), network


def test_a_latent_that_nothing_reads_changes_nothing(episodes: Path, cache_dir: Path) -> None:
    measured = latent_used(*made(episodes, cache_dir, 0.0))
    assert measured.change == 0
    assert measured.prior_spread == pytest.approx(0, abs=1e-7)
    assert measured.error_posterior == measured.error_zero
    assert judge_latent_used(measured, CONFIG).verdict.startswith("the latent is unused (posterior collapse)")


def test_a_latent_that_is_read_changes_the_chunk_and_its_kl_is_torchs(episodes: Path, cache_dir: Path) -> None:
    probe, network = made(episodes, cache_dir, 30.0)
    measured = latent_used(probe, network, shares=(0.0,), episodes=8)
    assert measured.change is not None
    assert measured.change > 0.1
    assert measured.prior_spread > 0.1
    samples = probe.samples(0.0, 8)
    with torch.no_grad():
        batch = probe.inputs.prepare(probe.dataset.__getitems__(samples.tolist()), cells=network.cell_middles)
        mu, log_var = network.posterior(batch)
    by_torch = kl_divergence(Normal(mu, (log_var / 2).exp()), Normal(0.0, 1.0)).mean(dim=0)
    np.testing.assert_allclose(measured.kl, by_torch.numpy(), rtol=1e-4, atol=1e-6)  # float32
    assert measured.active == int((mu.numpy().var(axis=0) > 0.01).sum())


def test_without_a_cvae_encoder_only_the_prior_is_looked_at(episodes: Path, cache_dir: Path) -> None:
    probe, network = made(episodes, cache_dir, 30.0)
    network.drop_vae_encoder()
    measured = latent_used(probe, network)
    assert measured.error_posterior is None
    assert measured.kl == ()
    assert judge_latent_used(measured, CONFIG).verdict.startswith("the checkpoint has no CVAE encoder")


def test_z_is_the_prior_mode_where_the_latent_is_a_bias_alone(episodes: Path, cache_dir: Path) -> None:
    """The error with z = 0 is that of the chunks that inference predicts."""
    probe, network = made(episodes, cache_dir, 3.0)
    assert isinstance(network.latent_proj, nn.Linear)
    measured = latent_used(probe, network)
    samples, _ = probe.moments((0.0, 0.3, 0.6))
    by_probe = probe.errors(samples, probe.predict(samples).action).mean()
    assert measured.error_zero == pytest.approx(by_probe, rel=1e-5)


def used(zero: float, posterior: float, interval: tuple[float, float], change: float, groups: bool) -> LatentUsed:
    return LatentUsed(
        kl=(0.5, 0.0), active=1, error_zero=zero, error_posterior=posterior, ratio_interval=interval, change=change,
        prior_spread=0.2, demonstrated_spread=1.0, two_groups=groups, episodes=30,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("measured", "severity", "words"),
    [
        (used(0.20, 0.20, (0.9, 1.1), 0.001, False), "fine", "harmless where similar observations have one answer"),
        (used(0.20, 0.20, (0.9, 1.1), 0.001, True), "warning", "the errors at the start fall into two groups"),
        (used(0.20, 0.19, (0.9, 1.1), 0.3, False), "fine", "the latent is used, and z = 0 does as well"),
        (used(0.30, 0.20, (1.2, 1.8), 0.3, False), "warning", "the latent is needed, and inference has none"),
        (used(0.60, 0.20, (2.0, 4.0), 0.3, False), "fault", "the latent is needed, and inference has none"),
        (used(0.30, 0.20, (0.8, 2.0), 0.3, False), "fine", "the latent is used"),
    ],
)
def test_what_is_said_of_it(measured: LatentUsed, severity: str, words: str) -> None:
    finding = judge_latent_used(measured, PolicyConfig(kl_weight=10.0))
    assert finding.severity == severity
    assert words in finding.verdict
    assert bool(finding.remedy) == (severity in ("fault", "warning"))
    assert "samples of the prior spread by 20 %" in finding.verdict or "unused" in finding.verdict


def test_of_one_or_two_episodes_nothing_is_said() -> None:
    finding = judge_latent_used(replace(used(0.6, 0.2, (3.0, 3.0), 0.3, False), episodes=1), PolicyConfig())
    assert (finding.severity, finding.remedy) == ("note", "")
    assert finding.verdict == "cannot tell: of 1 episode; 3 are needed"


def test_a_policy_trained_without_the_kl_term_is_not_told_to_weigh_it_less() -> None:
    free = PolicyConfig(kl_weight=0.0)
    assert "kl-weight" not in judge_latent_used(used(0.20, 0.20, (0.9, 1.1), 0.001, True), free).remedy
    assert "--policy.kl-weight 1)" in judge_latent_used(used(0.60, 0.20, (2.0, 4.0), 0.3, False), free).remedy


def test_a_policy_without_a_cvae_is_told_so() -> None:
    finding = judge_latent_used(None, PolicyConfig(use_vae=False))
    assert finding.severity == "note"
    assert "there is no latent" in finding.verdict


def test_two_groups_of_errors_are_told_from_normal_even_and_outlying_ones() -> None:
    rng = np.random.default_rng(0)
    real = np.ones((60, 4), bool)
    along = rng.normal(size=(4, 3))
    noise = 0.1 * rng.normal(size=(60, 4, 3))

    def groups(sizes: np.ndarray) -> bool:
        return in_two_groups(sizes[:, None, None] * along + noise, real)

    assert groups(np.where(np.arange(60) % 3 == 0, 1.0, -1.0))
    assert not groups(rng.normal(size=60))
    assert not groups(rng.uniform(-1, 1, size=60))
    outliers = np.zeros(60)
    outliers[:3] = 5.0
    assert not groups(outliers)
    assert not in_two_groups(np.zeros((60, 4, 3)), real)
    assert not groups(np.where(np.arange(60) < 1, 1.0, -1.0))


def test_padded_steps_do_not_make_groups() -> None:
    real = np.ones((40, 4), bool)
    real[:, 2:] = False
    errors = 0.1 * np.random.default_rng(0).normal(size=(40, 4, 3))
    errors[::2, 2:] = 5.0
    assert not in_two_groups(errors, real)
