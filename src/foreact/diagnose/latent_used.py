"""Whether the latent is used: chunks with z = 0, which inference takes, against the posterior's and the prior's.

A CVAE that is trained to copy what the posterior has seen may lean on a latent that inference does not have: z = 0 is
then much worse. One with much weight on the KL term ignores the latent (posterior collapse). That costs nothing where
similar observations have one answer; where demonstrations go several ways, it averages them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from foreact.config import PolicyConfig
from foreact.diagnose.probe import BATCH, Probe
from foreact.diagnose.resampling import ratio_interval
from foreact.finding import Finding, Severity
from foreact.model.act import ACT
from foreact.model.latent import sample_latent

SHARES = (0.0, 0.3, 0.6)
"""Points of the episode."""
EARLY = 0.3
"""Share of the way up to which demonstrations are looked at for two ways of going on; later the state tells which."""
PRIOR_SAMPLES = 8
ACTIVE = 0.01
"""Variance of the posterior's mean over samples from which a dimension of the latent counts as active: Burda et al.
2015 (arXiv:1509.00519), Sec. 5."""
UNUSED = 0.02
"""Change of the chunk by the posterior's z, as a share of the demonstrations' spread, below which it is unused."""
NEEDED, SORELY = 1.25, 2.0
"""Error with z = 0 as a multiple of that with the posterior's z, from which inference lacks something, and much."""
SPLIT, SMALLER, MAIN = 0.85, 0.2, 0.4
"""Errors fall into two groups where cutting their main direction in two explains so much of it (64 % of a normal
distribution, 75 % of an even one), the smaller group has so large a share, and that direction so much of all errors."""
FEW = 3
"""Episodes below which nothing is said: what demonstrations spread by, and how sure a ratio is, comes from several."""
ENOUGH = 20
"""Errors, below which nothing is said of groups."""

TITLE = "Is the latent used?"


@dataclass(frozen=True, kw_only=True)
class LatentUsed:
    """What was measured; errors and spreads are in normalised actions."""

    kl: tuple[float, ...]
    """Of the posterior to N(0, I), by dimension; empty where the checkpoint has no CVAE encoder."""
    active: int
    """Dimensions whose posterior says something of the sample."""
    error_zero: float
    error_posterior: float | None
    ratio_interval: tuple[float, float] | None
    """Of error with z = 0 over error with the posterior's z, by resampling episodes."""
    change: float | None
    """Root mean square change of the chunk from z = 0 to the posterior's z."""
    prior_spread: float
    """Root mean square deviation of the chunks over samples of the prior."""
    demonstrated_spread: float
    """The same of the demonstrations over episodes, at the same share of the way."""
    two_groups: bool
    """Whether the early errors with z = 0 fall into two groups: two ways that the policy does not tell apart."""
    episodes: int


@torch.no_grad()
def latent_used(
    probe: Probe, network: ACT, *, shares: Sequence[float] = SHARES, episodes: int | None = None, seed: int = 0
) -> LatentUsed:
    """Measure.

    Args:
        probe: What prepares the batches, and the episodes.
        network: With its CVAE encoder, where it has one, in evaluation mode.
        shares: Points of the episode.
        episodes: How many of the probe's; None takes all.
        seed: Of the samples of posterior and prior.
    """
    samples, episode = probe.moments(shares, episodes)
    generator = torch.Generator(probe.device).manual_seed(seed)
    zero, posterior, prior, mus, log_vars = [], [], [], [], []
    for start in range(0, len(samples), BATCH):
        rows = samples[start : start + BATCH]
        raw = probe.dataset.__getitems__(rows.tolist()).to(probe.device)
        batch = probe.inputs.prepare(raw, cells=network.cell_middles)
        zero.append(network(batch, z="zero").action_hat)
        shape = (len(rows), network.config.latent_dim)
        drawn = [torch.randn(shape, generator=generator, device=probe.device) for _ in range(PRIOR_SAMPLES)]
        prior.append(torch.stack([network(batch, z=z).action_hat for z in drawn]).std(dim=0))
        if network.vae_encoder is not None:
            mu, log_var = network.posterior(batch)
            posterior.append(network(batch, z=sample_latent(mu, log_var, generator)).action_hat)
            mus.append(mu)
            log_vars.append(log_var)
        probe.advance(len(rows))
    chunks = _array(zero)
    is_real = ~probe.is_pad(samples)
    demonstrated = probe.demonstrated(samples).action
    errors = probe.errors(samples, chunks)
    n = int(episode.max()) + 1

    def by_episode(of: np.ndarray) -> np.ndarray:
        return np.bincount(episode, weights=of) / len(shares)

    with_posterior = probe.errors(samples, _array(posterior)) if posterior else None
    kl = np.zeros(0)
    active = 0
    if mus:
        mean, log_variance = _array(mus), _array(log_vars)
        kl = (mean**2 + np.exp(log_variance) - 1 - log_variance).mean(axis=0) / 2
        active = int((mean.var(axis=0) > ACTIVE).sum())
    in_time = demonstrated.reshape(len(shares), n, *demonstrated.shape[1:])
    deviation = (in_time - in_time.mean(axis=1, keepdims=True)).reshape(demonstrated.shape)
    early = [np.arange(n) + i * n for i, share in enumerate(shares) if share <= EARLY]
    return LatentUsed(
        kl=tuple(kl.tolist()),
        active=active,
        error_zero=float(errors.mean()),
        error_posterior=None if with_posterior is None else float(with_posterior.mean()),
        ratio_interval=None
        if with_posterior is None
        else ratio_interval(by_episode(errors), by_episode(with_posterior), paired=True),
        change=_rms((_array(posterior) - chunks)[is_real]) if posterior else None,
        prior_spread=_rms(_array(prior)[is_real]),
        demonstrated_spread=_rms(deviation[is_real]),
        two_groups=any(in_two_groups((demonstrated - chunks)[of], is_real[of]) for of in early),
        episodes=n,
    )


def in_two_groups(errors: np.ndarray, is_real: np.ndarray) -> bool:
    """Return whether errors of chunks (N, T, A) fall into two groups, over the steps that all of them have.

    Args:
        errors: Demonstrated minus predicted.
        is_real: (N, T), False where a chunk reaches beyond its episode.
    """
    n = len(errors)
    steps = max(1, int(is_real.all(axis=0).sum()))
    flat = errors[:, :steps].reshape(n, -1)
    flat = flat - flat.mean(axis=0)
    total = (flat**2).sum()
    if n < ENOUGH or total == 0:
        return False
    left, sizes, _ = np.linalg.svd(flat, full_matrices=False)
    along = np.sort(left[:, 0] * sizes[0])
    explained = 0.0
    smaller = max(1, int(np.ceil(SMALLER * n)))
    for cut in range(smaller, n - smaller + 1):
        low, high = along[:cut], along[cut:]
        between = cut * low.mean() ** 2 + (n - cut) * high.mean() ** 2  # the mean of all is 0
        explained = max(explained, between / sizes[0] ** 2)
    return bool(sizes[0] ** 2 / total >= MAIN and explained >= SPLIT)


def _array(parts: Sequence[torch.Tensor]) -> np.ndarray:
    array: np.ndarray = torch.cat(list(parts)).double().cpu().numpy()
    return array


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def judge_latent_used(measured: LatentUsed | None, config: PolicyConfig) -> Finding:
    """Put it into words.

    Args:
        measured: None for a policy without a CVAE.
        config: The policy's.
    """
    if measured is None:
        return Finding(
            question="latent",
            title=TITLE,
            verdict="there is no latent: the policy was trained without a CVAE (policy.use_vae False)",
            severity="note",
        )
    if measured.episodes < FEW:
        n = f"{measured.episodes} episode{'s' * (measured.episodes != 1)}"
        return _finding(measured, f"cannot tell: of {n}; {FEW} are needed", "note", "")
    severity: Severity = "fine"
    remedy = ""
    spread = f"samples of the prior spread by {_share(measured.prior_spread, measured)} of the demonstrations' spread"
    averages = (
        "; the errors at the start fall into two groups, as where demonstrations go two ways that nothing the policy "
        "uses tells apart"
    )
    room = (
        f"a kl_weight below {config.kl_weight:g} (--policy.kl-weight {config.kl_weight / 10:g}), and "
        if config.kl_weight
        else ""
    )
    lower = f"give the latent room: {room}let it choose: --policy.latent prior; or demonstrate one way only"
    if measured.error_posterior is None or measured.change is None or measured.ratio_interval is None:
        verdict = f"the checkpoint has no CVAE encoder, so there is no posterior to compare with; {spread}"
        if measured.two_groups:
            severity, remedy, verdict = "warning", lower, verdict + averages
        else:
            severity = "note"
        return _finding(measured, verdict, severity, remedy)
    ratio = measured.error_zero / max(measured.error_posterior, 1e-12)
    compared = (
        f"error {measured.error_zero:.3f} with z = 0, {measured.error_posterior:.3f} with the posterior's z "
        f"(ratio {ratio:.2f}, 95 % interval {measured.ratio_interval[0]:.2f} to {measured.ratio_interval[1]:.2f}); "
        f"{measured.active} of {len(measured.kl)} dimensions active, KL {sum(measured.kl):.2g}"
    )
    if ratio >= NEEDED and measured.ratio_interval[0] > 1:
        severity = "fault" if ratio >= SORELY else "warning"
        verdict = f"the latent is needed, and inference has none: {compared}; {spread}"
        remedy = (
            f"a higher kl_weight (--policy.kl-weight {10 * config.kl_weight or 1:g}), so that the decoder cannot lean "
            "on what only the posterior has seen; or --policy.no-use-vae"
        )
    elif measured.change < UNUSED * measured.demonstrated_spread:
        verdict = f"the latent is unused (posterior collapse): {compared}"
        if measured.two_groups:
            severity, remedy = "warning", lower
            verdict += averages
        else:
            verdict += "; harmless where similar observations have one answer, as here"
    else:
        verdict = f"the latent is used, and z = 0 does as well: {compared}; {spread}"
    return _finding(measured, verdict, severity, remedy)


def _share(value: float, measured: LatentUsed) -> str:
    return f"{100 * value / max(measured.demonstrated_spread, 1e-12):.0f} %"


def _finding(measured: LatentUsed, verdict: str, severity: Severity, remedy: str) -> Finding:
    return Finding(
        question="latent",
        title=TITLE,
        verdict=verdict,
        severity=severity,
        remedy=remedy,
        evidence={
            "episodes": measured.episodes,
            "error_z_zero": measured.error_zero,
            "error_z_posterior": measured.error_posterior,
            "ratio_interval_95": None if measured.ratio_interval is None else list(measured.ratio_interval),
            "change_rms_by_posterior": measured.change,
            "prior_spread_rms": measured.prior_spread,
            "demonstrated_spread_rms": measured.demonstrated_spread,
            "active_dimensions": measured.active,
            "kl_by_dimension_nats": list(measured.kl),
            "errors_in_two_groups": measured.two_groups,
        },
    )
